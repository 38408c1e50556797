"""Filters of the admin's lists; each offers only what the user may see."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest

from lib import clock
from lib.ids import first_uuid7_at
from workspaces import staff
from workspaces.models import Tenant, Workspace

if TYPE_CHECKING:
    DropdownFilter = SimpleListFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter

MOST_CHOICES = 500


class TenantFilter(DropdownFilter):
    """Rows of one tenant, found the way the page's own scoping finds them."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Offer the tenants the user sees."""
        self._belonging_to = getattr(model_admin, "belonging_to")  # noqa: B009 - of ScopedAdmin
        tenants = staff.tenants_seen_by(request.user).order_by("slug")
        return [(str(t.pk), t.slug) for t in tenants.only("slug")[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows of the chosen tenant."""
        if not self.value():
            return queryset
        chosen = Tenant.objects.filter(pk__in=_uuids(self.value()))
        rows: QuerySet[Any] = self._belonging_to(queryset, chosen)
        return rows


class WorkspaceFilter(DropdownFilter):
    """Rows of one workspace."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Offer the workspaces of the tenants the user sees."""
        rows = Workspace.objects.filter(tenant__in=staff.tenants_seen_by(request.user))
        chosen = rows.order_by("tenant__slug", "name").values_list("pk", "tenant__slug", "name")
        return [(str(pk), f"{slug}: {name}") for pk, slug, name in chosen[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows of the chosen workspace."""
        if not self.value():
            return queryset
        chosen = Workspace.objects.filter(pk__in=_uuids(self.value()))
        return queryset.filter(
            tenant_id__in=chosen.values("tenant_id"), workspace_id__in=chosen.values("pk")
        )


class ArrivedFilter(admin.SimpleListFilter):
    """Rows that arrived lately. Time-ordered ids answer it from the primary key alone."""

    title = "arrived"
    parameter_name = "arrived"
    days = {"1": "Last 24 hours", "7": "Last 7 days", "30": "Last 30 days"}  # noqa: RUF012
    # The column of the time; none: the id.
    field = ""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Offer three spans."""
        return list(self.days.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows that arrived within the span."""
        if self.value() not in self.days:
            return queryset
        since = clock.now() - timedelta(days=int(self.value() or 0))
        first = since if self.field else first_uuid7_at(since)
        return queryset.filter(**{f"{self.field or 'pk'}__gte": first})


class RecordedFilter(ArrivedFilter):
    """The same for tables whose ids say nothing about time."""

    title = "recorded"
    parameter_name = "recorded"
    field = "created_at"


class ReceivedFilter(RecordedFilter):
    """The same for tables that keep when a callback was received."""

    title = "received"
    parameter_name = "received"
    field = "received_at"


def _uuids(text: str | None) -> list[UUID]:
    """Return the id, or none of that form: a made-up address shows nothing."""
    try:
        return [UUID(text or "")]
    except ValueError:
        return []
