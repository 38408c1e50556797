"""The queue of deliveries: claim what is due, and record the results of the attempts.

A claim is a lease: the next attempt moves into the future before the request leaves. A worker that
is killed leaves nothing behind but that, and the event is sent again: at least once. An attempt
counts when its result is recorded: one that this machine could not send does not, nor one whose
worker froze until the delivery was claimed, or replayed, by another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction

from connectors.events.attempts import (
    TIMES,
    AttemptResult,
    ClaimedDelivery,
    DeliveryState,
    after,
    times_of,
)
from lib import bulk, metrics
from lib.brake import Brake

logger = logging.getLogger("sigma.whatsapp.events")

# Longer than a request may take, and than its worker may take to record the result.
LEASE = timedelta(seconds=60)
# Requests in flight to one subscription; to one that failed the last time, one. A tenant with many
# slow ones gets no more than this in all.
MAX_PER_SUBSCRIPTION, MAX_PER_TENANT = 16, 64
# An endpoint that did nothing but fail for this long is disabled.
DISABLE_AFTER = timedelta(days=5)
MAX_ERROR = 200
UNRECORDED = "The result could not be recorded"
BRAKE = Brake("events")
# What the metrics call a state after an attempt.
RESULT_LABELS = {
    DeliveryState.PENDING: "again",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.DEAD: "dead",
}

# A loose index scan finds the subscriptions with pending deliveries. Where more wait than there are
# places, chance decides, so that none is always last.
PENDING_SUBSCRIPTIONS = """
RECURSIVE pending AS (
    (SELECT tenant_id, subscription_id AS id FROM event_deliveries
     WHERE next_attempt_at IS NOT NULL ORDER BY tenant_id, subscription_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, next.subscription_id
    FROM pending CROSS JOIN LATERAL (
        SELECT d.tenant_id, d.subscription_id FROM event_deliveries d
        WHERE d.next_attempt_at IS NOT NULL
          AND (d.tenant_id, d.subscription_id) > (pending.tenant_id, pending.id)
        ORDER BY d.tenant_id, d.subscription_id LIMIT 1
    ) next
)"""
# Which subscriptions may be sent something now, and how much.
READY = f"""{PENDING_SUBSCRIPTIONS}, loaded AS (
    SELECT s.*, coalesce(busy.requests, 0) AS busy,
           sum(coalesce(busy.requests, 0)) OVER (PARTITION BY s.tenant_id) AS tenant_busy
    FROM pending
    JOIN event_subscriptions s ON s.tenant_id = pending.tenant_id AND s.id = pending.id
    JOIN tenants t ON t.id = s.tenant_id AND t.status <> 'ERASING'
    LEFT JOIN unnest(%(busy)s::uuid[], %(requests)s::int[]) AS busy (id, requests)
           ON busy.id = s.id
), ready AS (
    SELECT s.tenant_id, s.id, s.url, s.sealed_secrets, least(
        CASE WHEN s.failing_since IS NULL THEN %(most)s ELSE 1 END - s.busy,
        ceil((%(tenant)s - s.tenant_busy)::numeric / count(*) OVER (PARTITION BY s.tenant_id))::int
    ) AS free
    FROM loaded s
    WHERE s.disabled_at IS NULL AND coalesce(s.resting_until <= %(now)s, true)
      AND s.id <> ALL (%(without)s::uuid[])
      AND EXISTS (SELECT FROM event_deliveries d
                  WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.id
                    AND d.next_attempt_at <= %(now)s)
    ORDER BY random() LIMIT %(limit)s
)"""  # noqa: S608 - words of ours
IS_DUE = f"WITH {READY} SELECT EXISTS (SELECT FROM ready WHERE free > 0)"  # noqa: S608
CLAIM = f"""
WITH {READY}, picked AS (
    SELECT ready.tenant_id, mine.id FROM ready CROSS JOIN LATERAL (
        SELECT d.id FROM event_deliveries d
        WHERE d.tenant_id = ready.tenant_id AND d.subscription_id = ready.id
          AND d.next_attempt_at <= %(now)s
        ORDER BY d.next_attempt_at, d.id
        LIMIT greatest(0, least(ready.free, (SELECT greatest(1, %(limit)s / count(*)) FROM ready)))
        FOR UPDATE SKIP LOCKED
    ) mine
), claimed AS (
    UPDATE event_deliveries d SET next_attempt_at = %(until)s
    FROM picked WHERE d.tenant_id = picked.tenant_id AND d.id = picked.id
    RETURNING d.id, d.attempts + 1 AS attempts, d.next_attempt_at AS leased_until,
              d.subscription_id, d.tenant_id, d.event_id
)
SELECT c.id, c.attempts, c.leased_until, c.subscription_id, c.tenant_id, ready.url,
       ready.sealed_secrets, e.id, e.type, e.occurred_at, e.data
FROM claimed c JOIN ready ON ready.id = c.subscription_id
JOIN outgoing_events e ON e.tenant_id = c.tenant_id AND e.id = c.event_id
ORDER BY c.id
"""  # noqa: S608 - words of ours
# A subscription that is being changed just now is not waited for: its claims are leased as it is.
REST = """
UPDATE event_subscriptions SET resting_until = %s
WHERE tenant_id = %s AND id IN (
    SELECT id FROM event_subscriptions WHERE tenant_id = %s AND id = %s FOR UPDATE SKIP LOCKED
)
"""
RESULT_COLUMNS = (
    "tenant_id uuid",
    "id int8",
    "leased_until timestamptz",
    "attempts int2",
    "status int4",
    "error text",
    *(f"{column} timestamptz" for column in TIMES.values()),
)
# Only under the claim that the attempt was made for: in between another worker may have claimed the
# delivery and recorded its result, or somebody may have replayed it.
RESULTS = """
UPDATE event_deliveries d
SET attempts = r.attempts, last_status = r.status, last_error = r.error,
    next_attempt_at = r.next_attempt_at, delivered_at = r.delivered_at, dead_at = r.dead_at
FROM {rows}
WHERE d.tenant_id = r.tenant_id AND d.id = r.id AND d.next_attempt_at = r.leased_until
RETURNING d.id, r.leased_until
"""
ENDPOINT_COLUMNS = (
    "tenant_id uuid",
    "id uuid",
    "ok bool",
    "gone bool",
    "reason text",
    "at timestamptz",
    "late timestamptz",
)
# An endpoint that fails rests for a tenth of the time that it has been failing: at least a second,
# at most five minutes. A subscription that is being changed just now is left out, not waited for: a
# tenant's transaction must not stop everybody's deliveries.
ENDPOINTS = """
WITH given AS MATERIALIZED (SELECT r.* FROM {rows}), r AS MATERIALIZED (
    SELECT given.* FROM given
    JOIN event_subscriptions s ON s.tenant_id = given.tenant_id AND s.id = given.id
    WHERE s.disabled_at IS NULL AND NOT (given.ok AND s.failing_since IS NULL)
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE event_subscriptions s
SET failing_since = CASE WHEN NOT r.ok THEN coalesce(s.failing_since, r.at) END,
    resting_until = CASE WHEN NOT r.ok THEN r.at + least(interval '5 minutes', greatest(
        interval '1 second', (r.at - coalesce(s.failing_since, r.at)) / 10)) END,
    disabled_at = CASE WHEN r.gone OR (NOT r.ok AND s.failing_since < r.late) THEN r.at END,
    disabled_reason =
        CASE WHEN r.gone OR (NOT r.ok AND s.failing_since < r.late) THEN r.reason ELSE '' END
FROM r WHERE s.tenant_id = r.tenant_id AND s.id = r.id
RETURNING s.id, s.disabled_at IS NOT NULL
"""
WANTS_NO_MORE = "It answered 410: it wants no more events."
FAILED_FOR_LONG = f"Every attempt failed for {DISABLE_AFTER.days} days. The last time: "


def claim(
    *, now: datetime, limit: int, busy: Mapping[UUID, int], without: Collection[UUID] = ()
) -> list[ClaimedDelivery]:
    """Claim up to ``limit`` due deliveries, shared fairly between the subscriptions that have some.

    ``busy``: requests in flight by subscription. Nothing of the subscriptions in ``without``.
    """
    with bulk.cursor() as cursor:
        cursor.execute(CLAIM, _parameters(now, limit, busy, without))
        return [ClaimedDelivery(*row) for row in cursor.fetchall()]


def rest(*, tenant_id: UUID, subscription_id: UUID, now: datetime) -> None:
    """Claim nothing of a subscription until what was claimed of it is due again."""
    with bulk.cursor() as cursor:
        cursor.execute(REST, [now + LEASE, tenant_id, tenant_id, subscription_id])


def is_due(*, now: datetime) -> bool:
    """Whether a worker would find something; resting and disabled subscriptions do not count."""
    with bulk.cursor() as cursor:
        cursor.execute(IS_DUE, _parameters(now, 1, {}, ()))
        (due,) = cursor.fetchone() or (False,)
    return bool(due)


def record(results: Sequence[AttemptResult], *, now: datetime) -> None:
    """Record the results of attempts that ended at ``now``; one that cannot be recorded as it is
    counts as failed, but not against its endpoint. One whose claim is over counts for nothing.

    Raises:
        lib.brake.Stopped: none can be recorded.
    """
    if not results:
        return
    failed = BRAKE.sift(results, partial(_record, now=now), step="record")
    for result, error in failed:
        extra = {"subscription": str(result.delivery.subscription_id)}
        logger.error("whatsapp event's result not recorded", exc_info=error, extra=extra)
        unrecorded = AttemptResult(result.delivery, error=f"{UNRECORDED}: {type(error).__name__}")
        state = after(unrecorded, now=now)
        bulk.run(RESULTS, RESULT_COLUMNS, [_row(unrecorded, *state)])
    if len(failed) < len(results):
        BRAKE.release()


def _parameters(
    now: datetime, limit: int, busy: Mapping[UUID, int], without: Collection[UUID]
) -> dict[str, object]:
    return {
        "now": now,
        "until": now + LEASE,
        "limit": limit,
        "most": MAX_PER_SUBSCRIPTION,
        "tenant": MAX_PER_TENANT,
        "busy": list(busy),
        "requests": list(busy.values()),
        "without": list(without),
    }


def _record(results: Sequence[AttemptResult], *, now: datetime) -> None:
    states = [(result, *after(result, now=now)) for result in results]
    with transaction.atomic():
        rows = sorted(_row(*each) for each in states)
        recorded = set(bulk.run(RESULTS, RESULT_COLUMNS, rows))
        counted = [each for each in states if each[0].delivery.claim in recorded]
        endpoints = _endpoints([result for result, *_ in counted], now)
        changed = bulk.run(ENDPOINTS, ENDPOINT_COLUMNS, endpoints)
    for _, state, _ in counted:
        metrics.EVENTS.labels(RESULT_LABELS[state]).inc()
    for subscription_id, is_disabled in changed:
        if is_disabled:
            extra = {"subscription": str(subscription_id)}
            logger.warning("whatsapp events: an endpoint was disabled", extra=extra)


def _row(result: AttemptResult, state: DeliveryState, at: datetime) -> tuple[object, ...]:
    made = (result.delivery.tenant_id, *result.delivery.claim, result.delivery.attempts)
    return (*made, result.status, result.error[:MAX_ERROR], *times_of(state, at).values())


def _endpoints(results: Sequence[AttemptResult], now: datetime) -> list[tuple[object, ...]]:
    """Sum up per subscription: one success among failures is a success, and gone is gone."""
    endpoints: dict[tuple[UUID, UUID], tuple[bool, bool, str]] = {}
    for result in results:
        endpoint = result.delivery.tenant_id, result.delivery.subscription_id
        ok, gone, error = endpoints.get(endpoint, (False, False, ""))
        ok, gone = ok or result.is_delivered, gone or result.is_gone
        endpoints[endpoint] = ok, gone, result.error or error
    late = now - DISABLE_AFTER
    return sorted(
        (*i, ok and not gone, gone, WANTS_NO_MORE if gone else FAILED_FOR_LONG + error, now, late)
        for i, (ok, gone, error) in endpoints.items()
    )
