"""Workspaces and memberships."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from workspaces import provisioning
from workspaces.admin.base import ScopedAdmin, SuperusersOnly, adopt
from workspaces.admin.filters import TenantFilter
from workspaces.admin.forms import WorkspaceForm
from workspaces.models import HOSTED, Membership, Workspace

PROOFS = ("number_proof", "number_proven_at", "account_proof", "account_proven_at")


@admin.register(Workspace)
class WorkspaceAdmin(ScopedAdmin):
    """Business phone numbers. One that is no longer used is made inactive; its messages stay."""

    form = WorkspaceForm
    list_display = (
        "name",
        "tenant",
        "transport",
        "external_id",
        "waba_id",
        "number_proof",
        "is_active",
        "created_at",
    )
    list_filter = (TenantFilter, "transport", "is_active")
    list_select_related = ("tenant",)
    search_fields = ("name", "external_id", "waba_id")
    ordering = ("tenant__slug", "name", "id")
    autocomplete_fields = ("tenant",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the id once there is one: GraphQL and SQL ask for it."""
        fields = ("tenant", "name", "transport", "external_id", "waba_id", "is_active")
        return ("id", *fields, *PROOFS) if obj else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the tenant and the transport, and the id that we made for a linked device."""
        if obj is None:
            return ()
        made_up = ("external_id", "waba_id") if obj.transport in HOSTED else ()
        return ("id", "tenant", "transport", *made_up, *PROOFS)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Say what comes next for a linked device."""
        if obj.transport in HOSTED:
            self.message_user(request, "Link a phone with it now, under “Linked devices”.")
        return super().response_add(request, obj, post_url_continue)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create through the domain, as the API does."""
        if change:
            # Not the proofs: they may have become better since this page was asked for.
            obj.save(update_fields=[*form.changed_data, "updated_at"])
            return
        active = obj.is_active
        made = provisioning.create_workspace(
            tenant_id=obj.tenant_id,
            name=obj.name,
            external_id=obj.external_id,
            waba_id=obj.waba_id,
            transport=obj.transport,
        )
        adopt(obj, made)
        if not active:
            obj.is_active = False
            obj.save(update_fields=("is_active", "updated_at"))


@admin.register(Membership)
class MembershipAdmin(SuperusersOnly, ScopedAdmin):
    """Who belongs to which tenant; only superusers see and change it."""

    list_display = ("user", "tenant", "role", "created_at")
    list_filter = (TenantFilter, "role")
    list_select_related = ("tenant", "user")
    search_fields = ("user__username", "tenant__slug")
    ordering = ("tenant__slug", "user__username")
    autocomplete_fields = ("tenant", "user")
    fields = ("user", "tenant", "role")
