"""One person, one contact: whatever becomes known of them, in whatever order, and a stop holds."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.db import connection, transaction
from django.test import Client

from connectors.whatsapp.processing import process_batch
from messaging import merging
from messaging.attempts import Attempt
from messaging.delivery import due
from messaging.delivery.recording import Outcome, record
from messaging.models import (
    Contact,
    Conversation,
    Message,
    NumberState,
    OptOut,
    PortfolioRecipient,
)
from tests.conftest import Cast
from tests.delivery.outgoing import become, pending
from tests.graphql.conftest import gql
from tests.sending.conftest import template
from tests.whatsapp.deliveries import callback, deliver, status, text
from workspaces import provisioning
from workspaces.channel_errors import Rejected
from workspaces.channel_facts import AcceptedSend
from workspaces.identity import digester
from workspaces.models import Workspace

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

PHONE, NEW_PHONE = "15550123456", "15550999999"
BSUID, OTHER_BSUID = "US.13491208655302741918", "US.22200000000000000001"
NOW = int(datetime.now(UTC).timestamp())


def take_in(cast: Cast, *, number: str = "", **value: object) -> None:
    """Take in one callback of a number of the cast's."""
    number = number or cast.workspace.external_id
    account = Workspace.objects.get(tenant_id=cast.tenant.id, external_id=number).waba_id
    deliver(cast.tenant.id, callback(number, account, **value))
    process_batch(10)


def says(cast: Cast, words: str, *, ago: int = 0, number: str = "", **who: str) -> Message:
    """Have somebody write something; return the message."""
    wamid = f"wamid.{uuid.uuid4()}"
    message = {**text(wamid, words, at=NOW - ago), **who}
    if "phone" in who:
        message["from"] = message.pop("phone")
    else:
        del message["from"]
    take_in(cast, number=number, messages=[message])
    return Message.objects.get(platform_message_id=digester(cast.tenant.id).wamid(wamid))


def changes_number(
    cast: Cast, *, ago: int = 0, before: str = PHONE, after: str = NEW_PHONE
) -> None:
    """Have Meta say that somebody's number is another one now."""
    system = {"type": "user_changed_number", "wa_id": after, "body": "Changed"}
    message = {"id": f"wamid.{uuid.uuid4()}", "timestamp": str(NOW - ago), "type": "system"}
    take_in(cast, messages=[{**message, "from": before, "system": system}])


def contact_of(message: Message) -> Contact:
    """Return the contact of a message as it is now, through any merge."""
    message.refresh_from_db()
    assert message.contact is not None
    return Contact.objects.get(pk=message.contact.merged_into or message.contact_id)


def markets(cast: Cast, **who: str) -> int:
    """Send a marketing template; return the status of the answer."""
    body = {
        "workspace_id": str(cast.workspace.id),
        "template_name": "welcome_message",
        "template_params": ["x"],
        **who,
    }
    answer = Client().post(
        "/api/v1/messages",
        json.dumps(body),
        "application/json",
        headers={"Authorization": f"Bearer {cast.api_key}"},
    )
    assert answer.status_code == 201 or answer.json()["error"]["code"] == "OPTED_OUT", answer.json()
    return answer.status_code


def second_number(cast: Cast, *, waba_id: str = "777777777777777") -> Workspace:
    """Give the cast another number, of another portfolio as far as anybody knows."""
    return provisioning.create_workspace(
        tenant_id=cast.tenant.id, name="Second", external_id="300000000000003", waba_id=waba_id
    )


@pytest.fixture(autouse=True)
def _templates(acme: Cast, globex: Cast, no_wake_ups: object) -> None:
    template(acme)
    template(globex)


@pytest.mark.parametrize("first", ["phone", "from_user_id"])
def test_a_stop_by_one_identity_stops_the_other_once_they_are_known_as_one(
    acme: Cast, globex: Cast, first: str
) -> None:
    by = {"phone": PHONE, "from_user_id": BSUID}
    stopped = says(acme, "STOP", ago=60, **{first: by.pop(first)})
    waiting = says(acme, "Hello", ago=50, **by)
    says(globex, "Hello", phone=PHONE, from_user_id=BSUID)
    assert (
        markets(
            acme,
            **(
                {"recipient_user_id": BSUID}
                if first == "phone"
                else {"recipient_phone": f"+{PHONE}"}
            ),
        )
        == 201
    )

    both = says(acme, "It is me", ago=40, phone=PHONE, from_user_id=BSUID)

    assert contact_of(stopped) == contact_of(waiting) == contact_of(both)
    assert Contact.objects.filter(tenant_id=acme.tenant.id, merged_into=None).count() == 1
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    assert markets(acme, recipient_user_id=BSUID) == 422
    assert markets(globex, recipient_phone=f"+{PHONE}") == 201
    withdrawn = Message.objects.get(tenant_id=acme.tenant.id, source="API")
    assert (withdrawn.status, pending(withdrawn)) == ("cancelled", None)


def test_the_older_contact_stays_with_one_thread_of_all_that_was_said(acme: Cast, gql) -> None:
    older = says(acme, "One", ago=60, phone=PHONE)
    says(acme, "Two", ago=50, from_user_id=BSUID)
    old = (
        Conversation.objects.get(contact_id=older.contact_id),
        Conversation.objects.exclude(contact_id=older.contact_id).get(),
    )
    says(acme, "Three", ago=40, phone=PHONE, from_user_id=BSUID)

    fields = """id unreadCount contact { id } lastMessage { text }
        messages(first: 9) { totalCount nodes { text contact { id } } }"""
    ask = "query($w: ID!) { conversations(workspaceId: $w, first: 2) { nodes { FIELDS } } }"
    found = gql(acme, ask.replace("FIELDS", fields), w=str(acme.workspace.id))
    (thread,) = found.data["conversations"]["nodes"]
    assert thread["id"] == str(old[0].id)
    assert thread["contact"]["id"] == str(older.contact_id)
    assert (thread["unreadCount"], thread["lastMessage"]["text"]) == (3, "Three")
    assert thread["messages"]["totalCount"] == 3
    assert [node["text"] for node in thread["messages"]["nodes"]] == ["Three", "Two", "One"]
    assert {node["contact"]["id"] for node in thread["messages"]["nodes"]} == {
        str(older.contact_id)
    }
    for conversation in old:  # an id from before the merge leads to the same
        ask = "query($c: ID!) { conversation(id: $c) { FIELDS } }".replace("FIELDS", fields)
        found = gql(acme, ask, c=str(conversation.id)).data["conversation"]
        assert found == thread


def test_a_stop_of_the_new_number_counts_when_the_change_is_told_late(acme: Cast) -> None:
    before = says(acme, "Hello", ago=90, phone=PHONE)
    after = says(acme, "STOP", ago=60, phone=NEW_PHONE)

    changes_number(acme, ago=30)

    assert contact_of(before) == contact_of(after)
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    assert markets(acme, recipient_phone=f"+{NEW_PHONE}") == 422


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("553188813001", "5531988813001"),
        ("525512345678", "5215512345678"),
        ("541123456789", "5491123456789"),
    ],
    ids=["Brazil", "Mexico", "Argentina"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_both_spellings_of_a_number_are_one_person(
    acme: Cast, one: str, other: str, turned: bool
) -> None:
    first, second = (other, one) if turned else (one, other)
    before = says(acme, "oi", ago=60, phone=first)
    after = says(acme, "SAIR", phone=second)

    assert contact_of(before) == contact_of(after)
    assert Contact.objects.count() == 1
    assert markets(acme, recipient_phone=f"+{first}") == 422
    assert markets(acme, recipient_phone=f"+{second}") == 422


def test_contacts_that_were_split_by_spelling_are_joined_when_the_person_writes(
    acme: Cast,
) -> None:
    spellings = ("553188813001", "5531988813001")
    old = Contact.objects.create(tenant_id=acme.tenant.id)
    new = Contact.objects.create(tenant_id=acme.tenant.id)
    for contact, phone in zip((old, new), spellings, strict=True):
        contact.identities.create(
            tenant_id=acme.tenant.id, digest=digester(acme.tenant.id).phone(phone), kind="PHONE"
        )
    OptOut.objects.create(tenant_id=acme.tenant.id, contact_id=new.id, source="WORD")
    for phone in spellings:
        assert markets(acme, recipient_phone=f"+{phone}") == 422

    assert contact_of(says(acme, "oi", phone=spellings[1])) == old
    assert OptOut.objects.get(lifted_at=None).contact_id == old.id


def test_a_bsuid_of_a_second_portfolio_is_another_name_of_the_person(acme: Cast) -> None:
    second = second_number(acme)
    one = says(acme, "STOP", ago=90, phone=PHONE, from_user_id=BSUID)
    other = says(
        acme,
        "Other shop?",
        ago=60,
        number=second.external_id,
        phone=PHONE,
        from_user_id=OTHER_BSUID,
    )

    assert contact_of(one) == contact_of(other)
    for who in ({"recipient_phone": f"+{PHONE}"}, {"recipient_user_id": OTHER_BSUID}):
        assert markets(acme, **who) == 422


def test_who_changed_their_number_has_another_bsuid_in_every_portfolio(acme: Cast) -> None:
    second = second_number(acme)
    before = says(acme, "STOP", ago=90, phone=PHONE, from_user_id=BSUID)
    says(acme, "Hi", ago=80, number=second.external_id, phone=PHONE, from_user_id=OTHER_BSUID)
    changes_number(acme, ago=70)

    after = says(
        acme,
        "Me",
        ago=60,
        number=second.external_id,
        phone=NEW_PHONE,
        from_user_id="US.33300000000000000001",
    )

    assert contact_of(before) == contact_of(after)
    assert markets(acme, recipient_user_id="US.33300000000000000001") == 422


@pytest.mark.parametrize("same", ["account", "portfolio"])
def test_a_new_bsuid_of_one_portfolio_is_somebody_else_with_the_number(
    acme: Cast, same: str
) -> None:
    account = acme.workspace.waba_id if same == "account" else "888888888888888"
    second = second_number(acme, waba_id=account)
    if same == "portfolio":
        for workspace in (acme.workspace, second):
            NumberState.objects.create(
                workspace=workspace, tenant_id=acme.tenant.id, portfolio_id="42"
            )
    before = says(acme, "STOP", ago=90, phone=PHONE, from_user_id=BSUID)
    after = says(
        acme,
        "Who is this?",
        ago=60,
        number=second.external_id,
        phone=PHONE,
        from_user_id=OTHER_BSUID,
    )
    late = says(acme, "Bye", ago=95, phone=PHONE, from_user_id=BSUID)

    assert contact_of(before) == contact_of(late) != contact_of(after)
    assert contact_of(says(acme, "Me again", phone=PHONE)) == contact_of(after)
    assert markets(acme, recipient_user_id=BSUID) == 422
    # Nobody knows whether it is the same person, registered anew: until they want it, nothing.
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    says(acme, "START", phone=PHONE, from_user_id=OTHER_BSUID)
    assert markets(acme, recipient_phone=f"+{PHONE}") == 201
    assert markets(acme, recipient_user_id=BSUID) == 422


@pytest.mark.parametrize("cut", [True, False])
def test_a_stop_goes_with_the_number_however_callbacks_are_cut(acme: Cast, cut: bool) -> None:
    says(acme, "Hello", ago=90, phone=PHONE, from_user_id=BSUID)
    for words, who, ago in (("STOP", BSUID, 60), ("Who is this?", OTHER_BSUID, 30)):
        message = {**text(f"wamid.{who}", words, PHONE, NOW - ago), "from_user_id": who}
        account = acme.workspace.waba_id
        deliver(acme.tenant.id, callback(acme.workspace.external_id, account, messages=[message]))
        if cut:
            process_batch(10)
    process_batch(10)

    assert markets(acme, recipient_user_id=BSUID) == 422
    assert markets(acme, recipient_user_id=OTHER_BSUID) == 422


@pytest.mark.parametrize(
    ("by_phone", "by_id", "is_out"),
    [
        (("STOP", 60), ("START", 50), False),
        (("STOP", 50), ("START", 60), True),
        (("START", 50), ("STOP", 60), False),
        (("START", 60), ("STOP", 50), True),
        (("STOP", 50), ("START", 50), True),
        (("START", 50), ("STOP", 50), True),
    ],
)
def test_the_last_wish_of_either_side_counts(
    acme: Cast, by_phone: tuple[str, int], by_id: tuple[str, int], is_out: bool
) -> None:
    says(acme, by_phone[0], ago=by_phone[1], phone=PHONE)
    says(acme, by_id[0], ago=by_id[1], from_user_id=BSUID)

    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)

    expected = 422 if is_out else 201
    assert markets(acme, recipient_phone=f"+{PHONE}") == expected
    assert markets(acme, recipient_user_id=BSUID) == expected


def test_what_the_platform_was_told_outlives_a_word_said_under_another_name(acme: Cast) -> None:
    item = {"category": "marketing_messages", "value": "stop", "timestamp": NOW - 60}
    take_in(acme, field="user_preferences", user_preferences=[{**item, "user_id": BSUID}])
    says(acme, "START", ago=30, phone=PHONE)

    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)

    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    assert OptOut.objects.get(lifted_at=None).source == "PLATFORM"


def test_ids_from_before_a_merge_keep_working(acme: Cast, globex: Cast, gql) -> None:
    older = says(acme, "One", ago=60, phone=PHONE)
    younger = says(acme, "Two", ago=50, from_user_id=BSUID)
    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)

    change = """mutation($c: ID) { optOutContact(input: {contactId: $c}) {
        success contact { id optedOut } errors { code } } }"""
    foreign = gql(globex, change, c=str(younger.contact_id)).data["optOutContact"]
    assert foreign["errors"] == [{"code": "CONTACT_NOT_FOUND"}]
    said = gql(acme, change, c=str(younger.contact_id)).data["optOutContact"]

    assert said["contact"] == {"id": str(older.contact_id), "optedOut": True}
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    found = Client().get(
        f"/api/v1/messages/{younger.id}", headers={"Authorization": f"Bearer {acme.api_key}"}
    )
    assert found.json()["contact_id"] == str(older.contact_id)


def test_three_contacts_become_one_and_every_alias_leads_there(acme: Cast) -> None:
    second = second_number(acme)
    said = [
        says(acme, "One", ago=90, phone=PHONE),
        says(acme, "Two", ago=80, from_user_id=BSUID),
        says(acme, "STOP", ago=70, number=second.external_id, from_user_id=OTHER_BSUID),
    ]
    says(acme, "Me", ago=60, number=second.external_id, phone=PHONE, from_user_id=OTHER_BSUID)
    says(acme, "Me", ago=50, phone=PHONE, from_user_id=BSUID)

    assert {contact_of(message).id for message in said} == {said[0].contact_id}
    assert markets(acme, recipient_user_id=BSUID) == 422
    threads = Conversation.objects.filter(merged_into=None).values_list("workspace_id", flat=True)
    assert sorted(threads) == sorted([acme.workspace.id, second.id])


def test_messages_settle_under_the_contact_that_stays(acme: Cast, globex: Cast, now) -> None:
    older = says(acme, "One", ago=60, phone=PHONE)
    younger = says(acme, "Two", ago=50, from_user_id=BSUID)
    says(acme, "It is me", phone=PHONE, from_user_id=BSUID)
    theirs = says(globex, "Hello", phone=PHONE)
    alias = younger.contact_id

    assert merging.settle(now=now) == 1

    assert set(Message.objects.filter(tenant_id=acme.tenant.id).values_list("contact", flat=1)) == {
        older.contact_id
    }
    assert contact_of(theirs).id == theirs.contact_id
    assert Contact.objects.get(pk=alias).merged_into == older.contact_id
    assert merging.settle(now=now) == 0


def test_what_waits_is_examined_under_the_contact_that_stays(acme: Cast, now) -> None:
    says(acme, "Hello", ago=50, phone=PHONE)
    younger = says(acme, "Hello", ago=40, from_user_id=BSUID)
    assert markets(acme, recipient_user_id=BSUID) == 201
    says(acme, "Me", ago=30, phone=PHONE, from_user_id=BSUID)
    OptOut.objects.create(
        tenant_id=acme.tenant.id, contact_id=contact_of(younger).id, source="WORD"
    )
    (row,) = due.due([(acme.tenant.id, acme.workspace.id, 10)], now=now + timedelta(seconds=1))
    assert row.contact_id == contact_of(younger).id != younger.contact_id
    assert row.is_unwanted
    assert row.last_inbound_at is not None


def test_a_person_counts_once_against_the_limit(acme: Cast, now) -> None:
    older = says(acme, "Hello", ago=50, phone=PHONE)
    younger = says(acme, "Hello", ago=40, from_user_id=BSUID)
    for message, hours in ((older, 3), (younger, 1)):
        PortfolioRecipient.objects.create(
            tenant_id=acme.tenant.id,
            portfolio_id="42",
            contact_id=message.contact_id,
            opened_at=now - timedelta(hours=hours),
        )

    says(acme, "Me", phone=PHONE, from_user_id=BSUID)

    counted = PortfolioRecipient.objects.get()
    assert (counted.contact_id, counted.opened_at) == (
        older.contact_id,
        now - timedelta(hours=1),
    )


def test_a_merge_joins_within_one_batch_too(acme: Cast) -> None:
    for who in ({"from": PHONE}, {"from_user_id": BSUID}, {"from": PHONE, "from_user_id": BSUID}):
        message = {**text(f"wamid.{uuid.uuid4()}", "Hello", at=NOW), **who}
        if "from" not in who:
            del message["from"]
        deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=[message]))

    process_batch(10)

    assert Contact.objects.count() == Conversation.objects.count() == 1
    assert Message.objects.values("contact").distinct().count() == 1


def by_id(wamid: str, user: str, at: int) -> dict:
    """Return a text of somebody of whom only the BSUID is told."""
    return {k: v for k, v in text(wamid, at=at).items() if k != "from"} | {"from_user_id": user}


def work_together(workers: int) -> list[Exception]:
    """Process all that is pending with several workers; return their errors."""
    errors: list[Exception] = []

    def work() -> None:
        try:
            while process_batch(7):
                pass
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_lose_no_merge(acme: Cast, globex: Cast) -> None:
    people = [(f"1555010{number:04}", f"US.{10**15 + number}") for number in range(30)]
    said = [(acme, text(f"wamid.p{phone}", "STOP", phone, NOW - 60)) for phone, _ in people]
    said += [(acme, by_id(f"wamid.u{user}", user, NOW - 50)) for _, user in people]
    for cast, message in said:
        deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[message]))
    process_batch(1_000)
    for n, (phone, user) in ((n, person) for person in people for n in range(3)):
        both = {**text(f"wamid.{phone}.{n}", sender=phone, at=NOW), "from_user_id": user}
        alone = text(f"wamid.alone.{phone}.{n}", sender=phone, at=NOW)
        for cast, message in ((acme, both), (acme, alone), (globex, both)):
            deliver(cast.tenant.id, callback(cast.workspace.external_id, messages=[message]))

    assert work_together(3) == []

    threads = Conversation.objects.filter(tenant_id=acme.tenant.id, merged_into=None)
    assert sorted(threads.values_list("unread_count", flat=True)) == [8] * len(people)
    alive = Contact.objects.filter(merged_into=None, tenant_id=acme.tenant.id)
    stopped = OptOut.objects.filter(lifted_at=None).values_list("contact_id", flat=True)
    assert set(threads.values_list("contact_id", flat=True)) == set(stopped)
    assert set(stopped) == set(alive.values_list("pk", flat=True))
    assert Contact.objects.filter(tenant_id=globex.tenant.id).count() == len(people)


def refused(cast: Cast, message: Message) -> None:
    """Record that the platform refused a message to somebody who wants no marketing."""
    attempt = Attempt(
        message.id, cast.tenant.id, message.workspace_id, message.contact_id, None, 1, None
    )
    now = datetime.now(UTC)
    outcome = Outcome(attempt, Rejected(131050, "Opted out."), now)
    record([outcome], now=now, chance=Random(1))


def taken(cast: Cast, message: Message) -> None:
    """Record that the platform took a message, of which a receipt said so already."""
    attempt = Attempt(
        message.id, cast.tenant.id, message.workspace_id, message.contact_id, None, 1, None
    )
    now = datetime.now(UTC)
    record([Outcome(attempt, AcceptedSend("wamid.EARLY"), now)], now=now, chance=Random(1))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tell", [refused, taken])
def test_a_stop_that_a_sender_hears_during_a_merge_holds_at_once(
    acme: Cast, globex: Cast, wait_for, tell: Callable[[Cast, Message], None]
) -> None:
    says(acme, "Hello", ago=60, phone=PHONE)
    says(acme, "Hello", ago=50, from_user_id=BSUID)
    assert markets(acme, recipient_user_id=BSUID) == markets(globex, recipient_user_id=BSUID) == 201
    message = Message.objects.get(tenant_id=acme.tenant.id, source="API")
    become(Message.objects.filter(pk=message.pk), "sending", attempts=1)
    early = status("wamid.EARLY", "failed", errors=[{"code": 131050}])
    take_in(acme, statuses=[early])

    def is_stuck_or_done() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0]) or not sender.is_alive()

    errors: list[Exception] = []
    sender = threading.Thread(target=in_own_connection, args=(errors, tell, acme, message))
    with transaction.atomic():
        says(acme, "It is me", phone=PHONE, from_user_id=BSUID)
        sender.start()
        wait_for(is_stuck_or_done)
    sender.join()

    assert errors == []
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422
    assert markets(globex, recipient_user_id=BSUID) == 201


def in_own_connection(errors: list[Exception], do: Callable[..., None], *arguments: object) -> None:
    """Do something in a thread; note what goes wrong."""
    try:
        do(*arguments)
    except Exception as error:
        errors.append(error)
    finally:
        connection.close()
