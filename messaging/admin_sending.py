"""Numbers and pauses: what the platform says, and the button that lets sending go on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from lib import clock
from messaging import block_requests, number_sync, numbers
from messaging.delivery import pauses
from messaging.models import ContactBlock, NumberState, SendingPause
from workspaces import staff
from workspaces.admin.base import ReadOnlyAdmin, names
from workspaces.admin.filters import TenantFilter
from workspaces.models import Workspace


@admin.register(NumberState)
class NumberAdmin(ReadOnlyAdmin):
    """Business numbers as Meta describes them."""

    deferred = ("sealed_number",)
    list_display = names(
        "workspace tenant status quality_rating messaging_limit may_send synced_at"
    )
    list_display_links = ("workspace",)
    list_filter = (TenantFilter, "status", "quality_rating")
    list_select_related = ("workspace",)
    sortable_by = ()
    actions = ("ask_again",)
    fields = names(
        "workspace tenant number verified_name status quality_rating messaging_limit "
        "throughput_level account_mode is_on_business_app may_send problem portfolio_id test_list "
        "synced_at sync_due_at sync_error"
    )

    @admin.display(description="number")
    def number(self, obj: NumberState) -> str:
        """Return the number, masked."""
        return numbers.masked(obj) or "–"

    @admin.display(description="Meta lets it send", boolean=True)
    def may_send(self, obj: NumberState) -> bool:
        """Return whether Meta lets it send."""
        return numbers.is_sendable(obj)

    @admin.display(description="test recipients")
    def test_list(self, obj: NumberState) -> str:
        """Return how many people a test number may write to."""
        return str(len(obj.test_recipients)) if obj.test_recipients else "not restricted"

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Managers act."""
        return staff.manages(request.user)

    @admin.action(description="Ask Meta about them again", permissions=("manage",))
    def ask_again(self, request: HttpRequest, queryset: QuerySet[NumberState]) -> None:
        """Let the chosen numbers be asked about."""
        mine = staff.tenants_managed_by(request.user).values("pk")
        chosen = list(queryset.filter(tenant_id__in=mine).values_list("pk", flat=True))
        number_sync.want(chosen)
        self.message_user(request, f"Meta is asked about {len(chosen)} numbers within a minute.")


@admin.register(ContactBlock)
class BlockAdmin(ReadOnlyAdmin):
    """Whom numbers block, who wanted it, and what Meta says."""

    list_display = names("changed_at tenant number contact_id state by error")
    list_display_links = ("changed_at",)
    list_filter = (TenantFilter, "state")
    sortable_by = ()
    actions = ("ask_again",)
    fields = names(
        "tenant number contact_id state by asked_at changed_at blocked_at due_at attempts "
        "error_code error"
    )

    @admin.display(description="number")
    def number(self, obj: ContactBlock) -> str:
        """Return the name of the number's workspace."""
        workspace = Workspace.objects.filter(pk=obj.workspace_id).first()
        return str(workspace or obj.workspace_id)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Managers act."""
        return staff.manages(request.user)

    @admin.action(description="Read Meta's lists of these numbers again", permissions=("manage",))
    def ask_again(self, request: HttpRequest, queryset: QuerySet[ContactBlock]) -> None:
        """Let the lists of the chosen numbers be read."""
        mine = staff.tenants_managed_by(request.user).values("pk")
        chosen = queryset.filter(tenant_id__in=mine).values_list("tenant_id", "workspace_id")
        numbers = sorted(set(chosen))
        for tenant_id, workspace_id in numbers:
            block_requests.ask_again(tenant_id=tenant_id, workspace_id=workspace_id)
        self.message_user(request, f"The lists of {len(numbers)} numbers are read within seconds.")


class OpenFilter(admin.SimpleListFilter):
    """Pauses that hold, or all."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the two."""
        return [("open", "Holds messages back"), ("over", "Over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the chosen ones."""
        is_open = Q(lifted_at=None) & (Q(until=None) | Q(until__gt=clock.now()))
        if self.value() == "open":
            return queryset.filter(is_open)
        return queryset.exclude(is_open) if self.value() == "over" else queryset


@admin.register(SendingPause)
class PauseAdmin(ReadOnlyAdmin):
    """Why nothing is sent, since when, and who let it go on."""

    list_display = ("since", "tenant", "number", "code", "reason", "until", "lifted_at")
    list_display_links = ("since",)
    list_filter = (TenantFilter, OpenFilter)
    sortable_by = ()
    actions = ("resume",)
    fields = names("tenant number code reason since until lifted_at lifted_by")

    @admin.display(description="number")
    def number(self, obj: SendingPause) -> str:
        """Return the name of the number's workspace."""
        if obj.workspace_id is None:
            return "all of the tenant"
        workspace = Workspace.objects.filter(pk=obj.workspace_id).first()
        return str(workspace or obj.workspace_id)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Managers act."""
        return staff.manages(request.user)

    @admin.action(description="Resume sending", permissions=("manage",))
    def resume(self, request: HttpRequest, queryset: QuerySet[SendingPause]) -> None:
        """Let sending go on where this user may decide it."""
        mine = staff.tenants_managed_by(request.user).values("pk")
        chosen = list(queryset.filter(tenant_id__in=mine, lifted_at=None))
        now, by = clock.now(), f"user {request.user.pk}"
        ended = sum(_lift(pause, by, now) for pause in chosen)
        self.message_user(request, f"{ended} pauses ended; sending goes on.")


def _lift(pause: SendingPause, by: str, now: datetime) -> int:
    return pauses.lift(
        tenant_id=pause.tenant_id, workspace_id=pause.workspace_id, code=pause.code, by=by, now=now
    )
