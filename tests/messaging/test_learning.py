"""What tells that two identities are one person's, besides a message that names both."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connection
from django.test import Client

from connectors.whatsapp import ledger
from messaging.models import Contact, Conversation, Message
from tests.conftest import Cast
from tests.graphql.conftest import gql
from tests.messaging.test_merging import (
    BSUID,
    NEW_PHONE,
    NOW,
    OTHER_BSUID,
    PHONE,
    contact_of,
    markets,
    says,
    second_number,
    take_in,
)
from tests.sending.conftest import template
from tests.whatsapp.deliveries import status, text
from workspaces.identity import digester

__all__ = ("gql",)

pytestmark = pytest.mark.django_db
OWN = "15550100001"  # as the callbacks of the tests say


@pytest.fixture(autouse=True)
def _templates(acme: Cast, globex: Cast, no_wake_ups: object) -> None:
    template(acme)
    template(globex)


def shares_number(cast: Cast, phone: str, *, origin: str = "contact_request", **who: str) -> None:
    """Have somebody send a card with a number."""
    message = {"id": f"wamid.{uuid.uuid4()}", "timestamp": str(NOW), "type": "contacts", **who}
    card = {"origin": origin, "phones": [{"phone": f"+{phone}", "wa_id": phone}]}
    take_in(cast, messages=[{**message, "contacts": [card]}])


def people(cast: Cast) -> int:
    """Count the cast's contacts."""
    return Contact.objects.filter(tenant_id=cast.tenant.id, merged_into=None).count()


def test_a_number_shared_on_request_is_the_persons_own(acme: Cast, globex: Cast) -> None:
    stopped = says(acme, "STOP", ago=60, phone=PHONE)
    asked = says(acme, "Hello", ago=50, from_user_id=BSUID)
    says(globex, "Hello", from_user_id=BSUID)

    shares_number(acme, PHONE, from_user_id=BSUID)

    assert contact_of(stopped) == contact_of(asked)
    assert markets(acme, recipient_user_id=BSUID) == 422
    assert markets(globex, recipient_phone=f"+{PHONE}") == 201


def test_a_card_of_anybody_joins_nobody(acme: Cast) -> None:
    says(acme, "Hello", phone=PHONE)
    shares_number(acme, PHONE, origin="other", from_user_id=BSUID)
    assert people(acme) == 2


@pytest.mark.parametrize("whose", ["another's", "a second one"])
def test_a_shared_number_that_contradicts_what_is_known_changes_nothing(
    acme: Cast, whose: str
) -> None:
    if whose == "another's":
        says(acme, "Hello", phone=PHONE, from_user_id=OTHER_BSUID)
        says(acme, "Hello", from_user_id=BSUID)
    else:
        says(acme, "Hello", phone=NEW_PHONE, from_user_id=BSUID)
    before = people(acme)

    shares_number(acme, PHONE, from_user_id=BSUID)

    by_id = contact_of(says(acme, "Hello", from_user_id=BSUID))
    assert people(acme) == before
    assert contact_of(says(acme, "Hello", phone=PHONE)) != by_id


def test_a_receipt_that_names_both_joins_them(acme: Cast, globex: Cast) -> None:
    stopped = says(acme, "STOP", ago=60, phone=PHONE)
    says(acme, "Hello", ago=50, from_user_id=BSUID)
    for cast in (acme, globex):
        take_in(cast, statuses=[status("wamid.S", "sent", recipient_user_id=BSUID)])

    assert contact_of(says(acme, "Me", from_user_id=BSUID)) == contact_of(stopped)
    assert people(acme) == people(globex) == 1
    assert markets(acme, recipient_user_id=BSUID) == 422


def test_a_receipt_names_whom_the_message_went_to(acme: Cast) -> None:
    said = {"id": "wamid.ECHO", "timestamp": str(NOW - 30), "type": "text", "text": {"body": "Hi"}}
    take_in(acme, field="smb_message_echoes", message_echoes=[{**said, "from": OWN, "to": PHONE}])
    says(acme, "STOP", ago=20, from_user_id=BSUID)
    receipt = status("wamid.ECHO", "delivered", recipient_user_id=BSUID)
    del receipt["recipient_id"]

    take_in(acme, statuses=[receipt])

    assert people(acme) == 1
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422


def test_a_receipt_of_a_number_that_went_to_somebody_else_joins_nobody(acme: Cast) -> None:
    said = {"id": "wamid.ECHO", "timestamp": str(NOW - 30), "type": "text", "text": {"body": "Hi"}}
    says(acme, "Hello", ago=50, phone=PHONE, from_user_id=OTHER_BSUID)
    take_in(acme, field="smb_message_echoes", message_echoes=[{**said, "from": OWN, "to": PHONE}])
    receipt = status("wamid.ECHO", "delivered", recipient_user_id=BSUID)
    del receipt["recipient_id"]

    take_in(acme, statuses=[receipt])

    stranger = contact_of(says(acme, "Hello", from_user_id=BSUID))
    assert contact_of(says(acme, "Hello", phone=PHONE)) != stranger


def looks_at_identities() -> int:
    """Return how often this transaction has read the table of identities."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) "
            "FROM pg_stat_xact_user_tables WHERE relname = 'contact_identities'"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(("more", "looks"), [({}, False), ({"recipient_user_id": BSUID}, True)])
def test_receipts_that_teach_nothing_are_stored_without_a_look_at_contacts(
    acme: Cast, more: dict[str, str], looks: bool
) -> None:
    says(acme, "Hello", phone=PHONE, from_user_id=BSUID)
    before = looks_at_identities()
    take_in(acme, statuses=[status(f"wamid.{n}", "sent", **more) for n in range(5)])
    assert (looks_at_identities() > before) == looks


@pytest.mark.parametrize("inbound", [True, False])
def test_history_tells_user_ids_too(acme: Cast, inbound: bool) -> None:
    says(acme, "STOP", ago=60, from_user_id=BSUID)
    message = text("wamid.H", at=NOW - 900)
    if inbound:
        message |= {"from": PHONE, "from_user_id": BSUID}
    else:
        message |= {"from": OWN, "to": PHONE, "to_user_id": BSUID}
    thread = {"id": PHONE, "messages": [message]}
    take_in(acme, field="history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])

    assert people(acme) == 1
    assert markets(acme, recipient_phone=f"+{PHONE}") == 422


@pytest.mark.parametrize("group", ["120363012345678901@g.us", "15550123456-1388742057@g.us"])
def test_a_groups_thread_of_history_is_no_person(acme: Cast, group: str) -> None:
    said = [text(f"wamid.{phone}", sender=phone, at=NOW) for phone in (PHONE, NEW_PHONE)]
    thread = {"id": group, "messages": said}
    take_in(acme, field="history", history=[{"metadata": {"phase": 0}, "threads": [thread]}])

    stored = Message.objects.all()
    assert len({message.contact_id for message in stored}) == 2
    assert {message.group_id for message in stored} == {digester(acme.tenant.id).group(group)}
    assert not Conversation.objects.exists()


def test_a_message_to_oneself_is_kept_as_written_and_as_got(acme: Cast) -> None:
    said = {**text("wamid.SELF", "Note", OWN, NOW), "to": OWN}
    for _ in range(2):
        take_in(acme, messages=[text("wamid.SELF", "Note", OWN, NOW)])
        take_in(acme, field="smb_message_echoes", message_echoes=[said])
    take_in(acme, statuses=[status("wamid.SELF", "read", recipient_id=OWN)])

    by_direction = {message.direction: message for message in Message.objects.all()}
    assert by_direction.keys() == {"INBOUND", "OUTBOUND"}
    assert by_direction["OUTBOUND"].status == "read"
    assert ledger.read(acme.tenant.id, verify=True).duplicates == 2


@pytest.mark.parametrize("phone", ["071 155 8396", "27711558396", "0027711558396", "+2771", ""])
def test_every_door_refuses_a_number_in_the_same_words(acme: Cast, gql, phone: str) -> None:
    workspace = str(acme.workspace.id)
    sent = Client().post(
        "/api/v1/messages",
        json.dumps({"workspace_id": workspace, "recipient_phone": phone, "text": "Hi"}),
        "application/json",
        headers={"Authorization": f"Bearer {acme.api_key}"},
    )
    sentence = sent.json()["error"]["message"]

    ask = "query($w: ID!, $p: String) { messages(workspaceId: $w, senderPhone: $p) { totalCount } }"
    (asked,) = gql(acme, ask, w=workspace, p=phone).body["errors"]
    change = "mutation($p: String) { optOutContact(input: {phone: $p}) { errors { message } } }"
    (refused,) = gql(acme, change, p=phone).data["optOutContact"]["errors"]

    assert asked["message"] == f"senderPhone: {sentence}"
    assert refused["message"] == sentence


def test_a_filter_by_number_finds_both_spellings(acme: Cast, globex: Cast, gql) -> None:
    for cast in (acme, globex):
        says(cast, "oi", phone="553188813001")
        says(cast, "oi", phone="5531988813001")
    ask = "query($w: ID!, $p: String) { messages(workspaceId: $w, senderPhone: $p) { totalCount } }"
    for phone in ("+55 31 8881-3001", "+5531988813001"):
        found = gql(acme, ask, w=str(acme.workspace.id), p=phone).data["messages"]
        assert found["totalCount"] == 2


def test_a_parent_id_joins_over_portfolios(acme: Cast) -> None:
    second = second_number(acme)
    parent = "US.ENT.11815799212886844830"
    one = says(acme, "STOP", ago=60, from_user_id=BSUID, from_parent_user_id=parent)
    other = says(
        acme, "Hi", number=second.external_id, from_user_id=OTHER_BSUID, from_parent_user_id=parent
    )
    assert contact_of(one) == contact_of(other)
    assert markets(acme, recipient_user_id=OTHER_BSUID) == 422


PARENT = "US.ENT.99900000000000000001"
TOGETHER = {"wa_id": PHONE, "user_id": BSUID, "parent_user_id": PARENT}
CALLED = {"recipient_id": PHONE, "recipient_user_id": BSUID, "recipient_parent_user_id": PARENT}
SYNCED = {"phone_number": f"+{PHONE}", "user_id": BSUID, "parent_user_id": PARENT}
TOLD = {
    "address book": (
        "smb_app_state_sync",
        {
            "state_sync": [
                {
                    "type": "contact",
                    "action": "add",
                    "contact": SYNCED,
                    "metadata": {"timestamp": NOW},
                }
            ]
        },
    ),
    "call": (
        "calls",
        {
            "calls": [
                {
                    "id": "wacid.A",
                    "event": "connect",
                    "from": PHONE,
                    "from_user_id": BSUID,
                    "from_parent_user_id": PARENT,
                    "to": OWN,
                    "timestamp": str(NOW),
                }
            ]
        },
    ),
    "call of the business": (
        "calls",
        {
            "calls": [
                {
                    "id": "wacid.A",
                    "event": "connect",
                    "to": PHONE,
                    "to_user_id": BSUID,
                    "to_parent_user_id": PARENT,
                    "from": OWN,
                    "timestamp": str(NOW),
                }
            ]
        },
    ),
    "call, and who calls": (
        "calls",
        {
            "calls": [{"id": "wacid.A", "event": "connect", "from": PHONE, "to": OWN}],
            "contacts": [TOGETHER],
        },
    ),
    "answer to a call": (
        "calls",
        {
            "statuses": [
                {"id": "wacid.A", "type": "call", "status": "ACCEPTED", "timestamp": str(NOW)}
                | CALLED
            ]
        },
    ),
    "who joined a group": (
        "group_participants_update",
        {
            "groups": [
                {
                    "type": "group_participants_add",
                    "group_id": "g",
                    "timestamp": NOW,
                    "added_participants": [None, TOGETHER],
                }
            ]
        },
    ),
    "who left a group": (
        "group_participants_update",
        {
            "groups": [
                {
                    "type": "group_participants_remove",
                    "group_id": "g",
                    "removed_participants": [TOGETHER],
                }
            ]
        },
    ),
    "who asks to join a group": (
        "group_participants_update",
        {"groups": [{"type": "group_join_request_created", "group_id": "g", **TOGETHER}]},
    ),
    "preference, and whose": (
        "user_preferences",
        {
            "contacts": [TOGETHER],
            "user_preferences": [
                {
                    "category": "marketing_messages",
                    "value": "stop",
                    "user_id": BSUID,
                    "timestamp": NOW - 70,
                }
            ],
        },
    ),
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_whatever_names_a_number_and_user_ids_joins_them(
    acme: Cast, globex: Cast, told: tuple[str, dict[str, object]]
) -> None:
    stopped = says(acme, "STOP", ago=60, phone=PHONE)
    by_id = says(acme, "Hello", ago=50, from_user_id=BSUID)
    by_parent = says(acme, "Hello", ago=40, from_parent_user_id=PARENT)
    field, value = told

    take_in(acme, field=field, **value)

    assert {contact_of(one) for one in (by_id, by_parent)} == {contact_of(stopped)}
    assert markets(acme, recipient_user_id=BSUID) == 422
    assert markets(globex, recipient_phone=f"+{PHONE}") == 201


@pytest.mark.parametrize("told", list(TOLD.values())[:-1], ids=list(TOLD)[:-1])
def test_a_number_of_somebody_else_stays_theirs_whatever_is_told_beside_messages(
    acme: Cast, told: tuple[str, dict[str, object]]
) -> None:
    theirs = says(acme, "Hello", phone=PHONE, from_user_id=OTHER_BSUID)
    mine = says(acme, "Hello", from_user_id=BSUID)
    field, value = told

    take_in(acme, field=field, **value)

    assert contact_of(says(acme, "Hello", phone=PHONE)) == contact_of(theirs)
    assert contact_of(mine) != contact_of(theirs)


def test_a_contact_removed_from_the_address_book_joins_nobody(acme: Cast) -> None:
    says(acme, "Hello", phone=PHONE)
    says(acme, "Hello", from_user_id=BSUID)
    item = {"type": "contact", "action": "remove", "contact": SYNCED}
    take_in(acme, field="smb_app_state_sync", state_sync=[item])
    assert people(acme) == 2


def test_an_update_of_a_user_id_leads_from_the_old_one_to_the_new_one(
    acme: Cast, globex: Cast
) -> None:
    stopped = says(acme, "STOP", ago=60, phone=PHONE)
    before = says(acme, "Hello", ago=50, from_user_id=BSUID)
    after = says(acme, "Hello", ago=40, from_user_id=OTHER_BSUID)
    ids = {"previous": BSUID, "current": OTHER_BSUID}
    item = {"wa_id": PHONE, "user_id": ids, "parent_user_id": None, "timestamp": str(NOW)}

    take_in(acme, field="user_id_update", user_id_update=[item])

    assert contact_of(before) == contact_of(after) == contact_of(stopped)
    assert markets(acme, recipient_user_id=OTHER_BSUID) == 422
    assert markets(globex, recipient_user_id=OTHER_BSUID) == 201


def test_a_name_that_reads_like_a_change_of_number_joins_nobody(acme: Cast) -> None:
    one = says(acme, "Hello", ago=60, phone=PHONE)
    other = says(acme, "Hello", ago=50, phone=NEW_PHONE)
    name = f"changed from +{PHONE} to +{NEW_PHONE}"
    system = {
        "type": "user_changed_number",
        "user_id": OTHER_BSUID,
        "body": f"User {name} changed from +1 555 011 0001 to +1 555 011 0002",
    }
    message = {"id": "wamid.C", "timestamp": str(NOW), "type": "system", "system": system}

    take_in(acme, messages=[{**message, "from_user_id": BSUID}])

    assert contact_of(one) != contact_of(other)
    assert contact_of(says(acme, "Me", phone="15550110001")) == contact_of(
        says(acme, "Me", phone="15550110002")
    )
