"""People are blocked at Meta for one number: wanted at once, told behind it, and read back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from connectors.events.models import EventSubscription, OutgoingEvent
from connectors.simulator.meta.seeds import business
from connectors.simulator.meta.server import RunningSimulator
from connectors.simulator.meta.world import joined
from connectors.whatsapp.wire.errors import GraphAnswer, block_errors_of
from messaging import block_lists, block_requests, erasure, merging
from messaging.block_requests import UnableToBlock
from messaging.models import (
    BlockList,
    BlockState,
    Contact,
    ContactBlock,
    ContactIdentity,
    Conversation,
    Message,
)
from messaging.tasks import perform_blocks
from tests.broadcasts import conftest as broadcasts
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql, key_with
from tests.sending.conftest import PHONE, hear
from tests.sending.test_answering import BSUID, username_customer
from tests.sending.test_rest import ask
from workspaces import secrets
from workspaces.access import Scope
from workspaces.channel_errors import Rejected
from workspaces.models import SecretKind, Tenant

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

OTHER = "15550123999"
BLOCK, UNBLOCK, BLOCKED = (f"/api/v1/contacts/{one}" for one in ("block", "unblock", "blocked"))
ON_CONTACT = """
query ($id: ID!) { contact(id: $id) { blocks { state by workspaceId blockedAt error } } }
"""
Perform = Callable[[], None]


@pytest.fixture
def meta(acme: Cast, globex: Cast, settings: Any) -> Iterator[RunningSimulator]:
    """A Meta with both tenants' numbers; between it and us nothing is replaced."""
    worlds = []
    for cast in (acme, globex):
        token = f"EAAG-{cast.tenant.slug}"
        secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=token)
        worlds.append(
            business(
                app_secret=cast.app_secret,
                access_token=token,
                waba_id=cast.workspace.waba_id,
                phone_number_id=cast.workspace.external_id,
            )
        )
    for cast, world in zip((acme, globex), worlds, strict=True):
        world.apps[0].id = world.tokens[0].app_id = f"7{cast.workspace.external_id}"
        world.accounts[0].subscriptions[0].app_id = world.apps[0].id
    with RunningSimulator(joined(*worlds)) as simulator:
        settings.SIGMA_GRAPH_URL = simulator.url
        yield simulator


@pytest.fixture
def perform() -> Perform:
    """Do what the worker does, now, whatever waits for later."""

    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE contact_blocks SET due_at = now() WHERE due_at IS NOT NULL")
        block_lists.perform_due(now=datetime.now(UTC), chance=Random(1))

    return run


def writes(meta: RunningSimulator, cast: Cast, now: datetime, phone: str = PHONE) -> Message:
    """Let somebody write to a cast's number just now, as both sides know."""
    meta.control.open_window(phone, cast.workspace.external_id)
    return hear(cast, now - timedelta(minutes=5), phone=phone, wamid=f"wamid.{uuid4()}")


def named(cast: Cast, message: Message, **more: object) -> dict[str, object]:
    return {
        "workspace_id": str(cast.workspace.id),
        "contact_id": str(message.contact_id),
        **more,
    }


def at_meta(meta: RunningSimulator, cast: Cast) -> list[str]:
    accounts = meta.control.state()["accounts"]
    numbers = [number for account in accounts for number in account["numbers"]]
    return next(n["blocked"] for n in numbers if n["id"] == cast.workspace.external_id)


def in_manager(meta: RunningSimulator, cast: Cast, *blocked: str) -> None:
    """Have somebody change the list at Meta."""
    meta.control.change("numbers", cast.workspace.external_id, blocked=list(blocked))


def state_of(message: Message) -> tuple[str, str]:
    row = ContactBlock.objects.get(contact_id=message.contact_id)
    return row.state, row.by


def read_list(cast: Cast) -> None:
    block_lists.sync(cast.workspace, now=datetime.now(UTC))


def events() -> list[tuple[str, str]]:
    rows = OutgoingEvent.objects.filter(type__startswith="contact.").order_by("id")
    return [(row.type, row.data["by"]) for row in rows]


def listen(cast: Cast) -> None:
    EventSubscription.objects.create(tenant_id=cast.tenant.id, url="https://example.org/", types=[])


def test_a_person_is_blocked_for_one_number_and_unblocked(
    meta: RunningSimulator,
    acme: Cast,
    globex: Cast,
    gql: Gql,
    perform: Perform,
    now: datetime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard, theirs = writes(meta, acme, now), writes(meta, globex, now)
    listen(acme)
    key = key_with(acme.tenant, Scope.CONTACTS_BLOCK, Scope.MESSAGES_READ)
    caplog.set_level(logging.INFO)

    wanted = [ask(key, BLOCK, named(acme, heard)) for _ in range(2)]
    assert [(status, block["state"]) for status, block in wanted] == [(200, "BLOCKING")] * 2
    assert wanted[0] == wanted[1]
    by = wanted[0][1]["by"]
    assert by.startswith("api_key ")
    perform()

    assert at_meta(meta, acme) == [PHONE]
    assert at_meta(meta, globex) == []
    (shown,) = gql(acme, ON_CONTACT, id=str(heard.contact_id)).data["contact"]["blocks"]
    assert shown["blockedAt"]
    assert shown == {
        "state": "BLOCKED",
        "by": by,
        "workspaceId": str(acme.workspace.id),
        "blockedAt": shown["blockedAt"],
        "error": None,
    }
    assert gql(globex, ON_CONTACT, id=str(theirs.contact_id)).data["contact"]["blocks"] == []
    assert ask(key, BLOCK, named(acme, heard))[1]["state"] == "BLOCKED"
    _, listed = ask(key, f"{BLOCKED}?workspace_id={acme.workspace.id}", method="get")
    assert [one["contact_id"] for one in listed["nodes"]] == [str(heard.contact_id)]
    assert ask(globex, f"{BLOCKED}?workspace_id={acme.workspace.id}", method="get")[0] == 404

    assert ask(key, UNBLOCK, named(acme, heard))[1]["block"]["state"] == "UNBLOCKING"
    perform()
    assert (at_meta(meta, acme), state_of(heard)) == ([], ("UNBLOCKED", by))
    assert gql(acme, ON_CONTACT, id=str(heard.contact_id)).data["contact"]["blocks"] == []
    assert events() == [("contact.blocked", by), ("contact.unblocked", by)]
    told = json.dumps([wanted, listed, list(OutgoingEvent.objects.values_list("data", flat=True))])
    lines = [record for record in caplog.records if record.name == "sigma.whatsapp.blocks"]
    assert [line.getMessage() for line in lines] == [
        "whatsapp block of a contact requested",
        "whatsapp contact blocked",
        "whatsapp unblock of a contact requested",
        "whatsapp contact unblocked",
    ]
    assert {line.__dict__["by"] for line in lines} == {by}
    assert PHONE not in told + json.dumps([line.__dict__ for line in lines], default=str)


def test_it_takes_every_way_of_naming_a_person(
    meta: RunningSimulator, acme: Cast, globex: Cast, gql: Gql, now: datetime, settings: Any
) -> None:
    heard = writes(meta, acme, now)
    where = {"workspace_id": str(acme.workspace.id)}
    talk = Conversation.objects.get(tenant_id=acme.tenant.id)
    ways = {
        "contact_id": str(heard.contact_id),
        "conversation_id": str(talk.id),
        "reply_to": str(heard.id),
        "phone": f"+{PHONE}",
    }
    for name, value in ways.items():
        assert ask(acme, BLOCK, {**where, name: value})[1]["state"] == "BLOCKING"
        wrong = {"workspace_id": str(globex.workspace.id), name: value}
        status, refused = ask(globex, BLOCK, wrong)
        assert (status, refused["error"]["code"]) == (404, "CONTACT_NOT_FOUND"), name
        assert ask(globex, BLOCK, {**where, name: value})[1]["error"]["code"] == (
            "WORKSPACE_NOT_FOUND"
        )
    assert ContactBlock.objects.count() == 1
    document = """mutation ($input: BlockContactInput!) {
      unblockContact(input: $input) { success block { state } errors { code field } } }"""
    given = {"workspaceId": where["workspace_id"], "conversationId": ways["conversation_id"]}
    assert gql(acme, document, input=given).data["unblockContact"]["block"]["state"] == "UNBLOCKING"
    both = {**given, "contactId": ways["contact_id"]}
    assert gql(acme, document, input=both).data["unblockContact"]["errors"] == [
        {"code": "INVALID_INPUT", "field": "contactId"}
    ]

    narrow = key_with(acme.tenant, Scope.CONTACTS_BLOCK)
    assert ask(narrow, BLOCK, {**where, "phone": ways["phone"]})[0] == 403
    assert ask(narrow, BLOCK, {**where, "phone": "0711"})[1]["error"]["code"] == "INVALID_PHONE"
    assert ask(key_with(acme.tenant, Scope.MESSAGES_SEND), BLOCK, {**where, **ways})[0] == 403
    settings.SIGMA_LOOKUP_RATE = 1
    counted = key_with(acme.tenant, Scope.CONTACTS_BLOCK, Scope.CONTACTS_LOOKUP)
    asked = [ask(counted, BLOCK, {**where, "phone": ways["phone"]})[0] for _ in range(2)]
    assert asked == [200, 429]
    for bad in (
        {},
        [],
        {"workspace_id": 5},
        where,
        {**where, "contact_id": "x"},
        {**where, "a": 1},
    ):
        assert ask(acme, BLOCK, bad)[0] in (400, 422)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.text(), x)))
def test_no_input_is_more_than_refused(given: object) -> None:
    with pytest.raises(UnableToBlock):
        block_requests.read(given)


def test_what_meta_would_refuse_is_refused_at_once(
    meta: RunningSimulator,
    acme: Cast,
    globex: Cast,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = hear(acme, now - timedelta(hours=25), phone=OTHER, wamid="wamid.LATE")
    heard = writes(meta, acme, now)
    writes(meta, globex, now)

    def code(message: Message, **more: object) -> str:
        return ask(acme, BLOCK, named(acme, message, **more))[1]["error"]["code"]

    assert code(late) == "NOT_HEARD_LATELY"
    identities = ContactIdentity.objects.filter(contact_id=heard.contact_id)
    kept = list(identities.values_list("id", "address", "address_day"))
    identities.update(address=None, address_day=None)
    assert code(heard) == "ADDRESS_EXPIRED"
    for row in kept:
        identities.filter(pk=row[0]).update(address=row[1], address_day=row[2])
    monkeypatch.setattr(block_requests, "MOST_BLOCKED", 0)
    assert code(heard) == "LIST_FULL"
    acme.workspace.transport = "WHATSMEOW"
    acme.workspace.save()
    assert code(heard) == "UNSUPPORTED_TRANSPORT"
    assert not ContactBlock.objects.exists()


def test_a_part_that_meta_refuses_is_told_with_the_remedy(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    other = hear(acme, now, phone=OTHER, wamid="wamid.OTHER")  # Meta sees no message of theirs
    listen(acme)
    for one in (heard, other):
        ask(acme, BLOCK, named(acme, one))
    perform()

    assert state_of(heard)[0] == "BLOCKED"
    row = ContactBlock.objects.get(contact_id=other.contact_id)
    assert (row.state, row.error_code) == ("REFUSED", 131047)
    assert "when they write again" in row.error
    assert sorted(name for name, _ in events()) == ["contact.block_refused", "contact.blocked"]
    in_text = {"workspace_id": str(acme.workspace.id), "contact_id": str(other.contact_id)}
    assert ask(acme, "/api/v1/messages", {**in_text, "text": "Hi"})[0] == 201
    meta.control.open_window(OTHER, acme.workspace.external_id)
    assert ask(acme, BLOCK, named(acme, other))[1]["state"] == "BLOCKING"
    perform()
    assert sorted(at_meta(meta, acme)) == sorted([PHONE, OTHER])


@pytest.mark.parametrize(
    "rule",
    [
        {"preset": "close_before"},
        {"preset": "bare_500"},
        {"preset": "error", "code": 139103},
        {"preset": "error", "code": 130429},
        {"preset": "error", "code": 190},
    ],
)
def test_it_stays_pending_while_meta_is_away_and_goes_on(
    meta: RunningSimulator,
    acme: Cast,
    globex: Cast,
    perform: Perform,
    now: datetime,
    rule: dict[str, Any],
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    meta.control.rule(edge="block_users", **rule)
    perform()

    row = ContactBlock.objects.get()
    assert (row.state, row.lease_until, row.attempts) == ("BLOCKING", None, 1)
    assert row.error
    assert row.due_at is not None
    status, refused = ask(
        acme, "/api/v1/messages", named(acme, heard, text="Hi", workspace_id=str(row.workspace_id))
    )
    assert (status, refused["error"]["code"]) == (422, "CONTACT_BLOCKED")
    meta.control.lift_rules()
    perform()
    row.refresh_from_db()
    assert (row.state, row.error, row.due_at) == ("BLOCKED", "", None)


def test_a_bad_person_spoils_it_for_nobody(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    """Meta refuses the whole request for one person; those beside them are asked about alone."""
    people = [writes(meta, acme, now, phone) for phone in (PHONE, OTHER)]
    for one in people:
        ask(acme, BLOCK, named(acme, one))
    meta.control.rule("error", code=100, edge="block_users", count=1)
    perform()
    assert [state_of(one)[0] for one in people] == ["BLOCKED", "BLOCKED"]


def test_a_full_list_is_told(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    in_manager(meta, acme, *(str(10**9 + n) for n in range(64_000)))
    perform()
    row = ContactBlock.objects.get()
    assert (row.state, row.error_code) == ("REFUSED", 139101)
    assert "unblock somebody" in row.error


def test_what_is_wanted_while_meta_is_told_comes_after_it(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    tell = block_lists._tell

    def meanwhile(*given: Any, **more: Any) -> Any:
        told = tell(*given, **more)
        ask(acme, UNBLOCK, named(acme, heard))
        perform()  # somebody else's turn: it waits for ours
        return told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_lists, "_tell", meanwhile)
        perform()
    row = ContactBlock.objects.get()
    assert (row.state, row.lease_until, at_meta(meta, acme)) == ("UNBLOCKING", None, [PHONE])
    perform()
    assert (state_of(heard)[0], at_meta(meta, acme)) == ("UNBLOCKED", [])


def test_a_worker_that_died_is_followed_by_another(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    ContactBlock.objects.update(lease_until=now + timedelta(minutes=1))
    perform()
    assert at_meta(meta, acme) == []
    ContactBlock.objects.update(lease_until=now - timedelta(minutes=1))
    perform()
    assert (at_meta(meta, acme), state_of(heard)[0]) == ([PHONE], "BLOCKED")


def test_it_follows_what_is_done_in_metas_manager(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard, other, theirs = (
        writes(meta, acme, now),
        writes(meta, acme, now, OTHER),
        writes(meta, globex, now),
    )
    listen(acme)
    ask(acme, BLOCK, named(acme, heard))
    perform()
    in_manager(meta, acme, OTHER, "447700900999")
    ask(acme, f"/api/v1/workspaces/{acme.workspace.id}/block-list/sync", {})
    perform_blocks()

    assert state_of(heard) == ("UNBLOCKED", "platform")
    assert state_of(other) == ("BLOCKED", "platform")
    assert not ContactBlock.objects.filter(contact_id=theirs.contact_id).exists()
    _, shown = ask(acme, f"/api/v1/workspaces/{acme.workspace.id}/block-list", method="get")
    assert (shown["listed"], shown["strangers"], shown["sync_error"]) == (2, 1, "")
    assert [name for name, _ in events()][1:] == ["contact.blocked", "contact.unblocked"]
    for cast in (acme, globex):
        read_list(cast)
    assert len(events()) == 3
    assert not ContactBlock.objects.filter(contact_id=heard.contact_id).exists()


def test_a_list_that_changes_while_it_is_read_changes_nothing(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    perform()
    in_manager(meta, acme)
    meta.control.rule("error", code=139102, edge="block_users")
    block_lists.sync_due(now=datetime.now(UTC))
    assert state_of(heard)[0] == "BLOCKED"
    row = BlockList.objects.get(tenant_id=acme.tenant.id)
    assert "changed while it was read" in row.sync_error
    assert row.sync_due_at is not None


def test_what_is_newer_than_the_list_stays(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    perform()
    in_manager(meta, acme)
    block_lists.sync(acme.workspace, now=now - timedelta(seconds=1))  # begun before the block
    assert state_of(heard)[0] == "BLOCKED"
    ask(acme, UNBLOCK, named(acme, heard))
    perform()
    in_manager(meta, acme, PHONE)
    block_lists.sync(acme.workspace, now=now - timedelta(seconds=1))
    assert state_of(heard)[0] == "UNBLOCKED"


def test_who_has_a_username_is_blocked_by_their_user_id(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    said = username_customer(acme, now)
    meta.control.open_window(BSUID, acme.workspace.external_id)
    ask(acme, BLOCK, named(acme, said))
    perform()
    assert at_meta(meta, acme) == [BSUID]
    read_list(acme)
    assert state_of(said)[0] == "BLOCKED"


def test_who_cannot_be_named_any_more_is_unblocked_by_metas_list(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    perform()
    ContactIdentity.objects.update(address=None, address_day=None)
    ask(acme, UNBLOCK, named(acme, heard))
    perform()
    assert (at_meta(meta, acme), state_of(heard)[0]) == ([], "UNBLOCKED")


def test_sends_preflight_and_broadcasts_leave_them_out(
    meta: RunningSimulator, acme: Cast, globex: Cast, gql: Gql, perform: Perform, now: datetime
) -> None:
    blocked = broadcasts.phone(1)[1:]
    heard, theirs = writes(meta, acme, now, blocked), writes(meta, globex, now, blocked)
    ask(acme, BLOCK, named(acme, heard))
    perform()

    for cast, said, wanted in ((acme, heard, 422), (globex, theirs, 201)):
        given = named(cast, said, text="Hi")
        status, answer = ask(cast, "/api/v1/messages", given)
        assert status == wanted
        _, told = ask(cast, "/api/v1/messages/preflight", given)
        assert [one["code"] for one in told["problems"]] == ["CONTACT_BLOCKED"] * (wanted == 422)
        assert blocked not in json.dumps([answer, told])
    _, answer = ask(acme, "/api/v1/messages", named(acme, heard, text="Hi"))
    assert answer["error"]["platform_code"] == 130403
    assert "unblock" in answer["error"]["message"]
    broadcasts.template(acme)
    running = broadcasts.start(broadcasts.draft(acme, broadcasts.people(3)), now)
    rows = running.__class__.objects.raw(
        "SELECT * FROM broadcast_recipients WHERE state = 'REFUSED'"
    )
    assert [(row.position, row.code) for row in rows] == [(3, "CONTACT_BLOCKED")]
    assert running.state == "RUNNING"


def test_contacts_that_turn_out_to_be_one_have_one_block(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        winner, loser = (Contact.objects.create(tenant_id=cast.tenant.id) for _ in range(2))
        states = {
            cast.workspace.id: (BlockState.REFUSED, BlockState.BLOCKED),
            uuid4(): (None, BlockState.BLOCKED),
            uuid4(): (BlockState.BLOCKED, BlockState.UNBLOCKED),
        }
        for place, both in states.items():
            for contact, state in zip((winner, loser), both, strict=True):
                if state:
                    ContactBlock.objects.create(
                        tenant_id=cast.tenant.id,
                        workspace_id=place,
                        contact_id=contact.id,
                        state=state,
                        by="rule",
                        asked_at=datetime.now(UTC),
                    )
        if cast is globex:
            continue
        merging.join([(cast.tenant.id, loser.id, winner.id)])
        rows = ContactBlock.objects.filter(tenant_id=cast.tenant.id)
        assert {(row.contact_id, row.state) for row in rows} == {(winner.id, "BLOCKED")}
        assert rows.count() == 3
    assert ContactBlock.objects.filter(tenant_id=globex.tenant.id).count() == 5
    assert erasure.erase(acme.tenant.id)["contact_blocks"] == 3
    assert ContactBlock.objects.filter(tenant_id=globex.tenant.id).count() == 5


def test_pages_go_by_what_changed_last(acme: Cast, globex: Cast, gql: Gql, now: datetime) -> None:
    contacts = [Contact.objects.create(tenant_id=acme.tenant.id) for _ in range(3)]
    for number, (contact, state) in enumerate(
        zip(contacts, ("BLOCKED", "REFUSED", "UNBLOCKED"), strict=True)
    ):
        ContactBlock.objects.create(
            tenant_id=acme.tenant.id,
            workspace_id=acme.workspace.id,
            contact_id=contact.id,
            state=state,
            by="rule",
            asked_at=now,
            changed_at=now + timedelta(seconds=number),
        )
    document = """query ($w: ID!, $s: [BlockState!], $a: String) {
      blockedContacts(workspaceId: $w, states: $s, first: 1, after: $a) {
        nodes { block { state } contact { id blocks { state } } }
        pageInfo { hasNextPage endCursor } } }"""

    def page(cast: Cast = acme, **more: object) -> Any:
        return gql(cast, document, w=str(acme.workspace.id), **more)

    first = page().data["blockedContacts"]
    assert (first["nodes"][0]["block"]["state"], first["pageInfo"]["hasNextPage"]) == (
        "REFUSED",
        True,
    )
    second = page(a=first["pageInfo"]["endCursor"]).data["blockedContacts"]
    assert second["nodes"][0]["contact"] == {
        "id": str(contacts[0].id),
        "blocks": [{"state": "BLOCKED"}],
    }
    over = page(s=["UNBLOCKED"]).data["blockedContacts"]["nodes"]
    assert over[0]["contact"]["blocks"] == []
    assert page(globex).codes == ["NOT_FOUND"]


def test_a_200_may_name_people_who_are_not_blocked() -> None:
    body = {
        "block_users": {
            "added_users": [{"input": "+1", "wa_id": "1"}],
            "failed_users": [{"input": "+2", "errors": [{"code": 131047}]}, {"input": "+3"}],
        }
    }
    answer = GraphAnswer(200, {}, json.dumps(body).encode())
    found = block_errors_of(answer, done="added_users")
    assert found is not None
    assert found["+1"] is None
    assert isinstance(found["+2"], Rejected)
    assert isinstance(found["+3"], Rejected)
    assert block_errors_of(GraphAnswer(200, {}, b'{"block_users": 5}'), done="added_users") is None


def test_who_is_named_nowhere_is_asked_about_again(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "connectors.whatsapp.channel.block_errors_of", lambda answer, done: {"+1": None}
        )
        perform()
    assert state_of(heard)[0] == "BLOCKING"
    perform()
    assert state_of(heard)[0] == "BLOCKED"


def test_a_tenant_that_is_not_active_is_left_alone(
    meta: RunningSimulator, acme: Cast, globex: Cast, perform: Perform, now: datetime
) -> None:
    heard = writes(meta, acme, now)
    ask(acme, BLOCK, named(acme, heard))
    Tenant.objects.filter(pk=acme.tenant.pk).update(status="SUSPENDED")
    perform()
    assert at_meta(meta, acme) == []
