"""Right to delete: remove a tenant, keys first.

With the keys gone everything sealed is unreadable at once, also in a backup of the data made
without the key tables (docs/operations.md); deleting the rows may then take the time it takes, and
may be interrupted and run again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError
from django.db.models import Model, QuerySet, TextField
from django.db.models.functions import Cast

from connectors.events.models import EventSubscription
from connectors.linked_device import erasure as linked_device
from connectors.linked_device.models import SenderSession
from connectors.whatsapp import retention
from connectors.whatsapp.models import WebhookDead
from connectors.whatsapp.receiver import POLL_SECONDS
from lib import bulk
from messaging import erasure as messaging
from messaging import person_erasure
from messaging.models import (
    Broadcast,
    NumberState,
    OptOut,
    PersonErasure,
    SendingPause,
    SendingPolicy,
)
from sigma import readers
from sigma.readers import UnableToMakeRole
from templates_wa.models import Template
from workspaces import keys
from workspaces.models import (
    ApiKey,
    Membership,
    PurgeRun,
    RawKey,
    Tenant,
    TenantKey,
    TenantSecret,
    TenantStatus,
    Workspace,
)

logger = logging.getLogger("sigma.whatsapp.retention")

# Tables of this app (linked devices first: nobody starts them anew), of events to tenants' apps, of
# templates and of tokens, beside Raw.
TABLES = (
    "session_leases",
    "sender_sessions",
    "webhook_pending",
    "webhook_dead",
    "webhook_unhandled",
    "event_deliveries",
    "outgoing_events",
    "event_subscriptions",
    "template_events",
    "template_examples",
    "template_syncs",
    "templates",
    "token_checks",
)
# What apps are still to be told of a person.
EVENTS_OF_PEOPLE = (
    (
        "event_deliveries",
        "event_id IN (SELECT id FROM outgoing_events WHERE tenant_id = %(tenant)s "
        "AND data ->> 'contact_id' = ANY(%(names)s))",
    ),
    ("outgoing_events", "data ->> 'contact_id' = ANY(%(names)s)"),
)
# Rows of a tenant that people handle in the admin, whose log names them.
HANDLED: tuple[type[Model], ...] = (
    Tenant,
    Workspace,
    TenantSecret,
    ApiKey,
    Membership,
    WebhookDead,
    EventSubscription,
    NumberState,
    OptOut,
    SendingPause,
    SendingPolicy,
    Broadcast,
    Template,
    SenderSession,
)
# Raw in flight: until every web process has seen that the tenant is gone, one may still store a
# callback.
SETTLE_SECONDS = 2 * POLL_SECONDS


class PartlyErased(Exception):
    """Something of a tenant is left, all else is gone; the message says what, and why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the report: what went, and how many."""

    what: str
    count: int


def plan(tenant: Tenant) -> list[Step]:
    """Return what :func:`erase` would remove."""
    counts = {
        "django_admin_log": sum(entries.count() for entries in _log_entries(tenant)),
        "raw_keys": RawKey.objects.filter(tenant_id=tenant.id).count(),
        "tenant_keys": TenantKey.objects.filter(tenant=tenant).count(),
        "webhook_deliveries": bulk.count("webhook_deliveries", tenant_id=tenant.id),
        **linked_device.count(tenant.id),
        **{table: bulk.count(table, tenant_id=tenant.id) for table in TABLES},
        **messaging.count(tenant.id),
        "webhook_ledger": bulk.count("webhook_ledger", tenant_id=tenant.id),
        "workspaces": tenant.workspaces.count(),
        "tenant_secrets": tenant.secrets.count(),
        "api_keys": tenant.api_keys.count(),
        "memberships": tenant.memberships.count(),
        "database roles": int(readers.exists(tenant.id)),
        "tenants": 1,
    }
    return [Step(what, count) for what, count in counts.items()]


def erase(
    tenant: Tenant, *, now: datetime, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Step]:
    """Remove the tenant and all that is theirs, step by step, each reported when it is done.

    Raises:
        PartlyErased: a store of a linked device cannot be removed from this machine, or the
            database role that reads the tenant's rows cannot be dropped; all else is gone.
    """
    Tenant.objects.filter(pk=tenant.pk).update(status=TenantStatus.ERASING)
    left: list[str] = []
    try:
        yield Step("database roles", int(readers.remove(tenant.id)))
    except UnableToMakeRole as error:
        left.append(f"The tenant's database role is left: {error}")
    # Before the keys go: a send that is under way still writes down what came of it.
    if cut_off := linked_device.stop(tenant.id, now=now, sleep=sleep):
        yield Step("sender sessions that did not end by themselves, cut off", cut_off)
    yield from (Step(what, count) for what, count in keys.destroy_all(tenant.id).items())
    try:
        for what, count in linked_device.remove(tenant.id).items():
            yield Step(what, count)
    except OSError as error:  # one disk's trouble; all else goes
        left.append(f"Stores of linked devices are left: {error}")
    # While the rows stand that tell which entries are the tenant's.
    yield Step("django_admin_log", sum(entries.delete()[0] for entries in _log_entries(tenant)))
    sleep(SETTLE_SECONDS)
    for table in TABLES:
        yield Step(table, bulk.delete(table, tenant_id=tenant.id, batch=retention.BATCH))
    callbacks, _ = retention.delete_rows(tenant_id=tenant.id, before=None)
    yield Step("webhook_deliveries", callbacks)
    yield from (Step(what, count) for what, count in messaging.erase(tenant.id).items())
    yield from _delete_tenant(tenant)
    if left:
        raise PartlyErased(" ".join(left))


def users_of(tenant: Tenant) -> list[str]:
    """Return the names of users who belong to this tenant only; nobody but you may delete them."""
    elsewhere = Membership.objects.exclude(tenant=tenant).values("user")
    members = User.objects.filter(memberships__tenant=tenant, is_superuser=False)
    names = members.exclude(pk__in=elsewhere).order_by("username")
    return list(names.values_list("username", flat=True))


def _log_entries(tenant: Tenant) -> Iterator[QuerySet[LogEntry]]:
    for model in HANDLED:
        column = "pk" if model is Tenant else "tenant_id"
        rows = model._default_manager.filter(**{column: tenant.pk})
        yield LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(model),
            object_id__in=rows.values_list(Cast("pk", TextField())),
        )


def _delete_tenant(tenant: Tenant) -> Iterator[Step]:
    PurgeRun.objects.filter(what=tenant.id.hex).delete()
    yield Step("webhook_ledger", bulk.delete("webhook_ledger", tenant_id=tenant.id, batch=1))
    # Not by the ORM, which would look in every table of messages for rows of these numbers.
    for table in ("tenant_secrets", "api_keys", "memberships", "workspaces"):
        yield Step(table, bulk.delete(table, tenant_id=tenant.id, batch=retention.BATCH))
    Tenant.objects.filter(pk=tenant.pk).delete()
    yield Step("tenants", 1)


def erase_people(*, now: datetime) -> int:
    """Perform every erasure of a person that is pending; return how many. One that fails is logged,
    stays, and is tried again the next time.
    """
    count = 0
    for pending in PersonErasure.objects.filter(ended_at=None).order_by("requested_at"):
        try:
            erase_person(pending, now=now)
        except OperationalError:
            raise
        except Exception:
            extra = {"erasure": str(pending.pk)}
            logger.exception("whatsapp person not erased", extra=extra)
        else:
            count += 1
    return count


def erase_person(pending: PersonErasure, *, now: datetime) -> PersonErasure:
    """Perform one, in all tables."""
    return person_erasure.perform(pending, elsewhere=EVENTS_OF_PEOPLE, now=now)
