"""Messages whose sender died: nobody knows whether they left, so nobody sends them again."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from lib import bulk
from messaging import notices
from messaging.notices import Change

logger = logging.getLogger("sigma.whatsapp.sending")

BATCH = 1_000
# By the database's clock, which gave the lease.
EXPIRE = """
UPDATE messages m SET status = 'unknown', lease_until = NULL,
    delivery = m.delivery || jsonb_build_object('unknown_at', %(now)s::text)
WHERE m.id = ANY (ARRAY(
    SELECT id FROM messages WHERE lease_until < clock_timestamp() AND status = 'sending'
    ORDER BY lease_until LIMIT %(batch)s FOR UPDATE SKIP LOCKED
))
RETURNING m.id, m.tenant_id, m.workspace_id
"""


def expire(*, now: datetime) -> int:
    """Move what was being sent when its lease ended to ``unknown``; return how many there were."""
    with transaction.atomic(), bulk.cursor() as cursor:
        cursor.execute(EXPIRE, {"now": now.isoformat(), "batch": BATCH})
        rows = cursor.fetchall()
        notices.changed([Change(one, t, w, "unknown") for one, t, w in rows], now=now)
    if rows:
        logger.warning("whatsapp sends without an outcome", extra={"messages": len(rows)})
    return len(rows)
