"""How long events are kept: delivered ones for some days, dead ones for thirty.

Works in bounded batches, each its own transaction, and counts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min
from psycopg import sql

from connectors.events.models import EventDelivery
from connectors.events.queue import PENDING_SUBSCRIPTIONS
from lib import bulk
from workspaces import purging

logger = logging.getLogger("sigma.whatsapp.events")

BATCH = 5_000
DEAD_DAYS = 30
# A subscription that is disabled for less than this still gets what was pending.
GRACE = timedelta(days=1)

# With the deliveries go the events that no other delivery needs. What a statement deletes it still
# sees, hence the second look at the batch. What is being replayed is left out.
DELETE = """
WITH old AS MATERIALIZED (
    SELECT tenant_id, id FROM event_deliveries WHERE {column} < %s ORDER BY {column} LIMIT %s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM event_deliveries d USING old WHERE d.tenant_id = old.tenant_id AND d.id = old.id
    RETURNING d.tenant_id, d.id, d.event_id
), ended AS MATERIALIZED (
    SELECT DISTINCT tenant_id, event_id FROM gone
), events AS (
    DELETE FROM outgoing_events e USING ended
    WHERE e.tenant_id = ended.tenant_id AND e.id = ended.event_id AND NOT EXISTS (
        SELECT FROM event_deliveries d
        WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
          AND d.id NOT IN (SELECT id FROM gone)
    )
)
SELECT count(*) FROM gone
"""
# Two batches that delete the last two deliveries of an event at once leave it behind.
ORPHANS = """
WITH old AS MATERIALIZED (
    SELECT e.tenant_id, e.id FROM outgoing_events e
    WHERE e.created_at < %s AND NOT EXISTS (
        SELECT FROM event_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id
    )
    ORDER BY e.created_at LIMIT %s
), gone AS (
    DELETE FROM outgoing_events e USING old WHERE e.tenant_id = old.tenant_id AND e.id = old.id
    RETURNING 1
)
SELECT count(*) FROM gone
"""
# Of subscriptions that were deleted, or disabled for a while.
GIVE_UP = f"""
WITH {PENDING_SUBSCRIPTIONS}, closed AS (
    SELECT pending.tenant_id, pending.id FROM pending
    LEFT JOIN event_subscriptions s ON s.tenant_id = pending.tenant_id AND s.id = pending.id
    WHERE s.id IS NULL OR s.disabled_at < %s
), left_over AS MATERIALIZED (
    SELECT d.tenant_id, d.id FROM closed
    JOIN event_deliveries d ON d.tenant_id = closed.tenant_id AND d.subscription_id = closed.id
    WHERE d.next_attempt_at IS NOT NULL LIMIT %s FOR UPDATE OF d SKIP LOCKED
), given_up AS (
    UPDATE event_deliveries d SET next_attempt_at = NULL, dead_at = %s,
           last_error = 'The subscription was closed.'
    FROM left_over WHERE d.tenant_id = left_over.tenant_id AND d.id = left_over.id RETURNING 1
)
SELECT count(*) FROM given_up
"""  # noqa: S608 - words of ours


@dataclass(frozen=True, slots=True)
class PurgedEvents:
    """How many deliveries (and events without any) were deleted, or given up."""

    delivered: int
    dead: int
    orphans: int
    given_up: int


def purge(*, now: datetime, force: bool = False) -> PurgedEvents:
    """Delete what is past its time, and give up pending deliveries of closed subscriptions.

    Raises:
        workspaces.purging.PurgeRefused: too much would go at once, and it is not forced.
    """
    long_ago, lately = (
        now - timedelta(days=days) for days in (DEAD_DAYS, settings.SIGMA_EVENTS_KEEP_DAYS)
    )
    oldest = EventDelivery.objects.aggregate(delivered=Min("delivered_at"), dead=Min("dead_at"))
    for moment, before in ((oldest["delivered"], lately), (oldest["dead"], long_ago)):
        purging.check_days(
            "events", oldest=moment and moment.date(), before=before.date(), now=now, force=force
        )
    purged = PurgedEvents(
        given_up=bulk.repeat(sql.SQL(GIVE_UP), [now - GRACE, BATCH, now], batch=BATCH)[0],
        delivered=_delete("delivered_at", lately),
        dead=_delete("dead_at", long_ago),
        orphans=_repeat(sql.SQL(ORPHANS), long_ago),
    )
    purging.note_run("events", before=min(long_ago, lately).date(), now=now)
    if purged != PurgedEvents(0, 0, 0, 0):
        counts = {"delivered": purged.delivered, "dead": purged.dead, "given_up": purged.given_up}
        logger.info("whatsapp events purged", extra=counts)
    return purged


def _delete(column: str, before: datetime) -> int:
    return _repeat(sql.SQL(DELETE).format(column=sql.Identifier(column)), before)


def _repeat(statement: sql.SQL | sql.Composed, *parameters: object) -> int:
    return bulk.repeat(statement, [*parameters, BATCH], batch=BATCH)[0]
