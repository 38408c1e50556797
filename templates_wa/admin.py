"""Templates and what Meta reported about them, for reading; and a button to read them again."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from templates_wa import accounts
from templates_wa.catalogue import SENDABLE, definition_of
from templates_wa.models import Template, TemplateEventRow, TemplateSync
from templates_wa.parameters import TemplateParameters
from templates_wa.rendering import preview
from workspaces import staff
from workspaces.admin.base import ReadOnlyAdmin, names
from workspaces.admin.filters import RecordedFilter, TenantFilter

COLOURS = {"GREEN": "green", "YELLOW": "orange", "RED": "red"}


class SyncingAdmin(ReadOnlyAdmin):
    """Rows of accounts that managers may have read again."""

    actions = ("sync_now",)

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Managers sync."""
        return staff.manages(request.user)

    @admin.action(description="Sync now", permissions=("sync",))
    def sync_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Ask for a sync of the accounts of the chosen rows."""
        mine = staff.tenants_managed_by(request.user).values("pk")
        chosen = queryset.filter(tenant_id__in=mine).order_by("tenant_id", "waba_id")
        found: list[tuple[UUID, str]] = list(chosen.values_list("tenant_id", "waba_id").distinct())
        for tenant_id, waba_id in found:
            accounts.request(tenant_id=tenant_id, waba_id=waba_id)
        self.message_user(
            request, f"{len(found)} accounts are read within half a minute.", messages.SUCCESS
        )


@admin.register(Template)
class TemplateAdmin(SyncingAdmin):
    """The catalogue. Templates are changed in Meta's manager or through the API."""

    deferred = ("components",)
    list_display = names("name language tenant state category quality_badge is_listed synced_at")
    list_display_links = ("name",)
    list_filter = (TenantFilter, "status", "category", "quality", "language")
    search_fields = ("name", "platform_template_id")
    ordering = ("name",)
    fields = names(
        "id tenant waba_id platform_template_id name language state category sub_category "
        "previous_category quality_badge rejected_reason parameter_format ttl_seconds seen "
        "definition synced_at stale_at deleted_at"
    )

    @admin.display(description="status", ordering="status")
    def state(self, obj: Template) -> SafeString:
        """Return Meta's word, green where it can be sent."""
        return _badge(obj.status, "green" if obj.status == SENDABLE else "orange")

    @admin.display(description="quality", ordering="quality")
    def quality_badge(self, obj: Template) -> SafeString:
        """Return Meta's word in its colour."""
        return _badge(obj.quality or "–", COLOURS.get(obj.quality, ""))

    @admin.display(description="at Meta", boolean=True)
    def is_listed(self, obj: Template) -> bool:
        """Return whether Meta still has it."""
        return obj.deleted_at is None

    @admin.display(description="preview")
    def seen(self, obj: Template) -> SafeString:
        """Return what people see, its places empty."""
        shown = preview(definition_of(obj), TemplateParameters())
        lines = (shown.header, shown.body, shown.footer, *(f"[{b.text}]" for b in shown.buttons))
        return format_html_join(
            "", '<div style="white-space: pre-wrap">{}</div>', ((line,) for line in lines if line)
        )

    @admin.display(description="components")
    def definition(self, obj: Template) -> SafeString:
        """Return Meta's JSON."""
        return format_html("<pre>{}</pre>", json.dumps(obj.components, indent=2))


@admin.register(TemplateSync)
class TemplateSyncAdmin(SyncingAdmin):
    """When each account was read, and why it was not."""

    list_display = ("waba_id", "tenant", "synced_at", "failed_at", "error", "due_at")
    list_display_links = ("waba_id",)
    list_filter = (TenantFilter,)
    search_fields = ("waba_id",)
    fields = ("tenant", "waba_id", "synced_at", "failed_at", "attempts", "error", "due_at")


@admin.register(TemplateEventRow)
class TemplateEventAdmin(ReadOnlyAdmin):
    """Reported changes, newest first."""

    deferred = ("digest",)
    list_display = ("occurred_at", "tenant", "name", "language", "change", "event")
    list_display_links = ("occurred_at",)
    list_filter = (TenantFilter, RecordedFilter)
    search_fields = ("name", "template_id")
    fields = names(
        "tenant waba_id template_id name language change event reason details occurred_at "
        "created_at"
    )


def _badge(text: str, colour: str) -> SafeString:
    return format_html('<strong style="color: {}">{}</strong>', colour or "inherit", text)
