"""Right to delete: remove a tenant, keys first.

With the keys gone everything sealed is unreadable at once, also in a backup of the data made
without the key tables (docs/operations.md); deleting the rows may then take the time it takes, and
may be interrupted and run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from connectors.webhooks import retention
from connectors.webhooks.routes import POLL_SECONDS
from messaging import bulk
from messaging import erasure as messaging
from workspaces import keys
from workspaces.models import RawKey, Tenant, TenantKey, TenantStatus

# Tables of this app and of the templates, beside Raw and what was set aside.
TABLES = ("webhook_pending", "webhook_dead", "webhook_unhandled", "template_events")
# Raw in flight: until every web process has seen that the tenant is gone, one may still store a
# callback.
SETTLE_SECONDS = 2 * POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the report: what went, and how many."""

    what: str
    count: int


def plan(tenant: Tenant) -> list[Step]:
    """Return what :func:`erase` would remove."""
    counts = {
        "raw_keys": RawKey.objects.filter(tenant_id=tenant.id).count(),
        "tenant_keys": TenantKey.objects.filter(tenant=tenant).count(),
        "webhook_deliveries": bulk.count("webhook_deliveries", tenant_id=tenant.id),
        **{table: bulk.count(table, tenant_id=tenant.id) for table in TABLES},
        **messaging.count(tenant.id),
        "workspaces": tenant.workspaces.count(),
        "tenant_secrets": tenant.secrets.count(),
        "api_keys": tenant.api_keys.count(),
        "memberships": tenant.memberships.count(),
        "tenants": 1,
    }
    return [Step(what, count) for what, count in counts.items()]


def erase(tenant: Tenant, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Step]:
    """Remove the tenant and all that is his, step by step, each reported when it is done."""
    Tenant.objects.filter(pk=tenant.pk).update(status=TenantStatus.ERASING)
    yield from (Step(what, count) for what, count in keys.destroy_all(tenant.id).items())
    sleep(SETTLE_SECONDS)
    for table in TABLES:
        yield Step(table, bulk.delete(table, tenant_id=tenant.id, batch=retention.BATCH))
    yield Step("webhook_deliveries", retention.delete_rows(tenant_id=tenant.id, before=None))
    yield from (Step(what, count) for what, count in messaging.erase(tenant.id).items())
    yield from _delete_tenant(tenant)


def _delete_tenant(tenant: Tenant) -> Iterator[Step]:
    yield Step("webhook_ledger", bulk.delete("webhook_ledger", tenant_id=tenant.id, batch=1))
    for name in ("secrets", "api_keys", "memberships", "workspaces"):
        manager = getattr(tenant, name)
        count, _ = manager.all().delete()
        yield Step(manager.model._meta.db_table, count)
    Tenant.objects.filter(pk=tenant.pk).delete()
    yield Step("tenants", 1)
