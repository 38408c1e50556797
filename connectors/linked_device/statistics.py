"""What a number sent and received, day by day, over any transport.

Days are UTC days. A message counts on the day it was queued for the caller, once, however
often it was tried; one that the caller cancelled in time does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

DAYS = 30
# From the index messages_newest_first. What came with a history import happened elsewhere.
COUNT = """
SELECT m.workspace_id, (m.timestamp_utc AT TIME ZONE 'UTC')::date,
       count(*) FILTER (WHERE m.source = 'API' AND m.status <> 'cancelled'),
       count(*) FILTER (WHERE m.source = 'API' AND m.status IN ('queued', 'sending')),
       count(*) FILTER (WHERE m.source = 'API' AND m.status = 'failed'),
       count(*) FILTER (WHERE m.source = 'API' AND m.status = 'unknown'),
       count(*) FILTER (WHERE m.direction = 'INBOUND')
FROM workspaces w JOIN messages m ON m.tenant_id = w.tenant_id AND m.workspace_id = w.id
WHERE w.id = ANY(%s) AND m.timestamp_utc >= %s AND m.timestamp_utc < %s
  AND m.source IN ('API', 'LIVE')
GROUP BY 1, 2
"""


class MessageCounts(NamedTuple):
    """Messages we were asked to send, of which ``waiting`` have no result yet, ``failed`` were not
    sent and ``unknown`` may have been sent; and ``received`` ones.
    """

    messages: int = 0
    waiting: int = 0
    failed: int = 0
    unknown: int = 0
    received: int = 0

    @property
    def errors(self) -> int:
        """How many were not certainly sent."""
        return self.failed + self.unknown

    @property
    def error_rate(self) -> float | None:
        """Errors among those that have a result, 0 to 1; ``None`` where none has."""
        ended = self.messages - self.waiting
        return self.errors / ended if ended else None


NOTHING = MessageCounts()


@dataclass(frozen=True, slots=True)
class Statistics:
    """A number's days, the oldest first, today last; days without messages are there too."""

    workspace_id: UUID
    days: tuple[tuple[date, MessageCounts], ...]

    @property
    def today(self) -> MessageCounts:
        """The counts of the day that is under way."""
        return self.days[-1][1]

    @property
    def total(self) -> MessageCounts:
        """The counts of all days together."""
        return MessageCounts(*map(sum, zip(*(counts for _, counts in self.days), strict=True)))


def of(workspace_ids: Sequence[UUID], *, now: datetime, days: int = DAYS) -> list[Statistics]:
    """Return the last ``days`` days of numbers, today included, in the order they are asked for."""
    today = now.astimezone(UTC).date()
    calendar = [today - timedelta(days=back) for back in reversed(range(days))]
    begin = datetime.combine(calendar[0], time(), UTC)
    end = datetime.combine(today + timedelta(days=1), time(), UTC)
    found = {
        (one, day): MessageCounts(*rest) for one, day, *rest in _count(workspace_ids, begin, end)
    }
    return [
        Statistics(one, tuple((day, found.get((one, day), NOTHING)) for day in calendar))
        for one in workspace_ids
    ]


def between(workspace_id: UUID, begin: datetime, end: datetime) -> MessageCounts:
    """Return the counts of a number from ``begin`` up to ``end``."""
    rows = [MessageCounts(*rest) for _, _, *rest in _count([workspace_id], begin, end)]
    return MessageCounts(*map(sum, zip(*rows, strict=True))) if rows else NOTHING


def _count(ids: Sequence[UUID], begin: datetime, end: datetime) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [list(ids), begin, end])
        return list(cursor.fetchall())
