"""Retention of Raw: destroy the day's key first, then delete the rows it sealed, in bounded
batches.

Once the key is gone the rows are noise, in every copy made without the key tables; deleting them
may take its time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F, Max, Min, QuerySet

from connectors.models import WebhookDead, WebhookDelivery
from connectors.webhooks import partitions
from workspaces import bulk, keys
from workspaces.models import INSTALLATION_ID, RawKey, Tenant

logger = logging.getLogger("sigma.whatsapp.retention")

BATCH = 5_000
# Callbacks of shared apps are re-filed within moments; what stays is quarantine and errors.
INSTALLATION_RETENTION_DAYS = 30


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge of one tenant destroyed, or would; ``before`` is the first UTC day kept.

    ``error`` names what went wrong; the rest of this tenant waits for the next run.
    """

    tenant_id: UUID
    slug: str
    before: date
    keys: int
    callbacks: int
    set_aside: int
    error: str = ""


def cutoff(retention_days: int, now: datetime) -> date:
    """Return the first UTC day that is kept."""
    return now.astimezone(UTC).date() - timedelta(days=retention_days)


def plan(*, now: datetime) -> list[Purged]:
    """Return what :func:`purge_all` would destroy; this counts rows, and takes its time."""
    return [_count(owner) for owner in _owners(now)]


def purge_all(*, now: datetime) -> list[Purged]:
    """Purge every tenant: all keys first, then whole partitions, then the rest row by row.

    Where the database refuses something of one tenant, the others go on.
    """
    reports = [_attempt(_destroy_keys, owner) for owner in _owners(now)]
    dropped = _drop_partitions(min(report.before for report in reports))
    # Days that some tenant keeps and others are past: found by tenant without reading them whole.
    partitions.index_by_tenant(max(report.before for report in reports))
    reports = [_attempt(_delete_rows, report) for report in reports]
    reports = [replace(r, callbacks=r.callbacks + dropped.get(r.tenant_id, 0)) for r in reports]
    for report in reports:
        if report.keys or report.callbacks:
            logger.info(
                "whatsapp raw purged",
                extra={"tenant": report.slug, "keys": report.keys, "callbacks": report.callbacks},
            )
    return reports


def delete_rows(*, tenant_id: UUID, before: date | None) -> tuple[int, int]:
    """Delete a tenant's Raw and set-aside updates older than ``before`` (all, if ``None``).

    Works in batches, each its own transaction, so that it never holds locks for long. Returns how
    many callbacks and how many set-aside updates there were.
    """
    raw = WebhookDelivery.objects.filter(tenant_id=tenant_id)
    dead = WebhookDead.objects.filter(tenant_id=tenant_id)
    if before is not None:
        raw, dead = (
            raw.filter(received_at__lt=_start(before)),
            dead.filter(received_at__lt=_start(before)),
        )
    return _delete_raw(tenant_id, raw), _delete_dead(dead)


def _delete_raw(tenant_id: UUID, raw: QuerySet[WebhookDelivery]) -> int:
    # The sum keeps PostgreSQL from walking all ids of everybody in search of the first of these.
    bounds = raw.aggregate(low=Min(F("id") + 0), high=Max(F("id") + 0))
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
        count, _ = WebhookDead.objects.filter(pk__in=ids).delete()
        deleted += count
    return deleted


def _owners(now: datetime) -> list[Purged]:
    """Return whose Raw there is and from which day on it is kept, nothing being purged yet."""
    tenants = Tenant.objects.order_by("slug")
    owners = [(tenant.id, tenant.slug, cutoff(tenant.retention_days, now)) for tenant in tenants]
    shared = cutoff(INSTALLATION_RETENTION_DAYS, now)
    owners.append((INSTALLATION_ID, "(shared apps)", shared))
    return [Purged(*owner, keys=0, callbacks=0, set_aside=0) for owner in owners]


def _attempt(step: Callable[[Purged], Purged], report: Purged) -> Purged:
    if report.error:
        return report
    try:
        return step(report)
    except DatabaseError as error:
        if not connection.is_usable():
            raise
        kind = type(error).__name__
        logger.error("whatsapp raw not purged", extra={"tenant": report.slug, "error": kind})
        return replace(report, error=kind)


def _destroy_keys(report: Purged) -> Purged:
    with transaction.atomic():
        count = keys.destroy_day_keys(tenant_id=report.tenant_id, before=report.before)
    return replace(report, keys=count)


def _delete_rows(report: Purged) -> Purged:
    callbacks, set_aside = delete_rows(tenant_id=report.tenant_id, before=report.before)
    return replace(report, callbacks=callbacks, set_aside=set_aside)


def _count(owner: Purged) -> Purged:
    old = {"tenant_id": owner.tenant_id, "received_at__lt": _start(owner.before)}
    return replace(
        owner,
        keys=RawKey.objects.filter(tenant_id=owner.tenant_id, day__lt=owner.before).count(),
        callbacks=WebhookDelivery.objects.filter(**old).count(),
        set_aside=WebhookDead.objects.filter(**old).count(),
    )


def _drop_partitions(before: date) -> Counter[UUID]:
    """Drop the partitions of days that every tenant is past: no vacuum, and the space returns at
    once. Return how many callbacks of whom went with them.
    """
    dropped = Counter[UUID]()
    for day in partitions.existing():
        if day < before:
            with transaction.atomic():
                counts = _rows_of(day)
                if partitions.drop(day):
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


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
