"""The outbox of events to tenants' apps, written by the transaction that made them happen.

An event holds ids, states and codes, never a phone number or a text (``event_types`` says which).
Where no subscription wants it nothing is written; it is published to live streams all the same.
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

from lib import bulk
from lib.ids import uuid7
from lib.wakeups import WakeUp
from workspaces.event_types import EVENT_TYPES, is_wanted
from workspaces.live import EventItem, TenantEvent, publisher

WAKE_UP = WakeUp("events", task="events.deliver", queue="events")

SUBSCRIPTIONS = """
SELECT id, tenant_id, types FROM event_subscriptions
WHERE tenant_id = ANY (%b) AND disabled_at IS NULL
"""
COLUMNS = (
    "event_id uuid",
    "subscription_id uuid",
    "tenant_id uuid",
    "type text",
    "occurred_at timestamptz",
    "data jsonb",
)
# One row per delivery. Both tables in one statement: there is no event without its deliveries.
INSERT = """
WITH due AS MATERIALIZED (SELECT * FROM {rows}), event AS (
    INSERT INTO outgoing_events (id, tenant_id, type, occurred_at, data)
    SELECT DISTINCT ON (event_id) event_id, tenant_id, type, occurred_at, data FROM due
)
INSERT INTO event_deliveries (tenant_id, event_id, subscription_id, next_attempt_at)
SELECT tenant_id, event_id, subscription_id, now() FROM due ORDER BY event_id
"""


class UnknownEvent(ValueError):
    """An event, or a field of its data, that is not in ``EVENT_TYPES``: it could be a text."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a tenant; ``data`` holds ids, states and codes only."""

    tenant_id: UUID
    type: str
    data: Mapping[str, object]
    occurred_at: datetime


class Subscriber(NamedTuple):
    """A subscription and the types of events that it is for; none named: all."""

    id: UUID
    tenant_id: UUID
    types: Sequence[str]

    def wants(self, event: TenantEvent) -> bool:
        """Whether this event is for it."""
        mine = event.tenant_id == self.tenant_id
        return mine and is_wanted(event.item.type, self.types)


def emit(events: Sequence[Event]) -> None:
    """Write events for the subscriptions that want them, in the caller's transaction, and publish
    them to live streams on commit.

    Costs one query where nobody subscribed.

    Raises:
        UnknownEvent: its type or a field of its data is not in ``EVENT_TYPES``.
    """
    for event in events:
        _check(event)
    emit_lazily({event.tenant_id for event in events}, lambda: events)


def emit_lazily(tenants: Collection[UUID], make: Callable[[], Iterable[Event]]) -> None:
    """Do the same for events that are only made where one of these tenants wants them.

    For paths with hundreds of events at once: to make them costs ten times the query.

    Raises:
        UnknownEvent: as ``emit``, where somebody subscribed; else it is logged and not published.
    """
    if not tenants:
        return
    events = _Once(make)
    subscriptions = _subscriptions(tenants)
    if subscriptions:
        enqueue(events(), subscriptions)
    transaction.on_commit(partial(publisher.publish, list(tenants), events), robust=True)


def enqueue(events: Iterable[TenantEvent], subscriptions: Sequence[Subscriber]) -> None:
    """Write events, and a delivery for each subscription that wants them, and wake the worker."""
    rows = [
        (e.item.id, subscription.id, e.tenant_id, e.item.type, e.item.timestamp, _text(e.item))
        for e in events
        for subscription in subscriptions
        if subscription.wants(e)
    ]
    if rows:
        bulk.run(INSERT, COLUMNS, rows)
        notify_on_commit()


def notify_on_commit() -> None:
    """Wake the workers of events when the caller's transaction commits."""
    transaction.on_commit(_notify, robust=True)


def _notify() -> None:
    WAKE_UP.notify()


class _Once:
    """Events with their ids, made when they are first asked for: all see the same."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Iterable[Event]]) -> None:
        self._make = make
        self._made: list[TenantEvent] | None = None

    def __call__(self) -> list[TenantEvent]:
        if self._made is None:
            self._made = [_tenant_event(event) for event in self._make()]
        return self._made


def _check(event: Event) -> None:
    known = EVENT_TYPES.get(event.type)
    if known is None:
        raise UnknownEvent(f"{event.type!r} is not a type of event; see EVENT_TYPES.")
    if not event.data.keys() <= known.data.keys():
        more = ", ".join(sorted(event.data.keys() - known.data.keys()))
        raise UnknownEvent(f"{event.type} has no field {more}; see EVENT_TYPES.")


def _tenant_event(event: Event) -> TenantEvent:
    _check(event)
    item = EventItem(uuid7(), event.type, event.occurred_at, dict(event.data))
    return TenantEvent(event.tenant_id, item)


def _subscriptions(tenants: Iterable[UUID]) -> list[Subscriber]:
    with bulk.cursor() as cursor:
        cursor.execute(SUBSCRIPTIONS, [list(tenants)])
        return [Subscriber(*row) for row in cursor.fetchall()]


def _text(item: EventItem) -> str:
    return json.encode(item.data).decode()
