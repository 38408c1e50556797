"""Pending callbacks, what could not be stored, counts: to read, and to replay."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timesince import timesince

from connectors.whatsapp.models import (
    DeadState,
    WebhookDead,
    WebhookLedger,
    WebhookPending,
    WebhookUnhandled,
)
from connectors.whatsapp.replay import Replayed, replay
from workspaces import staff
from workspaces.admin.base import ReadOnlyAdmin, names
from workspaces.admin.filters import ReceivedFilter, TenantFilter

# A request must end; for more there is the command line.
MOST_REPLAYED = 500


@admin.register(WebhookPending)
class PendingAdmin(ReadOnlyAdmin):
    """Callbacks that are stored and wait for their processing, oldest first."""

    list_display = ("delivery_id", "tenant", "received_at", "age")
    list_display_links = ("delivery_id",)
    list_filter = (TenantFilter, ReceivedFilter)
    ordering = ("delivery_id",)
    sortable_by = ()
    fields = ("delivery_id", "tenant", "received_at", "age")

    @admin.display(description="age")
    def age(self, obj: WebhookPending) -> str:
        """Return how long it has been waiting."""
        return timesince(obj.received_at)


@admin.register(WebhookDead)
class DeadAdmin(ReadOnlyAdmin):
    """Updates that could not be stored, or that belong to no workspace of the tenant."""

    deferred = ("sealed",)
    list_display = names("id tenant kind state reason field phone_number_id attempts age")
    list_display_links = ("id",)
    list_filter = (TenantFilter, "state", "kind", ReceivedFilter)
    search_fields = ("phone_number_id", "reason")
    sortable_by = ()
    actions = ("replay",)
    fields = names(
        "tenant kind state reason field phone_number_id attempts delivery_id received_at created_at"
    )

    @admin.display(description="age")
    def age(self, obj: WebhookDead) -> str:
        """Return how long ago it was received."""
        return timesince(obj.received_at)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Managers replay."""
        return staff.manages(request.user)

    @admin.action(description="Replay the selected updates", permissions=("replay",))
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Process the open ones again; those that fail again stay, with the new reason."""
        mine = queryset.filter(state=DeadState.OPEN)
        if not staff.is_superuser(request.user):
            mine = self.belonging_to(mine, staff.tenants_managed_by(request.user))
        ids = list(mine.order_by("pk").values_list("pk", flat=True)[: MOST_REPLAYED + 1])
        result = replay(ids[:MOST_REPLAYED])
        level = messages.SUCCESS if result.processed == len(ids) else messages.WARNING
        self.message_user(request, _said(result, len(ids)), level)


def _said(result: Replayed, asked: int) -> str:
    stored = result.processed
    if result.stopped:
        return f"{stored} updates were processed; then all failed alike ({result.stopped})."
    if asked > MOST_REPLAYED:
        return (
            f"{stored} of the first {MOST_REPLAYED} updates were processed; repeat for the rest, "
            "or use manage.py replay."
        )
    return f"{stored} of {asked} open updates were processed; the others kept their reason."


@admin.register(WebhookLedger)
class LedgerAdmin(ReadOnlyAdmin):
    """Where each tenant's updates ended; what is still pending is listed under Pending."""

    list_display = names(
        "tenant callbacks updates processed quarantined dead duplicates unhandled updated_at"
    )
    list_display_links = ("tenant",)
    list_filter = (TenantFilter,)
    ordering = ("-updated_at",)
    fields = names(
        "tenant callbacks updates processed quarantined dead duplicates unhandled "
        "purged_callbacks updated_at"
    )


@admin.register(WebhookUnhandled)
class UnhandledAdmin(ReadOnlyAdmin):
    """Kinds of updates that are kept in Raw and not modelled, with how often they came."""

    list_display = ("tenant", "field", "kind", "count", "first_seen_at", "last_seen_at")
    list_filter = (TenantFilter,)
    ordering = ("-count",)
    fields = ("tenant", "field", "kind", "count", "first_seen_at", "last_seen_at")
