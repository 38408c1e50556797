"""Forget the lists: numbers and parameters of a broadcast go some days after its end, or at the
tenant's retention window, whichever comes first. What became of each row stays.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from lib.sql import select
from messaging.broadcasts.lifecycle import cancel
from messaging.broadcasts.refusals import UnableToBroadcast
from messaging.models import Broadcast
from workspaces import purging

logger = logging.getLogger("sigma.whatsapp.retention")

BATCH = 5_000
TOO_OLD = "It was not completed within the time for which its list may be kept."
# Kept past the window, but not ended: nobody may be written to from a list that has to go.
OVERDUE = """
SELECT b.id, b.tenant_id FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id
WHERE b.state NOT IN ('COMPLETED', 'CANCELLED')
  AND b.created_at + make_interval(days => t.retention_days) <= %s
"""
DUE = """
SELECT b.id, b.tenant_id FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id
WHERE b.purged_at IS NULL AND b.state IN ('COMPLETED', 'CANCELLED')
  AND (b.ended_at + make_interval(days => %s) <= %s
       OR b.created_at + make_interval(days => t.retention_days) <= %s)
"""
# Since when the first of them is due.
OLDEST = """
SELECT min(least(b.ended_at + make_interval(days => %s),
                 b.created_at + make_interval(days => t.retention_days)))
FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id WHERE b.purged_at IS NULL
"""
FORGET = """
UPDATE broadcast_recipients r SET sealed = NULL FROM (
    SELECT tenant_id, id FROM broadcast_recipients
    WHERE tenant_id = %s AND broadcast_id = %s AND position > %s AND sealed IS NOT NULL
    ORDER BY position LIMIT %s
) old WHERE r.tenant_id = old.tenant_id AND r.id = old.id RETURNING r.position
"""


class _Due(NamedTuple):
    id: UUID
    tenant_id: UUID


def purge(*, now: datetime, force: bool = False) -> int:
    """Forget what is due, in batches, each a transaction; return how many rows.

    Raises:
        workspaces.purging.PurgeRefused: too much would go at once, and it is not forced.
    """
    with connection.cursor() as cursor:
        cursor.execute(OLDEST, [settings.SIGMA_BROADCAST_KEEP_DAYS])
        (oldest,) = cursor.fetchone()
    purging.check_days(
        "lists", oldest=oldest and oldest.date(), before=now.date(), now=now, force=force
    )
    for old in select(_Due, OVERDUE, [now]):
        try:
            cancel(tenant_id=old.tenant_id, broadcast_id=old.id, reason=TOO_OLD, now=now)
        except UnableToBroadcast:
            continue  # it ended meanwhile
    found = select(_Due, DUE, [settings.SIGMA_BROADCAST_KEEP_DAYS, now, now])
    count = sum(_forget(due, now) for due in found)
    purging.note_run("lists", before=now.date(), now=now)
    return count


def _forget(due: _Due, now: datetime) -> int:
    count, last = 0, -1
    while positions := _batch(due, last):
        count, last = count + len(positions), max(positions)
    Broadcast.objects.filter(tenant_id=due.tenant_id, pk=due.id).update(purged_at=now)
    logger.info(
        "whatsapp broadcast list purged", extra={"broadcast_id": str(due.id), "rows": count}
    )
    return count


def _batch(due: _Due, after: int) -> list[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FORGET, [due.tenant_id, due.id, after, BATCH])
        return [position for (position,) in cursor.fetchall()]
