"""Meta's times are whole seconds: messages of one second stand in the order of their arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.events.models import OutgoingEvent
from connectors.whatsapp import replay
from connectors.whatsapp.inbox import DeliveryRow
from connectors.whatsapp.models import DeadState, WebhookDead, WebhookDelivery, WebhookPending
from connectors.whatsapp.processing import process_batch
from connectors.whatsapp.receiver import _conninfo
from connectors.whatsapp.store import PostgresStore
from lib.ids import uuid7
from lib.wakeups import WakeUp
from messaging.models import Conversation, Message
from tests.conftest import Cast
from tests.events.test_outbox import subscribe
from tests.graphql.conftest import Gql, gql
from tests.sending.test_rest import ask, text_to
from tests.whatsapp.deliveries import callback, contact, deliver, status, text
from tests.whatsapp.trouble import POISON, refused_by_the_database
from workspaces import provisioning
from workspaces.identity import digester
from workspaces.models import INSTALLATION_ID

__all__ = ("gql",)

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 9, 21, 14, 13, 25, 250_250, UTC)
LIST = """query List($w: ID!) {
  messages(workspaceId: $w, first: 100, orderBy: {timestamp: ASC}) { nodes { id text } }
  conversations(workspaceId: $w) { nodes { lastMessage { text } } }
}"""
RECEIPTS = "query List($w: ID!) { messages(workspaceId: $w) { nodes { statuses { status } } } }"


@pytest.fixture(autouse=True)
def _silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs here, so nobody is called."""
    monkeypatch.setattr(WakeUp, "notify", lambda wake_up, slot=0: True)


def album(*numbers: int) -> list[dict]:
    """Return pictures of one second."""
    return [text(f"wamid.{number}", f"{number}") for number in numbers]


def arrive(cast: Cast, *numbers: int, at: datetime = MOMENT, number: str = "") -> int:
    """Receive an album in one callback, and leave it to be processed."""
    value = {"messages": album(*numbers), "contacts": [contact()]}
    return deliver(cast.tenant.id, callback(number or cast.workspace.external_id, **value), at=at)


def texts(cast: Cast) -> list[str | None]:
    """Return what was said, in the order of the lists."""
    rows = Message.objects.filter(tenant_id=cast.tenant.id)
    return list(rows.order_by("timestamp_utc", "id").values_list("text", flat=True))


def up_to(count: int) -> list[str]:
    """Return the texts of an album."""
    return [str(number) for number in range(count)]


def test_it_lists_an_album_as_it_was_sent(acme: Cast, globex: Cast, gql: Gql) -> None:
    for cast, count in ((acme, 9), (globex, 4)):
        arrive(cast, *range(count))
    process_batch(10)

    for cast, count in ((acme, 9), (globex, 4)):
        data = gql(cast, LIST, w=str(cast.workspace.id)).data
        assert [node["text"] for node in data["messages"]["nodes"]] == up_to(count)
        (conversation,) = data["conversations"]["nodes"]
        assert conversation["lastMessage"]["text"] == str(count - 1)


@given(data=st.data(), random=st.randoms(use_true_random=False))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_it_keeps_the_order_of_arrival_in_any_cut(acme: Cast, data, random: Random) -> None:
    Message.objects.all().delete()
    Conversation.objects.all().delete()
    cuts = sorted(data.draw(st.sets(st.integers(1, 11), max_size=5)))
    parts = [range(a, b) for a, b in zip([0, *cuts], [*cuts, 12], strict=True)]
    pending_rows = []
    for place, part in enumerate(parts):
        # Two by two at one moment: then they are told apart by the order of their commit.
        at = MOMENT + timedelta(microseconds=place // 2)
        pending_rows.append(WebhookPending.objects.get(pk=arrive(acme, *part, at=at)))
    WebhookPending.objects.all().delete()
    random.shuffle(pending_rows)
    for pending in pending_rows:  # several workers finish in any order
        pending.save(force_insert=True)
        process_batch(1)

    assert texts(acme) == up_to(12)
    last = Message.objects.get(pk=Conversation.objects.get().last_message_id)
    assert last.text == "11"


def test_it_makes_the_same_ids_of_the_same_callback(acme: Cast) -> None:
    delivery_id = arrive(acme, *range(5))
    process_batch(10)
    before = dict(Message.objects.values_list("text", "id"))

    Message.objects.filter(text__in=["1", "3"]).delete()
    received = WebhookDelivery.objects.get(pk=delivery_id)
    WebhookPending.objects.create(
        delivery_id=delivery_id, received_at=received.received_at, tenant_id=acme.tenant.id
    )
    process_batch(10)

    assert dict(Message.objects.values_list("text", "id")) == before


def test_it_puts_a_parked_update_at_its_position(acme: Cast) -> None:
    said = [text(f"wamid.{n}", POISON if n in (0, 2, 5) else f"{n}") for n in range(6)]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=said), at=MOMENT)
    with refused_by_the_database():
        process_batch(10)
    assert texts(acme) == ["1", "3", "4"]

    replay.replay(sorted(WebhookDead.objects.values_list("id", flat=True), reverse=True))

    assert texts(acme) == [POISON, "1", POISON, "3", "4", POISON]


@pytest.mark.parametrize("is_shared", [False, True], ids=["its own URL", "a shared app"])
def test_it_releases_an_album_in_its_order(acme: Cast, is_shared: bool) -> None:
    said = callback("300000000000003", messages=album(*range(6)), contacts=[contact()])
    deliver(INSTALLATION_ID if is_shared else acme.tenant.id, said, at=MOMENT)
    process_batch(10)
    provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="New", external_id="300000000000003"
    )

    replay.replay(replay.releasable())
    process_batch(10)

    assert texts(acme) == up_to(6)


def test_it_keeps_apart_what_was_parked_before_there_were_positions(acme: Cast) -> None:
    said = [text(f"wamid.{n}", POISON if n in (1, 2) else f"{n}") for n in range(3)]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, messages=said), at=MOMENT)
    with refused_by_the_database():
        process_batch(10)
    WebhookDead.objects.update(positions=None)

    replay.replay(list(WebhookDead.objects.values_list("id", flat=True)))

    assert sorted(texts(acme)) == ["0", POISON, POISON]
    assert not WebhookDead.objects.filter(state=DeadState.OPEN).exists()


def test_it_imports_history_in_its_order(acme: Cast) -> None:
    threads = [{"id": "15550123456", "messages": album(*range(7))}]
    history = [{"metadata": {"phase": 0}, "threads": threads}]
    deliver(acme.tenant.id, callback(acme.workspace.external_id, field="history", history=history))
    process_batch(10)

    assert texts(acme) == up_to(7)


def test_it_tells_of_an_album_in_its_order(acme: Cast) -> None:
    subscribe(acme, "message.received")
    arrive(acme, *range(8))
    process_batch(10)

    told = OutgoingEvent.objects.order_by("id").values_list("data__message_id", flat=True)
    words = dict(Message.objects.values_list("id", "text"))
    assert [words[UUID(message_id)] for message_id in told] == up_to(8)


def test_an_answer_stands_behind_what_it_answers(acme: Cast, now: datetime) -> None:
    started = now.replace(microsecond=0)
    # The first arrival opens the window; all of it may happen within one second.
    deliver(
        acme.tenant.id,
        callback(
            acme.workspace.external_id,
            messages=[text("wamid.1", "Are you there?", at=int(started.timestamp()))],
        ),
    )
    process_batch(10)
    for answer in ("Yes", "We are", "Always"):
        assert ask(acme, body=text_to(acme, text=answer))[0] == 201
    sent = int(Message.objects.latest("timestamp_utc").timestamp_utc.timestamp())
    deliver(
        acme.tenant.id,
        callback(acme.workspace.external_id, messages=[text("wamid.2", "Good", at=sent)]),
    )
    process_batch(10)

    assert texts(acme) == ["Are you there?", "Yes", "We are", "Always", "Good"]
    assert Message.objects.get(pk=Conversation.objects.get().last_message_id).text == "Good"


def test_it_reads_an_album_up_to_the_picture_that_was_seen(acme: Cast) -> None:
    arrive(acme, *range(5))
    process_batch(10)
    seen = Message.objects.get(text="1")

    assert ask(acme, f"/api/v1/messages/{seen.id}/read", body={})[0] == 200

    assert Conversation.objects.get().unread_count == 3


def test_it_lists_receipts_of_one_second_as_they_follow(acme: Cast, gql: Gql) -> None:
    number = acme.workspace.external_id
    said = {**text("wamid.E", sender="15550100001"), "to": "15550123456"}
    words = ["read", "sent", "delivered"]
    value = {"message_echoes": [said], "statuses": [status("wamid.E", word) for word in words]}
    deliver(acme.tenant.id, callback(number, field="smb_message_echoes", **value))
    process_batch(10)

    (node,) = gql(acme, RECEIPTS, w=str(acme.workspace.id)).data["messages"]["nodes"]
    assert [each["status"] for each in node["statuses"]] == ["sent", "delivered", "read"]


def test_ids_do_not_tell_how_many_callbacks_came_between(acme: Cast, globex: Cast) -> None:
    """The number of a delivery counts those of all tenants."""
    digests = digester(acme.tenant.id)
    later = MOMENT + timedelta(seconds=1)
    gaps = {
        digests.delivery(2000, MOMENT + timedelta(microseconds=n))
        - digests.delivery(1000, later + timedelta(microseconds=n))
        for n in range(20)
    }
    assert len(gaps) == 20
    assert digests.delivery(1000, MOMENT) != digester(globex.tenant.id).delivery(1000, MOMENT)


def test_new_ids_ascend() -> None:
    made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {each.version for each in made} == {7}


@pytest.mark.django_db(transaction=True)
def test_callbacks_of_one_commit_arrived_one_after_the_other(acme: Cast) -> None:
    async def run_sync(function: Callable) -> object:
        return function()

    async def commit() -> None:
        store = PostgresStore(conninfo=_conninfo(), run_sync=run_sync)
        ids = await store.take_ids(3)
        rows = [DeliveryRow(each, acme.tenant.id, 2, b"", b"{}") for each in ids]
        await store.commit(MOMENT, rows)
        store.abandon()

    asyncio.run(commit())

    for model in (WebhookDelivery, WebhookPending):
        mine = model.objects.filter(tenant_id=acme.tenant.id).order_by("pk")
        arrived = list(mine.values_list("received_at", flat=True))
        assert [at - MOMENT for at in arrived] == [timedelta(microseconds=n) for n in range(3)]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE webhook_deliveries")
