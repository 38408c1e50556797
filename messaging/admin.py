"""What was said, for reading only. Identities appear as keyed digests: no number is known here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging import admin_broadcasts, admin_sending
from messaging.models import Contact, ContactIdentity, Media, Message, MessageStatus
from messaging.sealed_values import shortened
from messaging.statuses import oldest_first
from workspaces.admin.base import ReadOnlyAdmin, names
from workspaces.admin.filters import ArrivedFilter, RecordedFilter, TenantFilter, WorkspaceFilter
from workspaces.models import Tenant, Workspace

if TYPE_CHECKING:
    DropdownFilter = SimpleListFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter

# Django looks for admin pages in this module only.
__all__ = [
    "ContactAdmin",
    "MediaAdmin",
    "MessageAdmin",
    "MessageStatusAdmin",
    "admin_broadcasts",
    "admin_sending",
]

PREVIEW = 80
# The types people look for; asking the table for its distinct types would read all of it.
TYPES = names(
    "text image audio video document sticker location contacts interactive button reaction order "
    "system edit revoke template unsupported"
)


class TypeFilter(DropdownFilter):
    """Messages of one type."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Offer the common types."""
        return [(kind, kind) for kind in TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the chosen type."""
        return queryset.filter(type=self.value()) if self.value() else queryset


class WorkspaceRowsAdmin(ReadOnlyAdmin):
    """Rows that carry a workspace: the large tables are indexed by it, not by tenant."""

    def belonging_to(self, queryset: QuerySet[Any], tenants: QuerySet[Tenant]) -> QuerySet[Any]:
        """Return the rows of the tenants' workspaces."""
        workspaces = Workspace.objects.filter(tenant__in=tenants.values("pk"))
        return queryset.filter(workspace_id__in=workspaces.values("pk"))


@admin.register(Contact)
class ContactAdmin(ReadOnlyAdmin):
    """People, by the name they gave themselves."""

    list_display = ("id", "tenant", "name", "name_in_book", "user_name", "created_at")
    list_display_links = ("id",)
    list_filter = (TenantFilter, ArrivedFilter)
    fields = names(
        "id tenant name name_in_book user_name known_as merged_into created_at updated_at"
    )

    @admin.display(description="display name")
    def name(self, obj: Contact) -> str:
        """Return the profile name."""
        return shortened(obj.display_name)

    @admin.display(description="book name")
    def name_in_book(self, obj: Contact) -> str:
        """Return what the business calls the person."""
        return shortened(obj.book_name)

    @admin.display(description="username")
    def user_name(self, obj: Contact) -> str:
        """Return the username."""
        return shortened(obj.username)

    @admin.display(description="known as")
    def known_as(self, obj: Contact) -> SafeString:
        """Return the kinds and digests of the contact's identities."""
        found = ContactIdentity.objects.filter(tenant_id=obj.tenant_id, contact=obj)
        rows = found.order_by("id").values_list("kind", "digest")
        return format_html_join("", "<div>{} <code>{}</code></div>", rows)


@admin.register(Message)
class MessageAdmin(WorkspaceRowsAdmin):
    """Messages, newest arrivals first."""

    deferred = ("content", "delivery", "sealed_id")
    list_display = names("timestamp_utc tenant workspace direction type preview status")
    list_display_links = ("timestamp_utc",)
    list_filter = (TenantFilter, WorkspaceFilter, "direction", TypeFilter, ArrivedFilter)
    list_select_related = ("workspace",)
    sortable_by = ()
    fields = names(
        "id tenant workspace contact direction source type text structured_content status "
        "delivery_state receipts file sender platform_message_id reply_to group_id timestamp_utc "
        "edited_at revoked_at created_at"
    )

    @admin.display(description="text")
    def preview(self, obj: Message) -> str:
        """Return the beginning of the text."""
        text = obj.text or ""
        return f"{text[:PREVIEW]}…" if len(text) > PREVIEW else text

    @admin.display(description="content")
    def structured_content(self, obj: Message) -> SafeString:
        """Return the structured part."""
        return _as_json(obj.content)

    @admin.display(description="delivery")
    def delivery_state(self, obj: Message) -> SafeString:
        """Return when it was sent, delivered, read."""
        return _as_json(obj.delivery)

    @admin.display(description="receipts")
    def receipts(self, obj: Message) -> SafeString:
        """Return every status Meta reported for it, in order of its time."""
        statuses = MessageStatus.objects.filter(
            tenant_id=obj.tenant_id,
            workspace_id=obj.workspace_id,
            platform_message_id=obj.platform_message_id,
        )
        # Formatted before: what format_html_join gets is escaped, and so text, first.
        rows = [(r.status, f"{r.timestamp_utc:%Y-%m-%d %H:%M:%S}") for r in oldest_first(statuses)]
        return format_html_join("", "<div>{} at {} UTC</div>", rows)

    @admin.display(description="file")
    def file(self, obj: Message) -> str:
        """Return what is known of its file."""
        media = Media.objects.filter(tenant_id=obj.tenant_id, message_id=obj.pk).first()
        return "" if media is None else f"{media.mime_type} {media.filename} ({media.state})"


@admin.register(MessageStatus)
class MessageStatusAdmin(WorkspaceRowsAdmin):
    """Receipts as Meta reported them."""

    deferred = ("callback_data",)
    list_display = ("timestamp_utc", "tenant", "status", "platform_message_id", "created_at")
    list_display_links = ("timestamp_utc",)
    list_filter = (TenantFilter, WorkspaceFilter, RecordedFilter)
    sortable_by = ()
    fields = names(
        "id tenant workspace_id platform_message_id status participant recipient errors pricing "
        "timestamp_utc created_at"
    )


@admin.register(Media)
class MediaAdmin(WorkspaceRowsAdmin):
    """Metadata of files; the files themselves stay with Meta until somebody asks, or are kept."""

    list_display = (
        "created_at",
        "tenant",
        "mime_type",
        "filename",
        "size_bytes",
        "state",
        "archive_state",
    )
    list_display_links = ("created_at",)
    list_filter = (TenantFilter, WorkspaceFilter, "state", "archive_state", ArrivedFilter)
    sortable_by = ()
    fields = names(
        "id tenant message mime_type filename size_bytes sha256 voice animated state expires_at "
        "archive_state archive_error archived_day created_at"
    )


def _as_json(value: object) -> SafeString:
    if not value:
        return format_html("{}", "–")
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="font-mono whitespace-pre-wrap">{}</pre>', text)
