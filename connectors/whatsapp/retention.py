"""Retention of Raw: destroy the day's key first, then delete the rows it sealed, in bounded
batches. A day of which a callback is still pending is kept whole.

Without the key the rows are noise, in every copy made without the key tables too; deleting them
may take its time.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from uuid import UUID

from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import TruncDate

from connectors.whatsapp.models import WebhookDead, WebhookDelivery, WebhookPending
from lib import bulk
from workspaces import keys, purging
from workspaces.models import INSTALLATION_ID, RawKey, Tenant
from workspaces.purging import PurgeRefused

logger = logging.getLogger("sigma.whatsapp.retention")
BATCH = 5_000
# Callbacks of shared apps are re-filed within moments; what stays is quarantine and errors.
INSTALLATION_RETENTION_DAYS = 30
DAYS_AHEAD = 7
PREFIX = "webhook_deliveries_"

PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'webhook_deliveries'::regclass ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class PurgedRaw:
    """What a purge of one tenant destroyed, or would; ``before`` is the first UTC day kept.

    ``kept`` are earlier days with callbacks that are still pending. ``error`` names what went
    wrong; the rest of this tenant waits for the next run.
    """

    tenant_id: UUID
    slug: str
    before: date
    keys: int = 0
    callbacks: int = 0
    parked: int = 0
    kept: frozenset[date] = frozenset()
    error: str = ""


def cutoff(retention_days: int, now: datetime) -> date:
    """Return the first UTC day that is kept."""
    return now.astimezone(UTC).date() - timedelta(days=retention_days)


def plan(*, now: datetime) -> list[PurgedRaw]:
    """Return what :func:`purge_all` would destroy; this counts rows, and takes its time."""
    return [_count(owner) for owner in _owners(now)]


def purge_all(*, now: datetime, force: bool = False) -> list[PurgedRaw]:
    """Purge every tenant: all keys first, then whole partitions, then the rest row by row.

    ``now`` is the host's time; what is past goes by the database's. Where the database refuses
    something of one tenant, or too much would go at once, the others go on.

    Raises:
        workspaces.purging.PurgeRefused: the two differ, and it is not forced.
    """
    moment = purging.moment(host=now, force=force)
    owners = _owners(moment)
    reports = [_attempt(partial(_destroy_keys, now=moment, force=force), one) for one in owners]
    dropped = _drop_partitions(
        _first_day_kept(reports), {day for one in reports for day in one.kept}
    )
    reports = [_attempt(_delete_rows, report) for report in reports]
    reports = [replace(r, callbacks=r.callbacks + dropped.get(r.tenant_id, 0)) for r in reports]
    for report in reports:
        _conclude(report, moment)
    return reports


def _owners(now: datetime) -> list[PurgedRaw]:
    """Return whose Raw there is and from which day on it is kept, nothing being purged yet."""
    tenants = Tenant.objects.order_by("slug")
    owners = [(tenant.id, tenant.slug, cutoff(tenant.retention_days, now)) for tenant in tenants]
    shared = cutoff(INSTALLATION_RETENTION_DAYS, now)
    owners.append((INSTALLATION_ID, "(shared apps)", shared))
    pending = _pending_days(max(before for _, _, before in owners))
    return [
        PurgedRaw(one, slug, before, kept=frozenset(day for day in pending[one] if day < before))
        for one, slug, before in owners
    ]


def _pending_days(before: date) -> defaultdict[UUID, set[date]]:
    """Return the days with callbacks that are still pending, of each tenant."""
    days = defaultdict[UUID, set[date]](set)
    old = WebhookPending.objects.filter(received_at__lt=_start(before)).order_by()
    pairs = old.values_list("tenant_id", TruncDate("received_at", tzinfo=UTC)).distinct()
    for tenant_id, day in pairs:
        days[tenant_id].add(day)
    return days


def _attempt(step: Callable[[PurgedRaw], PurgedRaw], report: PurgedRaw) -> PurgedRaw:
    if report.error:
        return report
    try:
        return step(report)
    except PurgeRefused as refusal:
        extra = {"tenant": report.slug, "error": str(refusal)}
        logger.error("whatsapp raw not purged", extra=extra)
        return replace(report, error=str(refusal))
    except DatabaseError as error:
        if not connection.is_usable():
            raise
        kind = type(error).__name__
        logger.error("whatsapp raw not purged", extra={"tenant": report.slug, "error": kind})
        return replace(report, error=kind)


def _destroy_keys(report: PurgedRaw, *, now: datetime, force: bool) -> PurgedRaw:
    old = RawKey.objects.filter(tenant_id=report.tenant_id, day__lt=report.before)
    oldest = old.exclude(day__in=report.kept).aggregate(day=Min("day"))["day"]
    purging.check_days(
        report.tenant_id.hex, oldest=oldest, before=report.before, now=now, force=force
    )
    with transaction.atomic():
        count = keys.destroy_day_keys(
            tenant_id=report.tenant_id, before=report.before, keep=report.kept
        )
    return replace(report, keys=count)


def _first_day_kept(reports: Iterable[PurgedRaw]) -> date:
    """Return the first day that somebody keeps; a tenant whose purge was refused keeps all."""
    return min(date.min if report.error else report.before for report in reports)


def _drop_partitions(before: date, keep: Collection[date]) -> Counter[UUID]:
    """Drop the partitions of days that every tenant is past: no vacuum, and the space returns at
    once. Return how many callbacks of whom went with them.
    """
    dropped = Counter[UUID]()
    for day in partition_days():
        if day < before and day not in keep:
            with transaction.atomic():
                counts = _rows_of(day)
                if drop_partition(day):
                    _record(counts)
                    dropped.update(counts)
    return dropped


def _rows_of(day: date) -> dict[UUID, int]:
    old = WebhookDelivery.objects.filter(
        received_at__gte=_start(day), received_at__lt=_start(day + timedelta(days=1))
    )
    return dict(old.values_list("tenant_id").annotate(Count("id")))


def _record(counts: dict[UUID, int]) -> None:
    rows = sorted((tenant_id, count) for tenant_id, count in counts.items() if count)
    bulk.run(
        """
        INSERT INTO webhook_ledger (tenant_id, purged_callbacks) SELECT tenant_id, count FROM {rows}
        ON CONFLICT (tenant_id) DO UPDATE
        SET purged_callbacks = webhook_ledger.purged_callbacks + excluded.purged_callbacks
        """,
        ("tenant_id uuid", "count int8"),
        rows,
    )


def _delete_rows(report: PurgedRaw) -> PurgedRaw:
    callbacks, parked = delete_rows(
        tenant_id=report.tenant_id, before=report.before, keep=report.kept
    )
    return replace(report, callbacks=callbacks, parked=parked)


def _count(owner: PurgedRaw) -> PurgedRaw:
    old = RawKey.objects.filter(tenant_id=owner.tenant_id, day__lt=owner.before)
    raw, dead = _old_rows(owner.tenant_id, owner.before, owner.kept)
    destroyed = old.exclude(day__in=owner.kept).count()
    return replace(owner, keys=destroyed, callbacks=raw.count(), parked=dead.count())


def _conclude(report: PurgedRaw, now: datetime) -> None:
    if not report.error:
        purging.note_run(report.tenant_id.hex, before=report.before, now=now)
    if report.keys or report.callbacks:
        logger.info(
            "whatsapp raw purged",
            extra={"tenant": report.slug, "keys": report.keys, "callbacks": report.callbacks},
        )
    if report.kept:
        logger.warning(
            "whatsapp raw kept: callbacks are still pending",
            extra={"tenant": report.slug, "days": len(report.kept), "from": min(report.kept)},
        )


def delete_rows(
    *, tenant_id: UUID, before: date | None, keep: Iterable[date] = ()
) -> tuple[int, int]:
    """Delete a tenant's Raw and parked updates older than ``before`` (all, if ``None``), but for
    those of the days in ``keep``.

    Works in batches, each its own transaction, so that it never holds locks for long. Returns how
    many callbacks and how many parked updates there were.
    """
    raw, dead = _old_rows(tenant_id, before, keep)
    return _delete_raw(tenant_id, raw), _delete_dead(dead)


def _old_rows(
    tenant_id: UUID, before: date | None, keep: Iterable[date]
) -> tuple[QuerySet[WebhookDelivery], QuerySet[WebhookDead]]:
    old = Q(tenant_id=tenant_id)
    if before is not None:
        old &= Q(received_at__lt=_start(before))
    for day in keep:
        end = _start(day + timedelta(days=1))
        old &= ~Q(received_at__gte=_start(day), received_at__lt=end)
    return WebhookDelivery.objects.filter(old), WebhookDead.objects.filter(old)


def _delete_raw(tenant_id: UUID, raw: QuerySet[WebhookDelivery]) -> int:
    bounds = raw.aggregate(low=Min("id"), high=Max("id"))
    deleted = 0
    if bounds["low"] is not None:
        for low in range(bounds["low"], bounds["high"] + 1, BATCH):
            with transaction.atomic():
                count, _ = raw.filter(id__gte=low, id__lt=low + BATCH).delete()
                _record({tenant_id: count})
            deleted += count
    return deleted


def _delete_dead(dead: QuerySet[WebhookDead]) -> int:
    deleted = 0
    while ids := list(dead.values_list("pk", flat=True)[:BATCH]):
        count, _ = dead.filter(pk__in=ids).delete()
        deleted += count
    return deleted


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def partition_days() -> list[date]:
    """Return the days that have a partition of their own."""
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS)
        suffixes = [name.removeprefix(PREFIX) for (name,) in cursor.fetchall()]
    return [date.fromisoformat(suffix) for suffix in suffixes if suffix.isdigit()]


def ensure_partitions(today: date) -> list[date]:
    """Make the partitions of today and the coming days; return the days that were missing.

    A day whose callbacks already went to the default partition is skipped with a warning: its rows
    are as safe there, they are only purged row by row.
    """
    wanted = [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    missing = sorted(set(wanted) - set(partition_days()))
    complaint = "whatsapp raw partition not made"
    return [day for day in missing if _alter_partition("make_raw_partition", complaint, day)]


def drop_partition(day: date) -> bool:
    """Drop a day's partition; return false where readers or writers keep it busy (the next run
    tries again).
    """
    complaint = "whatsapp raw partition is busy, not dropped"
    return _alter_partition("drop_raw_partition", complaint, day)


def _alter_partition(function: str, complaint: str, day: date) -> bool:
    """Call one of the owner's functions, which change what the application's role may not."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Never queue behind a long transaction: all others would queue behind this one.
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            # Web processes that start together would deadlock or fail on one another's tables.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('partitions', 0))")
            cursor.execute(f"SELECT {function}(%s)", [day])
    except (OperationalError, IntegrityError, ProgrammingError) as error:
        logger.warning(complaint, extra={"day": day, "error": type(error).__name__})
        return False
    return True
