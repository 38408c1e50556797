"""What the business writes elsewhere is told; what is said in groups is marked, and kept apart."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from connectors.events import outbox
from connectors.events.models import EventDelivery, OutgoingEvent
from messaging.models import Contact, Conversation, Message, MessageStatus
from tests.conftest import Cast
from tests.events.test_outbox import subscribe
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_history import imported, written
from tests.messaging.test_two_ids import (
    BSUID,
    OTHER_BSUID,
    OTHER_PHONE,
    PHONE,
    echo,
    named,
    receive,
    said,
)
from tests.sending.test_rest import ask
from tests.whatsapp.deliveries import status
from workspaces.identity import digester

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

GROUP = "Y2FwaV9ncm91cDox"
MARKS = "query Q($w: ID!) { messages(workspaceId: $w) { nodes { id groupId } } }"


def told(cast: Cast) -> list[tuple[str, dict]]:
    rows = OutgoingEvent.objects.filter(tenant_id=cast.tenant.id).order_by("id")
    return list(rows.values_list("type", "data"))


def test_it_tells_what_the_business_wrote_on_its_phone(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        subscribe(cast)
    for _ in range(2):
        receive(acme, message_echoes=[echo("wamid.1")], field="smb_message_echoes")

    message, conversation = Message.objects.get(), Conversation.objects.get()
    assert told(globex) == []
    assert told(acme) == [
        (
            "message.sent_elsewhere",
            {
                "message_id": str(message.id),
                "workspace_id": str(acme.workspace.id),
                "type": "text",
                "contact_id": str(message.contact_id),
                "conversation_id": str(conversation.id),
            },
        )
    ]


def test_it_does_not_tell_what_is_imported(acme: Cast) -> None:
    subscribe(acme)
    imported(acme, written())
    assert told(acme) == []

    receive(acme, field="smb_message_echoes", message_echoes=[written()])
    assert [name for name, _ in told(acme)] == ["message.sent_elsewhere"]


def test_every_event_of_a_message_says_where_it_belongs(acme: Cast) -> None:
    subscribe(acme)
    receive(acme, said("wamid.1"))
    receive(acme, message_echoes=[echo("wamid.2")], field="smb_message_echoes")
    receive(acme, statuses=[status("wamid.2", "read")])

    contact, conversation = Contact.objects.get(), Conversation.objects.get()
    where = {"contact_id": str(contact.id), "conversation_id": str(conversation.id)}
    names = ["message.received", "message.sent_elsewhere", "message.status"]
    assert [name for name, _ in told(acme)] == names
    assert all(where.items() <= data.items() for _, data in told(acme))


def test_it_tells_of_groups_only_who_asks_by_name(acme: Cast, globex: Cast) -> None:
    everything, by_name = subscribe(acme), subscribe(acme, "message.received.group")
    subscribe(acme, "message.received")
    subscribe(globex, "message.received.group")
    receive(acme, said("wamid.1", group_id=GROUP))

    assert not EventDelivery.objects.exclude(subscription_id=by_name.id).exists()
    ((name, data),) = told(acme)
    assert (name, data["conversation_id"]) == ("message.received.group", None)
    assert data["group_id"] == digester(acme.tenant.id).group(GROUP)

    receive(acme, said("wamid.2"))
    delivered = EventDelivery.objects.filter(subscription_id=everything.id)
    assert delivered.count() == 1


def test_it_marks_what_was_said_in_a_group(acme: Cast, gql: Gql) -> None:
    receive(acme, said("wamid.1", group_id=GROUP), said("wamid.2"))

    in_group, private = named(acme, "wamid.1"), named(acme, "wamid.2")
    mark = digester(acme.tenant.id).group(GROUP)
    nodes = gql(acme, MARKS, w=str(acme.workspace.id)).data["messages"]["nodes"]
    assert {node["id"]: node["groupId"] for node in nodes} == {
        str(in_group.id): mark,
        str(private.id): None,
    }
    for message, shown in ((in_group, mark), (private, None)):
        assert ask(acme, f"/api/v1/messages/{message.id}", method="get")[1]["group_id"] == shown
    assert Conversation.objects.get().last_message_id == private.id


def in_group(word: str, phone: str | None, user_id: str | None, at: int) -> dict:
    """Return the receipt of one participant, named by number, BSUID, or both."""
    who = {"recipient_participant_id": phone, "recipient_participant_user_id": user_id}
    kept = {key: value for key, value in who.items() if value}
    return status("wamid.G", word, at, recipient_id=GROUP, recipient_type="group", **kept)


RECEIPTS = (
    in_group("failed", OTHER_PHONE, OTHER_BSUID, 1_790_000_003),
    in_group("delivered", PHONE, BSUID, 1_790_000_005),
    in_group("delivered", "15550144444", None, 1_790_000_004),
)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_group_message_is_as_far_as_it_got_whoevers_receipt_comes_first(
    acme: Cast, order: tuple[int, ...]
) -> None:
    to_group = {**echo("wamid.G"), "group_id": GROUP}
    receive(acme, message_echoes=[to_group], field="smb_message_echoes")
    for number in order:
        receive(acme, contacts=[], statuses=[RECEIPTS[number]])

    message = named(acme, "wamid.G")
    assert message.status == "delivered"
    assert message.delivery == {"delivered_at": "2026-09-21T14:13:24+00:00"}


@pytest.mark.parametrize("ways", list(permutations([(PHONE, None), (None, BSUID), (PHONE, BSUID)])))
def test_a_participant_is_one_person_in_every_spelling(
    acme: Cast, ways: tuple[tuple[str | None, str | None], ...]
) -> None:
    receive(acme, said("wamid.1", group_id=GROUP))  # so they are known by both
    for phone, user_id in ways:
        receive(acme, contacts=[], statuses=[in_group("read", phone, user_id, 1_790_000_005)])
    receive(acme, contacts=[], statuses=[in_group("read", OTHER_PHONE, None, 1_790_000_006)])

    participants = MessageStatus.objects.values_list("participant", flat=True)
    assert len(participants) == len(set(participants)) == 2
    assert not any(PHONE in each for each in participants)


def test_whoever_names_no_type_is_not_told_of_groups(acme: Cast) -> None:
    wants = outbox.Subscriber(acme.tenant.id, acme.tenant.id, []).wants
    for name, expected in (("message.received", True), ("message.received.group", False)):
        item = outbox.EventItem(acme.tenant.id, name, acme.tenant.created_at, {})
        assert wants(outbox.TenantEvent(acme.tenant.id, item)) is expected


@pytest.mark.parametrize("content", ["text", "reaction"])
def test_what_was_said_in_a_group_is_not_answered_in_private(acme: Cast, content: str) -> None:
    at = str(int(datetime.now(UTC).timestamp()))
    receive(acme, said("wamid.1", timestamp=at), said("wamid.2", timestamp=at, group_id=GROUP))

    codes = []
    for wamid in ("wamid.1", "wamid.2"):
        to = str(named(acme, wamid).id)
        body: dict[str, object] = {
            "workspace_id": str(acme.workspace.id),
            "recipient_phone": f"+{PHONE}",
        }
        if content == "text":
            body |= {"text": "Hello", "reply_to": to}
        else:
            body |= {"reaction": {"message_id": to, "emoji": "👍"}}
        _, answer = ask(acme, "/api/v1/messages", body)
        codes.append(answer.get("error", {}).get("code"))

    assert codes == [None, "REPLY_TARGET_NOT_FOUND"]
