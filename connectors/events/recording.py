"""Note what came of attempts: delivered, due again, or dead; and how the endpoints are doing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction

from connectors.events.parcels import Report, next_attempt
from lib import bulk
from lib.brake import Brake

logger = logging.getLogger("sigma.whatsapp.events")

# An endpoint that did nothing but fail for this long is disabled.
PATIENCE = timedelta(days=5)
MOST_ERROR = 200
UNNOTED = "The result could not be noted"
BRAKE = Brake("events")

RESULT_COLUMNS = (
    "id int8", "leased_until timestamptz", "attempts int2", "status int4", "error text",
    "next_attempt_at timestamptz", "delivered_at timestamptz", "dead_at timestamptz",
)  # fmt: skip
# Only under the claim that the attempt was made for: in between another may have claimed the
# delivery, noted its result, or replayed it.
RESULTS = """
UPDATE event_deliveries d
SET attempts = r.attempts, last_status = r.status, last_error = r.error,
    next_attempt_at = r.next_attempt_at, delivered_at = r.delivered_at, dead_at = r.dead_at
FROM {rows} WHERE d.id = r.id AND d.next_attempt_at = r.leased_until
RETURNING d.id, r.leased_until
"""
ENDPOINT_COLUMNS = (
    "id uuid", "ok bool", "gone bool", "farewell text", "at timestamptz", "late timestamptz",
)  # fmt: skip
# An endpoint that fails rests for a tenth of the time that it has been failing: at least a second,
# at most five minutes. Who is changing his subscription just now is left out, not waited for: a
# tenant's transaction must not stop everybody's deliveries.
ENDPOINTS = """
WITH told AS MATERIALIZED (SELECT r.* FROM {rows}), r AS MATERIALIZED (
    SELECT told.* FROM told JOIN event_subscriptions s ON s.id = told.id
    WHERE s.disabled_at IS NULL AND NOT (told.ok AND s.failing_since IS NULL)
    FOR UPDATE OF s SKIP LOCKED
)
UPDATE event_subscriptions s
SET failing_since = CASE WHEN NOT r.ok THEN coalesce(s.failing_since, r.at) END,
    resting_until = CASE WHEN NOT r.ok THEN r.at + least(interval '5 minutes', greatest(
        interval '1 second', (r.at - coalesce(s.failing_since, r.at)) / 10)) END,
    disabled_at = CASE WHEN r.gone OR (NOT r.ok AND s.failing_since < r.late) THEN r.at END,
    disabled_reason =
        CASE WHEN r.gone OR (NOT r.ok AND s.failing_since < r.late) THEN r.farewell ELSE '' END
FROM r WHERE s.id = r.id
RETURNING s.id, s.disabled_at IS NOT NULL
"""
WANTS_NO_MORE = "It answered 410: it wants no more events."
FAILED_FOR_LONG = f"Every attempt failed for {PATIENCE.days} days. The last time: "


def record(reports: Sequence[Report], *, now: datetime) -> None:
    """Note the results of attempts that ended at ``now``; one that cannot be noted as it is counts
    as failed, but not against its endpoint. One whose claim is over counts for nothing.

    Raises:
        lib.brake.Stopped: none can be noted.
    """
    if not reports:
        return
    failed = BRAKE.sift(reports, partial(_record, now=now), step="record")
    for report, error in failed:
        extra = {"subscription": str(report.parcel.subscription_id)}
        logger.error("whatsapp event's result not noted", exc_info=error, extra=extra)
        unnoted = Report(report.parcel, error=f"{UNNOTED}: {type(error).__name__}")
        bulk.run(RESULTS, RESULT_COLUMNS, [_result(unnoted, now)])
    if len(failed) < len(reports):
        BRAKE.release()


def _record(reports: Sequence[Report], *, now: datetime) -> None:
    results = sorted(_result(report, now) for report in reports)
    with transaction.atomic():
        noted = set(bulk.run(RESULTS, RESULT_COLUMNS, results))
        counted = [report for report in reports if report.parcel.claim in noted]
        changed = bulk.run(ENDPOINTS, ENDPOINT_COLUMNS, _endpoints(counted, now))
    for subscription_id, is_disabled in changed:
        if is_disabled:
            extra = {"subscription": str(subscription_id)}
            logger.warning("whatsapp events: an endpoint was disabled", extra=extra)


def _result(report: Report, now: datetime) -> tuple[object, ...]:
    parcel = report.parcel
    again = None
    if not report.is_delivered and not report.is_gone:
        again = next_attempt(parcel.attempts, now=now, retry_after=report.retry_after)
    delivered = now if report.is_delivered else None
    dead = None if report.is_delivered or again else now
    return (
        parcel.delivery_id, parcel.leased_until, parcel.attempts, report.status,
        report.error[:MOST_ERROR], again, delivered, dead,
    )  # fmt: skip


def _endpoints(reports: Sequence[Report], now: datetime) -> list[tuple[object, ...]]:
    """Sum up per subscription: one success among failures is a success, and gone is gone."""
    endpoints: dict[UUID, tuple[bool, bool, str]] = {}
    for report in reports:
        ok, gone, error = endpoints.get(report.parcel.subscription_id, (False, False, ""))
        endpoints[report.parcel.subscription_id] = (
            ok or report.is_delivered, gone or report.is_gone, report.error or error,
        )  # fmt: skip
    return sorted(
        (i, ok and not gone, gone, WANTS_NO_MORE if gone else FAILED_FOR_LONG + error, now, late)
        for late in (now - PATIENCE,)
        for i, (ok, gone, error) in endpoints.items()
    )
