"""What Meta reported about templates, for reading only."""

from __future__ import annotations

from django.contrib import admin

from templates_wa.models import TemplateEventRow
from workspaces.admin.base import ReadOnlyAdmin
from workspaces.admin.filters import RecordedFilter, TenantFilter


@admin.register(TemplateEventRow)
class TemplateEventAdmin(ReadOnlyAdmin):
    """Reported changes, newest first."""

    deferred = ("digest",)
    list_display = ("occurred_at", "tenant", "name", "language", "change", "event")
    list_display_links = ("occurred_at",)
    list_filter = (TenantFilter, RecordedFilter)
    search_fields = ("name", "template_id")
    fields = (
        "tenant", "waba_id", "template_id", "name", "language", "change", "event", "reason",
        "details", "occurred_at", "created_at",
    )  # fmt: skip
