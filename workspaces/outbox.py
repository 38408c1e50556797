"""The outbox: what tenants' apps are told, written by the transaction that made it happen.

An event holds ids, states and codes, never a phone number or a text (``event_types`` says which).
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

from lib import bulk
from lib.ids import uuid7
from lib.wakeups import WakeUp
from workspaces.event_types import EVENT_TYPES, is_wanted
from workspaces.live import Item, Notice, publisher

WAKE_UP = WakeUp("events", task="events.deliver", queue="events")

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


class UnknownEvent(ValueError):
    """An event, or a field of its data, that is not in ``EVENT_TYPES``: it could be a text."""


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
        return mine and is_wanted(notice.item.type, self.types)


def emit(events: Sequence[Event]) -> None:
    """Write events for those who subscribed, in the caller's transaction; tell watchers on commit.

    Costs one query where nobody subscribed.

    Raises:
        UnknownEvent: its type or a field of its data is not in ``EVENT_TYPES``.
    """
    for event in events:
        _check(event)
    announce({event.tenant_id for event in events}, lambda: events)


def announce(tenants: Collection[UUID], make: Callable[[], Iterable[Event]]) -> None:
    """Do the same for events that are only made where one of these tenants wants them.

    For the paths where hundreds come at once: to make them would cost ten times the question.

    Raises:
        UnknownEvent: as ``emit``, where somebody subscribed; else nobody is told, and it is logged.
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
    WAKE_UP.notify()


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


def _check(event: Event) -> None:
    known = EVENT_TYPES.get(event.type)
    if known is None:
        raise UnknownEvent(f"{event.type!r} is not a type of event; see EVENT_TYPES.")
    if not event.data.keys() <= known.data.keys():
        more = ", ".join(sorted(event.data.keys() - known.data.keys()))
        raise UnknownEvent(f"{event.type} has no field {more}; see EVENT_TYPES.")


def _notice(event: Event) -> Notice:
    _check(event)
    item = Item(uuid7(), event.type, event.occurred_at, dict(event.data))
    return Notice(event.tenant_id, item)


def _subscriptions(tenants: Iterable[UUID]) -> list[Subscription]:
    with bulk.cursor() as cursor:
        cursor.execute(SUBSCRIPTIONS, [list(tenants)])
        return [Subscription(*row) for row in cursor.fetchall()]


def _text(item: Item) -> str:
    return json.encode(item.data).decode()
