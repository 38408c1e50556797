"""Find broadcasts, and how far each got: every person of its list counts in exactly one place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from lib.cursors import Cursor
from lib.sql import select
from messaging.models import Broadcast, BroadcastState, RecipientState

ROWS = """
SELECT state AS word, count(*) AS rows FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s GROUP BY state
"""
MESSAGES = """
SELECT coalesce(status, '') AS word, count(*) AS rows FROM messages
WHERE tenant_id = %s AND broadcast_id = %s GROUP BY status
"""
# Where a message with this status is counted.
PLACES: Mapping[str, str] = MappingProxyType(
    {
        "queued": "queued",
        "sending": "queued",
        "accepted": "accepted",
        "held": "accepted",
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "played": "read",
        "failed": "failed",
        "unknown": "unknown",
        "cancelled": "cancelled",
    }
)


def find(*, tenant_id: UUID, broadcast_id: UUID) -> Broadcast | None:
    """Return the broadcast, if it is the tenant's."""
    return Broadcast.objects.filter(tenant_id=tenant_id, pk=broadcast_id).first()


def newest(
    *, tenant_id: UUID, workspace_id: UUID | None = None, after: Cursor | None = None, limit: int
) -> list[Broadcast]:
    """Return broadcasts, of one workspace where it is named, the newest first."""
    rows = Broadcast.objects.filter(tenant_id=tenant_id)
    if workspace_id is not None:
        rows = rows.filter(workspace_id=workspace_id)
    if after is not None:
        at, last = after.timestamp, after.id
        rows = rows.filter(created_at__lte=at).filter(Q(created_at__lt=at) | Q(pk__lt=last))
    return list(rows.order_by("-created_at", "-pk")[:limit])


class _WordCount(NamedTuple):
    word: str
    rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many people of the list are where; the others sum up to ``total``.

    ``accepted`` includes messages that the platform holds back, ``queued`` those being sent.
    """

    total: int = 0
    pending: int = 0
    queued: int = 0
    accepted: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    unknown: int = 0
    refused: int = 0
    cancelled: int = 0


def counts(broadcast: Broadcast) -> Counts:
    """Count the rows by their state, and those that became messages by the messages' status."""
    whose = [broadcast.tenant_id, broadcast.id]
    rows = {row.word: row.rows for row in select(_WordCount, ROWS, whose)}
    places: Counter[str] = Counter()
    if rows.get(RecipientState.QUEUED):
        for status, count in select(_WordCount, MESSAGES, whose):
            places[PLACES.get(status, "unknown")] += count
    # A message that was erased with its person leaves its row: what became of it is not known.
    places["unknown"] += max(0, rows.get(RecipientState.QUEUED, 0) - places.total())
    places["cancelled"] += rows.get(RecipientState.CANCELLED, 0)
    return Counts(
        total=sum(rows.values()),
        pending=rows.get(RecipientState.PENDING, 0),
        refused=rows.get(RecipientState.REFUSED, 0),
        **places,
    )


def percent_through(broadcast: Broadcast) -> int:
    """Return the share of the list that is no longer pending; cheap, for lists of broadcasts."""
    if broadcast.ended_at is not None:
        return 100
    whose = [broadcast.tenant_id, broadcast.id]
    rows = {row.word: row.rows for row in select(_WordCount, ROWS, whose)}
    total = sum(rows.values())
    return 100 * (total - rows.get(RecipientState.PENDING, 0)) // total if total else 0


def eta_seconds(broadcast: Broadcast, counted: Counts, *, per_second: int) -> int | None:
    """Return the seconds until the last message leaves at the number's speed, while it runs."""
    if broadcast.state != BroadcastState.RUNNING:
        return None
    return math.ceil((counted.pending + counted.queued) / per_second)
