"""Retention of Raw: destroy the day's key first, then delete the rows it sealed, in bounded
batches.

Once the key is gone the rows are noise, in every copy made without the key tables; deleting them
may take its time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, Min

from connectors.models import WebhookDead, WebhookDelivery
from connectors.webhooks import partitions
from messaging import bulk
from workspaces import keys
from workspaces.models import INSTALLATION_ID, RawKey, Tenant

logger = logging.getLogger("sigma.whatsapp.retention")

BATCH = 5_000
# Callbacks of shared apps are re-filed within moments; what stays is quarantine and errors.
INSTALLATION_RETENTION_DAYS = 30


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge of one tenant destroyed, or would; ``before`` is the first UTC day kept."""

    tenant_id: UUID
    slug: str
    before: date
    keys: int
    callbacks: int
    set_aside: int


def cutoff(retention_days: int, now: datetime) -> date:
    """Return the first UTC day that is kept."""
    return now.astimezone(UTC).date() - timedelta(days=retention_days)


def plan(*, now: datetime) -> list[Purged]:
    """Return what :func:`purge_all` would destroy."""
    return [_count(*owner) for owner in _owners(now)]


def purge_all(*, now: datetime) -> list[Purged]:
    """Purge every tenant: all keys first, then whole partitions, then the rest row by row."""
    owners = _owners(now)
    reports = [_count(*owner) for owner in owners]
    for tenant_id, _, before in owners:
        keys.destroy_day_keys(tenant_id=tenant_id, before=before)
    _drop_partitions(min(before for _, _, before in owners))
    for tenant_id, _, before in owners:
        delete_rows(tenant_id=tenant_id, before=before)
    for report in reports:
        if report.keys or report.callbacks:
            logger.info(
                "whatsapp raw purged",
                extra={"tenant": report.slug, "keys": report.keys, "callbacks": report.callbacks},
            )
    return reports


def delete_rows(*, tenant_id: UUID, before: date | None) -> int:
    """Delete a tenant's Raw and set-aside updates older than ``before`` (all, if ``None``).

    Works through the ids in windows, each its own transaction, so that it never holds locks for
    long.
    """
    raw = WebhookDelivery.objects.filter(tenant_id=tenant_id)
    dead = WebhookDead.objects.filter(tenant_id=tenant_id)
    if before is not None:
        raw, dead = (
            raw.filter(received_at__lt=_start(before)),
            dead.filter(received_at__lt=_start(before)),
        )
    dead.delete()
    bounds = raw.aggregate(low=Min("id"), high=Max("id"))
    deleted = 0
    if bounds["low"] is not None:
        for low in range(bounds["low"], bounds["high"] + 1, BATCH):
            with transaction.atomic():
                count, _ = raw.filter(id__gte=low, id__lt=low + BATCH).delete()
                _record({tenant_id: count})
            deleted += count
    return deleted


def _owners(now: datetime) -> list[tuple[UUID, str, date]]:
    tenants = Tenant.objects.order_by("slug")
    owners = [(tenant.id, tenant.slug, cutoff(tenant.retention_days, now)) for tenant in tenants]
    shared = cutoff(INSTALLATION_RETENTION_DAYS, now)
    return [*owners, (UUID(INSTALLATION_ID), "(shared apps)", shared)]


def _count(tenant_id: UUID, slug: str, before: date) -> Purged:
    old = {"tenant_id": tenant_id, "received_at__lt": _start(before)}
    return Purged(
        tenant_id=tenant_id,
        slug=slug,
        before=before,
        keys=RawKey.objects.filter(tenant_id=tenant_id, day__lt=before).count(),
        callbacks=WebhookDelivery.objects.filter(**old).count(),
        set_aside=WebhookDead.objects.filter(**old).count(),
    )


def _drop_partitions(before: date) -> None:
    """Drop the partitions of days that every tenant is past: no vacuum, and the space returns at
    once.
    """
    for day in partitions.existing():
        if day < before:
            with transaction.atomic():
                counts = _rows_of(day)
                if partitions.drop(day):
                    _record(counts)


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
