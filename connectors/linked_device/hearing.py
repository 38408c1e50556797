"""When a number heard something: what people wrote, what the owner wrote elsewhere, and receipts.

The same for every transport. Keep-alives and reconnections do not count: a deaf number has those.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from connectors.linked_device import rhythm
from connectors.linked_device.rhythm import Rhythm
from lib import bulk

# From the index messages_newest_first. In spells of a minute, or a busy number would have millions;
# a receipt's time is on its message, for the receipts' own table has no index by time.
HEARD = """
SELECT min(h.at), max(h.at), count(*)
FROM messages m CROSS JOIN LATERAL (
    SELECT m.timestamp_utc WHERE m.source IN ('LIVE', 'ECHO')
    UNION ALL
    SELECT d.value::timestamptz FROM jsonb_each_text(m.delivery) d
    WHERE m.direction = 'OUTBOUND' AND d.key IN ('sent_at', 'delivered_at', 'read_at', 'played_at')
) h (at)
WHERE m.workspace_id = %(workspace)s AND m.timestamp_utc >= %(since)s AND m.source <> 'HISTORY'
  AND h.at >= %(since)s AND h.at <= %(now)s
GROUP BY date_trunc('minute', h.at) ORDER BY 1
"""


def rhythm_of(workspace_id: UUID, *, now: datetime) -> Rhythm:
    """Return how often a number heard something in the last two weeks.

    Where it heard something within the last hour nobody is deaf, and only that hour is read: the
    rhythm then has no patience to tell.
    """
    recent = _read(workspace_id, since=now - rhythm.SHORTEST, now=now)
    if recent.last_at is not None:
        return Rhythm(last_at=recent.last_at)
    return _read(workspace_id, since=now - rhythm.WINDOW, now=now)


def _read(workspace_id: UUID, *, since: datetime, now: datetime) -> Rhythm:
    with bulk.cursor() as cursor:
        cursor.execute(HEARD, {"workspace": workspace_id, "since": since, "now": now})
        return rhythm.of(cursor.fetchall())
