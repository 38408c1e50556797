"""The admin's first page: where each tenant's updates are, and what needs somebody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest

from connectors.linked_device import health
from connectors.linked_device.models import SenderSession
from connectors.whatsapp.models import (
    DeadKind,
    DeadState,
    WebhookDead,
    WebhookLedger,
    WebhookPending,
)
from lib import clock
from workspaces import setup_check, staff
from workspaces.models import Tenant
from workspaces.setup_check import Severity

# Each row runs the set-up check, a handful of small queries.
MOST_TENANTS = 20
MOST_DEVICES = 20


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant's line."""

    tenant: Tenant
    ledger: WebhookLedger
    pending: int
    dead: int
    quarantined: int
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What somebody should look at, over all the tenants the user sees."""

    pending: int
    oldest: datetime | None
    dead: int
    quarantined: int


def is_member(request: HttpRequest) -> bool:
    """Whether the user sees any tenant."""
    return staff.sees(request.user)


def is_superuser(request: HttpRequest) -> bool:
    """Whether the user runs the installation."""
    return staff.is_superuser(request.user)


def add_context(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Give the first page its numbers (called by unfold)."""
    tenants = staff.tenants_seen_by(request.user)
    everything = staff.is_superuser(request.user)
    context["waiting"] = _waiting(tenants, everything)
    context["rows"] = _rows(tenants, clock.now())
    context["devices"] = _devices(tenants, clock.now())
    context["more_tenants"] = tenants.count() > MOST_TENANTS
    return context


def _waiting(tenants: QuerySet[Tenant], everything: bool) -> Waiting:
    # Callbacks of a shared app belong to no tenant yet; only superusers count those too.
    mine = Q() if everything else Q(tenant_id__in=tenants.values("pk"))
    pending = WebhookPending.objects.filter(mine).aggregate(
        n=Count("pk"), oldest=Min("received_at")
    )
    dead = _count(WebhookDead.objects.filter(mine, state=DeadState.OPEN), "kind")
    return Waiting(pending["n"], pending["oldest"], dead[DeadKind.DEAD], dead[DeadKind.QUARANTINE])


def _devices(tenants: QuerySet[Tenant], now: datetime) -> list[SenderSession]:
    stuck = health.needing_operator(now=now).filter(tenant_id__in=tenants.values("pk"))
    return list(stuck[:MOST_DEVICES])


def _rows(tenants: QuerySet[Tenant], now: datetime) -> list[TenantRow]:
    last = WebhookLedger.objects.filter(tenant_id=OuterRef("pk")).values("updated_at")
    shown = list(
        tenants.annotate(last=Subquery(last)).order_by(F("last").desc(nulls_last=True), "slug")[
            :MOST_TENANTS
        ]
    )
    ids = [tenant.pk for tenant in shown]
    ledgers = WebhookLedger.objects.in_bulk(ids)
    pending = _count(WebhookPending.objects.filter(tenant_id__in=ids), "tenant_id")
    open_rows = WebhookDead.objects.filter(tenant_id__in=ids, state=DeadState.OPEN)
    dead = _count(open_rows.filter(kind=DeadKind.DEAD), "tenant_id")
    quarantined = _count(open_rows.filter(kind=DeadKind.QUARANTINE), "tenant_id")
    return [
        TenantRow(
            tenant,
            ledgers.get(tenant.pk, WebhookLedger(tenant_id=tenant.pk)),
            pending[tenant.pk],
            dead[tenant.pk],
            quarantined[tenant.pk],
            *_severities(tenant, now),
        )
        for tenant in shown
    ]


def _count(rows: QuerySet[WebhookPending] | QuerySet[WebhookDead], by: str) -> Counter[object]:
    return Counter(dict(rows.order_by().values_list(by).annotate(n=Count("pk"))))


def _severities(tenant: Tenant, now: datetime) -> tuple[int, int]:
    found = [finding.severity for finding in setup_check.findings_of(tenant, now=now)]
    return found.count(Severity.ERROR), found.count(Severity.WARNING)
