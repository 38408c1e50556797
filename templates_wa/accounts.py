"""Which accounts' templates are to be read again, and when: rows that outlive a lost task."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from lib.wakeups import WakeUp
from templates_wa.models import Template, TemplateSync
from workspaces.models import TenantStatus, Workspace

WAKE_UP = WakeUp("templates", task="templates.sync", queue="maintenance")
# Longer than the longest sync; a dead worker's account is taken up again after it.
LEASE = timedelta(minutes=10)
# However often events ask for it, one account is read no more often.
PAUSE = "20 seconds"
RETRY, RETRY_MOST = timedelta(minutes=1), timedelta(hours=1)

LEARN = """
INSERT INTO template_syncs (tenant_id, waba_id, due_at)
SELECT DISTINCT w.tenant_id, w.waba_id, %(now)s::timestamptz
FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
WHERE w.is_active AND w.waba_id <> '' AND t.status = %(active)s
  AND coalesce(w.tenant_id = %(tenant)s::uuid, true)
ON CONFLICT (tenant_id, waba_id) DO UPDATE SET due_at = excluded.due_at
WHERE template_syncs.due_at IS NULL
"""
# The row is made where there is none: the account may have just been connected. The time is that of
# the request, not of its transaction's beginning: a sync that began in between has not seen it.
REQUEST = """
INSERT INTO template_syncs (tenant_id, waba_id, due_at)
VALUES (%(tenant)s, %(waba)s, clock_timestamp())
ON CONFLICT (tenant_id, waba_id) DO UPDATE SET due_at = least(
    template_syncs.due_at,
    greatest(clock_timestamp(), template_syncs.synced_at + %(pause)s::interval)
)
"""


def learn(*, now: datetime, tenant_id: UUID | None = None) -> None:
    """Note the accounts of active workspaces that are new; they are due at once."""
    with connection.cursor() as cursor:
        active = TenantStatus.ACTIVE.value
        cursor.execute(LEARN, {"now": now, "active": active, "tenant": tenant_id})


def request(*, tenant_id: UUID, waba_id: str) -> None:
    """Ask for a sync of an account soon, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(REQUEST, {"tenant": tenant_id, "waba": waba_id, "pause": PAUSE})
    transaction.on_commit(partial(WAKE_UP.notify), robust=True)


def request_all(*, tenant_id: UUID, now: datetime) -> None:
    """Ask for a sync of every account of a tenant: it was connected, or has a new access token."""
    with transaction.atomic():
        learn(now=now, tenant_id=tenant_id)
        for waba_id in TemplateSync.objects.filter(
            tenant_id=tenant_id, due_at__isnull=False
        ).values_list("waba_id", flat=True):
            request(tenant_id=tenant_id, waba_id=waba_id)


def mark_stale(template_ids: Collection[UUID], *, now: datetime) -> None:
    """Note that Meta refused sends that these rows allowed, and ask for a sync of their accounts;
    those that are in doubt already were asked about.
    """
    with transaction.atomic():
        # Whoever holds a row doubts it too, or is writing what Meta says of it.
        doubted = Template.objects.filter(pk__in=template_ids, stale_at=None)
        rows = list(doubted.select_for_update(skip_locked=True))
        Template.objects.filter(pk__in=[row.pk for row in rows]).update(stale_at=now)
        for tenant_id, waba_id in sorted({(row.tenant_id, row.waba_id) for row in rows}):
            request(tenant_id=tenant_id, waba_id=waba_id)


def claim(*, now: datetime) -> TemplateSync | None:
    """Take the account that is due longest, for the time of a lease; ``None``: none is due."""
    with transaction.atomic():
        due = TemplateSync.objects.select_for_update(skip_locked=True).filter(due_at__lte=now)
        row = due.order_by("due_at").first()
        if row is not None:
            row.due_at = now + LEASE
            row.save(update_fields=["due_at"])
    return row


def workspace_of(*, tenant_id: UUID, waba_id: str) -> Workspace | None:
    """Return an active workspace through which the account can be reached."""
    rows = Workspace.objects.filter(
        tenant_id=tenant_id, waba_id=waba_id, is_active=True, tenant__status=TenantStatus.ACTIVE
    )
    return rows.order_by("id").first()


def forget(account: TemplateSync) -> None:
    """Leave an account alone that no workspace uses any more."""
    TemplateSync.objects.filter(pk=account.pk, due_at=account.due_at).update(due_at=None)


def note_success(
    *, tenant_id: UUID, waba_id: str, now: datetime, lease: datetime | None = None
) -> None:
    """Note a complete sync that began at ``now``; what was asked for since is still due."""
    again = now + timedelta(seconds=settings.SIGMA_TEMPLATE_SYNC_SECONDS)
    rows = _noted(tenant_id, waba_id, now)
    rows.update(synced_at=now, attempts=0, error="")
    rows.filter(Q(due_at__lte=now) | Q(due_at=lease)).update(due_at=again)


def note_failure(
    *,
    tenant_id: UUID,
    waba_id: str,
    now: datetime,
    error: str,
    lease: datetime | None = None,
    wait: timedelta | None = None,
) -> None:
    """Note why a sync failed; it is due again after ``wait``, or one that doubles each time."""
    rows = _noted(tenant_id, waba_id, now)
    rows.update(failed_at=now, error=error, attempts=F("attempts") + 1)
    attempts = rows.values_list("attempts", flat=True).get()
    wait = wait or min(RETRY_MOST, RETRY * 2 ** min(attempts - 1, 10))
    rows.filter(Q(due_at__lte=now) | Q(due_at=lease)).update(due_at=now + wait)


def _noted(tenant_id: UUID, waba_id: str, now: datetime) -> QuerySet[TemplateSync]:
    account = {"tenant_id": tenant_id, "waba_id": waba_id}
    TemplateSync.objects.get_or_create(**account, defaults={"due_at": now})
    return TemplateSync.objects.filter(**account)
