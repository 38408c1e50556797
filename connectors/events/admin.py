"""Event subscriptions and deliveries: for reading, stopping and sending again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from connectors.events import deliveries, subscriptions
from connectors.events.attempts import DeliveryState
from connectors.events.deliveries import STATES, ListedDelivery
from connectors.events.models import EventDelivery, EventSubscription
from lib import clock
from workspaces.admin.base import ManagedAdmin
from workspaces.admin.filters import RecordedFilter, TenantFilter

BY_OPERATOR = "An operator disabled it."


class StateFilter(admin.SimpleListFilter):
    """Deliveries in one state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the three states."""
        return [(state.value, state.value.title()) for state in DeliveryState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows in the chosen one."""
        if self.value() not in set(DeliveryState):
            return queryset
        return queryset.filter(STATES[DeliveryState(self.value() or "")])


@admin.register(EventSubscription)
class SubscriptionAdmin(ManagedAdmin):
    """URLs of tenants' apps that receive events; made and changed through GraphQL."""

    deferred = ("sealed_secrets",)
    list_display = ("url", "tenant", "active", "failing_since", "disabled_reason", "created_at")
    list_display_links = ("url",)
    list_filter = (TenantFilter,)
    search_fields = ("url",)
    ordering = ("-created_at",)
    sortable_by = ()
    actions = ("disable",)
    fields = (
        "tenant",
        "url",
        "description",
        "types",
        "active",
        "disabled_at",
        "disabled_reason",
        "failing_since",
        "resting_until",
        "created_at",
    )

    @admin.display(description="active", boolean=True)
    def active(self, obj: EventSubscription) -> bool:
        """Return whether events are delivered."""
        return obj.disabled_at is None

    @admin.action(description="Disable the selected subscriptions", permissions=("manage",))
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Stop deliveries; the tenant can resume them."""
        ids = list(self.mine(request, queryset).values_list("pk", flat=True))
        count = subscriptions.disable(ids=ids, reason=BY_OPERATOR, now=clock.now())
        self.message_user(request, f"{count} subscriptions were disabled.", messages.SUCCESS)


@admin.register(EventDelivery)
class DeliveryAdmin(ManagedAdmin):
    """Events for subscriptions, and the state of each delivery."""

    list_display = (
        "id",
        "tenant",
        "subscription_id",
        "state",
        "attempts",
        "last_status",
        "last_error",
        "created_at",
    )
    list_display_links = ("id",)
    list_filter = (TenantFilter, StateFilter, RecordedFilter)
    sortable_by = ()
    actions = ("replay",)
    fields = (
        "tenant",
        "event_id",
        "subscription_id",
        "state",
        "attempts",
        "next_attempt_at",
        "delivered_at",
        "dead_at",
        "last_status",
        "last_error",
        "created_at",
    )

    @admin.display(description="state")
    def state(self, obj: EventDelivery) -> str:
        """Return its state."""
        return ListedDelivery(obj, None).state.value

    @admin.action(description="Send the selected events again", permissions=("manage",))
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Make those that ended due again."""
        ids = list(self.mine(request, queryset).values_list("pk", flat=True))
        rows = EventDelivery.objects.filter(pk__in=ids[: deliveries.MAX_REPLAYED])
        count = deliveries.replay_rows(rows, now=clock.now())
        self.message_user(request, f"{count} events are sent again.", messages.SUCCESS)
