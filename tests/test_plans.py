"""Rows of large tables are found by their tenant, with which all of their keys begin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from connectors.events import deliveries, queue
from connectors.events import retention as event_retention
from connectors.events.attempts import AttemptResult
from connectors.events.models import EventDelivery, EventSubscription
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp import retention
from connectors.whatsapp.processing import process_batch
from lib import bulk
from lib.ids import uuid7
from messaging import search_index
from messaging.broadcasts import audience, lifecycle, outcomes, queries, tending
from messaging.delivery.sender import Sender
from messaging.models import Conversation, Message, SendingPause
from sigma import erasure
from tests import plans
from tests.broadcasts.conftest import draft, people, start, template
from tests.conftest import Cast
from tests.sender.simulated import meta
from tests.sigma.test_erasure import fill
from tests.whatsapp.conftest import Web, serving, web
from tests.whatsapp.deliveries import callback, contact, status, text

__all__ = ["meta", "serving", "web"]

pytestmark = pytest.mark.django_db(transaction=True)

PERSON, OTHER = "27711558396", "27825550199"
SEND = """
mutation ($workspace: ID!) {
  sendWhatsAppMessage(input: {workspaceId: $workspace, recipientPhone: "+27711558396", text: "Hi"})
  { success messageId }
}
"""
READ = """
query ($workspace: ID!, $message: ID!) {
  messages(workspaceId: $workspace, first: 5) {
    edges { node { id text contact { id } media { filename } statuses { status }
                   conversation { id } } }
  }
  conversationsByIds(ids: [$message]) { id }
  contact(phone: "+27711558396") { id }
  optOuts(first: 1) { nodes { saidAt } }
  message(id: $message) { id attempts }
  searchMessages(workspaceId: $workspace, query: "nothing") { nodes { message { id } } }
  conversations(workspaceId: $workspace, first: 5) {
    edges { node { id unreadCount messages(first: 3) { edges { node { id } } } } }
  }
}
"""
MARK_READ = """
mutation ($conversation: ID!) {
  markMessageRead(input: {conversationId: $conversation}) { success }
}
"""


# The purge keeps the days of which anybody's callbacks are pending.
PENDING_DAYS = 'DISTINCT "webhook_pending"."tenant_id"'


@pytest.fixture
def sender(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """The product's sender, which waits for nothing."""
    monkeypatch.setattr("messaging.delivery.sender.Sender.idle_wait", 0.0)
    made = Sender()
    yield made
    made.close()


@pytest.fixture
def door(
    acme: Cast, meta: RunningSimulator, web: Web, sender: Sender, no_wake_ups: Callable[[], int]
) -> Door:
    """The doors of the product, open for acme."""
    return Door(acme, web, sender)


class Door:
    """What comes in and goes out of one tenant."""

    def __init__(self, cast: Cast, web: Web, sender: Sender) -> None:
        self.cast, self.web, self.sender = cast, web, sender

    def receive(self, **value: object) -> None:
        """Let Meta report something."""
        body = json.dumps(callback(self.cast.workspace.external_id, **value)).encode()
        assert self.web.post(self.cast, body).status_code == 200
        process_batch(10)

    def ask(self, query: str, **variables: object) -> dict:
        """Ask GraphQL."""
        headers = {"Authorization": f"Bearer {self.cast.api_key}"}
        asked = {
            "query": query,
            "variables": {"workspace": str(self.cast.workspace.id), **variables},
        }
        answer = self.web.client.post("/graphql", json=asked, headers=headers).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def send(self) -> str:
        """Send a text through to Meta."""
        sent = self.ask(SEND)["sendWhatsAppMessage"]
        assert sent["success"], sent
        self.deliver()
        return sent["messageId"]

    def deliver(self) -> None:
        """Send what is due."""
        self.sender.work()
        self.sender.settle()


def test_it_finds_rows_by_their_tenant(
    acme: Cast, globex: Cast, door: Door, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cast in (acme, globex):
        fill(cast)
    SendingPause.objects.update(lifted_at=now)
    template(acme)
    monkeypatch.setattr("messaging.search.LOOKED_THROUGH", (1, 1))
    with plans.looked_at() as looked:
        said_and_amended(door, now)
        message_id = door.send()
        assert Message.objects.get(pk=message_id).status == "accepted"
        report = status("wamid.ELSEWHERE", "delivered", biz_opaque_callback_data=message_id)
        door.receive(statuses=[report])
        door.ask(READ, message=message_id)
        search_index.read_pending()
        written = Conversation.objects.filter(tenant_id=acme.tenant.id, unread_count__gt=0)
        door.ask(MARK_READ, conversation=str(written.latest("last_message_at").id))
        broadcast_to(door, now)
        events_of(acme, now)
        retention.purge_all(now=now)
        list(erasure.erase(acme.tenant, now=now, sleep=lambda seconds: None))

    assert Message.objects.filter(tenant_id=acme.tenant.id).count() == 0
    assert len(looked.seen) > 60
    assert {query for query in looked.wrong if PENDING_DAYS not in query} == set()


def said_and_amended(door: Door, now: datetime) -> None:
    """Let somebody write under two names, answer, edit and revoke."""
    at = int(now.timestamp())
    first = text("wamid.FIRST", sender=PERSON, at=at)
    door.receive(messages=[first], contacts=[contact(PERSON)])
    edit = {"original_message_id": "wamid.FIRST", "message": text("x", sender=PERSON, at=at)}
    door.receive(
        messages=[{**text("wamid.EDIT", sender=PERSON, at=at), "type": "edit", "edit": edit}],
        contacts=[contact(PERSON)],
    )
    by_number, by_id = {"from": OTHER}, {"from_user_id": "ZA.1"}
    for number, named in enumerate((by_number, by_id, by_number | by_id)):
        said = text(f"wamid.BOTH{number}", at=at)
        del said["from"]
        door.receive(messages=[said | named])
    stop = {**text("wamid.STOP", sender=PERSON, at=at), "text": {"body": "STOP"}}
    door.receive(messages=[stop], contacts=[contact(PERSON)])


def broadcast_to(door: Door, now: datetime) -> None:
    """Send a broadcast, pause it, go on, look at it, and cancel it."""
    broadcast = draft(door.cast, people(3), now=now)
    named = {"tenant_id": broadcast.tenant_id, "broadcast_id": broadcast.id}
    assert audience.next_position(**named) > 1
    start(broadcast, now)
    lifecycle.pause(**named, now=now)
    lifecycle.resume(**named, now=now)
    tending.tend(clock=lambda: now, idle_wait=0.0)
    door.deliver()
    broadcast.refresh_from_db()
    queries.counts(broadcast)
    outcomes.refused_rows(broadcast, limit=5)
    list(outcomes.as_csv(broadcast, in_full=True))
    if broadcast.ended_at is None:
        lifecycle.retry_failed(**named, now=now)
        lifecycle.cancel(**named, now=now)


def events_of(cast: Cast, now: datetime) -> None:
    """Claim deliveries, fail, read and replay them, and purge."""
    subscription = EventSubscription.objects.get(tenant_id=cast.tenant.id)
    for claimed in queue.claim(now=now, limit=10, busy={}):
        queue.record([AttemptResult(claimed, status=410)], now=now)
    named = {"tenant_id": cast.tenant.id, "subscription_id": subscription.id}
    deliveries.read_page(**named, state=None, limit=5, after=None)
    EventDelivery.objects.filter(**named).update(
        next_attempt_at=None, delivered_at=None, dead_at=now - timedelta(days=60)
    )
    event_retention.purge(now=now, force=True)


def test_it_notices_who_looks_for_an_id_in_all_tenants(acme: Cast, globex: Cast) -> None:
    for cast in (acme, globex):
        fill(cast)
    with plans.looked_at() as looked:
        for table, joined in (("messages", "m.id = r.id"), ("outbox", "m.message_id = r.id")):
            query = f"SELECT m.tenant_id FROM {{rows}} JOIN {table} m ON {joined}"  # noqa: S608
            bulk.run(query, ("id uuid",), [(uuid7(),)])
            right = f"{query} AND m.tenant_id = r.tenant_id"
            bulk.run(right, ("id uuid", "tenant_id uuid"), [(uuid7(), acme.tenant.id)])

    assert len(looked.seen) == 4
    assert len(looked.wrong) == 2
