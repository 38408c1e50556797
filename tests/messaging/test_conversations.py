"""One thread per person and number: its last word, its window and what nobody has read yet."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.whatsapp.processing import process_batch
from lib.cursors import Cursor
from lib.ids import uuid7
from messaging import conversations
from messaging.conversations import Touch
from messaging.models import Conversation, Message
from tests.conftest import Cast
from tests.whatsapp.deliveries import callback, deliver, status, text

pytestmark = pytest.mark.django_db

START = 1_790_000_000
# Sorts after whatever happened at the same moment.
LATEST = UUID(int=2**128 - 1)


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def take_in(cast: Cast, field: str = "messages", **value: object) -> None:
    """Take in one callback."""
    deliver(cast.tenant.id, callback(cast.workspace.external_id, field=field, **value))
    process_batch(10)


def hear(cast: Cast, wamid: str, *, after: int = 0, **more: object) -> None:
    """Take in a message of somebody, so many seconds after the start."""
    take_in(cast, messages=[{**text(wamid, at=START + after), **more}])


def echo(cast: Cast, wamid: str, *, after: int) -> None:
    """Take in what the business wrote with WhatsApp's own app."""
    said = {**text(wamid, sender="15550100001", at=START + after), "to": "15550123456"}
    take_in(cast, field="smb_message_echoes", message_echoes=[said])


def test_it_begins_with_the_first_message(acme: Cast) -> None:
    hear(acme, "wamid.1")

    (found,), (message,) = Conversation.objects.all(), Message.objects.all()
    assert (found.tenant_id, found.workspace_id) == (acme.tenant.id, acme.workspace.id)
    assert (found.contact_id, found.last_message_id) == (message.contact_id, message.id)
    assert found.last_message_at == found.last_inbound_at == moment(0)
    assert found.unread_count == 1


def test_it_counts_and_moves_on(acme: Cast) -> None:
    hear(acme, "wamid.1")
    take_in(acme, messages=[text("wamid.2", at=START + 5), text("wamid.3", at=START + 9)])

    found = Conversation.objects.get()
    assert (found.unread_count, found.last_inbound_at) == (3, moment(9))
    assert found.last_message_id == Message.objects.get(timestamp_utc=moment(9)).id


def test_it_never_goes_back(acme: Cast) -> None:
    hear(acme, "wamid.2", after=60)
    before = Conversation.objects.get()
    hear(acme, "wamid.1")

    found = Conversation.objects.get()
    assert (found.last_message_id, found.last_inbound_at) == (before.last_message_id, moment(60))
    assert found.unread_count == 2


def test_it_counts_a_repeated_callback_once(acme: Cast) -> None:
    for _ in range(2):
        hear(acme, "wamid.1")

    assert Conversation.objects.get().unread_count == 1


def test_it_takes_what_the_business_wrote_elsewhere(acme: Cast) -> None:
    hear(acme, "wamid.1")
    echo(acme, "wamid.2", after=60)

    found = Conversation.objects.get()
    assert (found.last_message_at, found.last_inbound_at) == (moment(60), moment(0))
    assert found.unread_count == 1


def test_it_leaves_history_read(acme: Cast) -> None:
    thread = {"id": "15550123456", "messages": [text("wamid.1")]}
    history = [{"metadata": {"phase": 0}, "threads": [thread]}]
    take_in(acme, field="history", history=history)

    found = Conversation.objects.get()
    assert (found.last_inbound_at, found.unread_count) == (moment(0), 0)


def test_it_opens_for_a_reaction(acme: Cast) -> None:
    reaction = {"message_id": "wamid.0", "emoji": "👍"}
    hear(acme, "wamid.1", type="reaction", reaction=reaction)

    assert Conversation.objects.get().last_inbound_at == moment(0)


@pytest.mark.parametrize(
    "unsaid",
    [
        {"type": "edit", "edit": {"original_message_id": "wamid.1", "message": {"type": "text"}}},
        {"type": "revoke", "revoke": {"original_message_id": "wamid.1"}},
        {"type": "system", "system": {"body": "User changed", "type": "user_identity_changed"}},
        {"type": "request_welcome"},
    ],
    ids=lambda message: message["type"],
)
def test_it_opens_nothing_for_what_nobody_says(acme: Cast, unsaid: dict) -> None:
    hear(acme, "wamid.1")
    hear(acme, "wamid.2", after=60, **unsaid)

    assert Message.objects.filter(type=unsaid["type"]).exists()
    found = Conversation.objects.get()
    assert (found.last_message_at, found.last_inbound_at) == (moment(0), moment(0))
    assert found.unread_count == 1


def test_it_makes_none_of_groups_and_receipts(acme: Cast) -> None:
    hear(acme, "wamid.1", group_id="Y2FwaV9ncm91cDox")
    take_in(acme, statuses=[status("wamid.9", "sent")])

    assert not Conversation.objects.exists()


def test_it_keeps_numbers_and_tenants_apart(acme: Cast, globex: Cast) -> None:
    hear(acme, "wamid.1")
    hear(globex, "wamid.2", after=60)

    found = Conversation.objects.order_by("last_message_at")
    assert [row.tenant_id for row in found] == [acme.tenant.id, globex.tenant.id]
    assert len({row.contact_id for row in found}) == 2


def touched(cast: Cast, contact: UUID, seconds: int, *, inbound: bool = True) -> Touch:
    return Touch(
        cast.tenant.id, cast.workspace.id, contact, uuid7(), moment(seconds), inbound, inbound
    )


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    said=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9),
    cut=st.integers(0, 9),
    random=st.randoms(use_true_random=False),
)
def test_it_comes_to_the_same_in_any_cut_and_order(acme: Cast, said, cut: int, random) -> None:
    contact = uuid7()
    batch = [touched(acme, contact, seconds, inbound=inbound) for seconds, inbound in said]
    random.shuffle(batch)
    for part in (batch[:cut], batch[cut:]):
        conversations.touch(part)

    found = Conversation.objects.get(contact_id=contact)
    last = max(batch, key=lambda one: (one.at, one.message_id))
    heard = [one.at for one in batch if one.is_inbound]
    assert (found.last_message_id, found.last_message_at) == (last.message_id, last.at)
    assert (found.last_inbound_at, found.unread_count) == (max(heard, default=None), len(heard))


def test_it_takes_many_people_at_once(acme: Cast) -> None:
    people = [uuid7() for _ in range(100)]
    conversations.touch(touched(acme, people[i % 100], i % 7) for i in range(700))

    assert Conversation.objects.filter(unread_count=7).count() == 100


def test_it_is_read_up_to_a_moment(acme: Cast, globex: Cast) -> None:
    for number in range(3):
        hear(acme, f"wamid.{number}", after=number * 60)
        hear(globex, f"wamid.g{number}", after=number * 60)
    found = Conversation.objects.get(tenant_id=acme.tenant.id)
    place = {"tenant_id": found.tenant_id, "workspace_id": found.workspace_id}

    for until, left in ((60, 1), (0, 1), (600, 0)):
        conversations.mark_read(
            **place, contact_id=found.contact_id, upto=Cursor(moment(until), LATEST)
        )
        found.refresh_from_db()
        assert found.unread_count == left
    assert Conversation.objects.get(tenant_id=globex.tenant.id).unread_count == 3


def test_it_is_read_by_its_own_tenant_only(acme: Cast, globex: Cast, now: datetime) -> None:
    hear(acme, "wamid.1")
    found = Conversation.objects.get()

    conversations.mark_read(
        tenant_id=globex.tenant.id,
        workspace_id=found.workspace_id,
        contact_id=found.contact_id,
        upto=Cursor(now, LATEST),
    )

    found.refresh_from_db()
    assert found.unread_count == 1
