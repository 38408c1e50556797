"""The outbox: what tenants' apps are told, written by the transaction that made it happen.

An event holds ids, states and codes, never a phone number or a text (``EVENT_TYPES`` says which).
Where no subscription wants it nothing is written; whoever watches live is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from msgspec import json

from workspaces import bulk
from workspaces.bells import Bell
from workspaces.ids import uuid7
from workspaces.live import Item, Notice, publisher

BELL = Bell("events", task="events.deliver", queue="events")


class EventType(NamedTuple):
    """What an event means, and what each field of its ``data`` holds."""

    description: str
    data: Mapping[str, str]


WORKSPACE = {"workspace_id": "The workspace (phone number)."}
MESSAGE = {"message_id": "The message's UUID.", **WORKSPACE}
TEST = "event.test"
EVENT_TYPES: Mapping[str, EventType] = {
    "message.received": EventType(
        "A customer's message arrived and was stored.",
        {**MESSAGE, "contact_id": "The sender, where known.", "type": "Meta's type of message."},
    ),
    "message.status": EventType(
        "A message of the business moved on: sent, delivered, read, played, failed and so on.",
        {**MESSAGE, "status": "The new status.", "error_codes": "Meta's codes, where it failed."},
    ),
    "template.updated": EventType(
        "A message template was added, changed or removed.",
        {
            "template_id": "The template's UUID.",
            "waba_id": "Meta's id of its WhatsApp Business Account.",
            "name": "Its name.",
            "language": "Its language.",
            "status": "Its status, in Meta's word; DELETED: Meta has it no more.",
            "category": "Its category, in Meta's word.",
            "quality": "Its quality, in Meta's word; empty: not told.",
        },
    ),
    "broadcast.updated": EventType("A broadcast changed its state.", {}),
    "sending.paused": EventType("Sending stopped, and why.", {}),
    "sending.resumed": EventType("Sending goes on.", {}),
    "number.updated": EventType("Facts of a phone number changed: quality, limit, status.", {}),
    TEST: EventType("You asked for it with `sendTestEvent`.", {"subscription_id": "Its receiver."}),
}

SUBSCRIPTIONS = """
SELECT id, tenant_id, types FROM event_subscriptions
WHERE tenant_id = ANY (%b) AND disabled_at IS NULL
"""
COLUMNS = (
    "event_id uuid", "subscription_id uuid", "tenant_id uuid", "type text",
    "occurred_at timestamptz", "data jsonb",
)  # fmt: skip
# One row per delivery. Both tables in one statement: there is no event without its deliveries.
INSERT = """
WITH owed AS MATERIALIZED (SELECT * FROM {rows}), event AS (
    INSERT INTO outgoing_events (id, tenant_id, type, occurred_at, data)
    SELECT DISTINCT ON (event_id) event_id, tenant_id, type, occurred_at, data FROM owed
)
INSERT INTO event_deliveries (tenant_id, event_id, subscription_id, next_attempt_at)
SELECT tenant_id, event_id, subscription_id, now() FROM owed ORDER BY event_id
"""


class UnknownEventType(ValueError):
    """An event of a type that is not in ``EVENT_TYPES``."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a tenant; ``data`` holds ids, states and codes only."""

    tenant_id: UUID
    type: str
    data: Mapping[str, object]
    occurred_at: datetime


class Subscription(NamedTuple):
    """Who wants events of which types; none named: of all."""

    id: UUID
    tenant_id: UUID
    types: Sequence[str]

    def wants(self, notice: Notice) -> bool:
        """Whether this event is for it."""
        mine = notice.tenant_id == self.tenant_id
        return mine and (not self.types or notice.item.type in self.types)


def emit(events: Sequence[Event]) -> None:
    """Write events for those who subscribed, in the caller's transaction; tell watchers on commit.

    Costs one query where nobody subscribed.

    Raises:
        UnknownEventType: not in ``EVENT_TYPES``.
    """
    for event in events:
        if event.type not in EVENT_TYPES:
            raise UnknownEventType(f"{event.type!r} is not a type of event; see EVENT_TYPES.")
    announce({event.tenant_id for event in events}, lambda: events)


def announce(tenants: Collection[UUID], make: Callable[[], Iterable[Event]]) -> None:
    """Do the same for events that are only made where one of these tenants wants them.

    For the paths where hundreds come at once: to make them would cost ten times the question.
    """
    if not tenants:
        return
    notices = _Once(make)
    subscriptions = _subscriptions(tenants)
    if subscriptions:
        owe(notices(), subscriptions)
    transaction.on_commit(partial(publisher.publish, list(tenants), notices), robust=True)


def owe(notices: Iterable[Notice], subscriptions: Sequence[Subscription]) -> None:
    """Write events, and a delivery for each subscription that wants them; ring on commit."""
    rows = [
        (n.item.id, subscription.id, n.tenant_id, n.item.type, n.item.timestamp, _text(n.item))
        for n in notices
        for subscription in subscriptions
        if subscription.wants(n)
    ]
    if rows:
        bulk.run(INSERT, COLUMNS, rows)
        transaction.on_commit(_ring, robust=True)


def _ring() -> None:
    BELL.ring()


class _Once:
    """Events with their ids, made when they are first asked for: all see the same."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Iterable[Event]]) -> None:
        self._make = make
        self._made: list[Notice] | None = None

    def __call__(self) -> list[Notice]:
        if self._made is None:
            self._made = [_notice(event) for event in self._make()]
        return self._made


def _notice(event: Event) -> Notice:
    item = Item(uuid7(), event.type, event.occurred_at, dict(event.data))
    return Notice(event.tenant_id, item)


def _subscriptions(tenants: Iterable[UUID]) -> list[Subscription]:
    with bulk.cursor() as cursor:
        cursor.execute(SUBSCRIPTIONS, [list(tenants)])
        return [Subscription(*row) for row in cursor.fetchall()]


def _text(item: Item) -> str:
    return json.encode(item.data).decode()
