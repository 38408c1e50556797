"""How much one person was written to: counted from the messages, so that it outlives every process.

An account that writes to one person again and again is reported, and banned.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from lib import bulk
from messaging.identities import ALL_IDS

WINDOW = timedelta(hours=24)
# A message may wait for so long before it leaves: scheduled, and then until it expires.
OLDEST = timedelta(days=62)
# What may have left counts too. Of those in the window the one that has to leave it first.
NTH = f"""
SELECT sent.at FROM ({ALL_IDS.format(contact_id="%(contact)s::uuid")}) person (id)
JOIN messages m ON m.contact_id = person.id CROSS JOIN LATERAL (SELECT CASE
    WHEN m.status = 'sending' THEN %(now)s
    ELSE coalesce(m.delivery->>'accepted_at', m.delivery->>'unknown_at')::timestamptz END
) sent (at)
WHERE m.workspace_id = %(workspace)s AND m.source = 'API'
  AND m.timestamp_utc > %(oldest)s AND sent.at > %(since)s
ORDER BY sent.at DESC OFFSET %(cap)s - 1 LIMIT 1
"""  # noqa: S608 - names of ours


def free_at(*, workspace_id: UUID, contact_id: UUID, cap: int, now: datetime) -> datetime | None:
    """Return when a person may be written to again where he had ``cap`` messages within 24 hours;
    ``None``: now.
    """
    facts: dict[str, Any] = {
        "workspace": workspace_id, "contact": contact_id, "cap": cap, "now": now,
        "since": now - WINDOW, "oldest": now - OLDEST,
    }  # fmt: skip
    with bulk.cursor() as cursor:
        cursor.execute(NTH, facts)
        row = cursor.fetchone()
    return None if row is None else row[0] + WINDOW
