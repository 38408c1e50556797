"""API keys: issued, shown once, revoked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from lib import clock
from workspaces import access, staff
from workspaces.admin.base import ScopedAdmin, adopt
from workspaces.admin.filters import TenantFilter
from workspaces.admin.forms import ApiKeyForm
from workspaces.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """API keys. A key cannot be changed: issue another and revoke the old one."""

    form = ApiKeyForm
    list_display = (
        "name",
        "tenant",
        "workspace",
        "prefix",
        "state",
        "allowed",
        "last_used_at",
        "created_at",
    )
    list_filter = (TenantFilter,)
    list_select_related = ("tenant", "workspace")
    search_fields = ("name", "prefix")
    ordering = ("-created_at",)
    autocomplete_fields = ("tenant", "workspace")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for the least; show the rest once there is a key."""
        asked = ("tenant", "name", "workspace", "scopes", "expires_at")
        return (*asked, "prefix", "state", "last_used_at", "revoked_at") if obj else asked

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let nothing of an issued key be edited."""
        return self.get_fields(request, obj) if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a key."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Managers revoke."""
        return staff.manages(request.user)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Leave one button: after it comes the page with the key."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="allowed")
    def allowed(self, obj: ApiKey) -> str:
        """Return the scopes."""
        return ", ".join(obj.scopes)

    @admin.display(description="state")
    def state(self, obj: ApiKey) -> str:
        """Return whether the key works."""
        if obj.revoked_at:
            return "revoked"
        expired = obj.expires_at is not None and obj.expires_at <= clock.now()
        return "expired" if expired else "live"

    @admin.action(description="Revoke the selected keys", permissions=("revoke",))
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Refuse the keys from now on."""
        mine = queryset.filter(tenant__in=staff.tenants_managed_by(request.user), revoked_at=None)
        revoked = list(mine)
        mine.update(revoked_at=clock.now())
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Revoked {len(revoked)} API key(s).", messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Issue the key; its clear form lives until the answer is written."""
        made, clear = access.issue_api_key(
            tenant=obj.tenant,
            name=obj.name,
            scopes=obj.scopes,
            expires_at=obj.expires_at,
            workspace=obj.workspace,
        )
        adopt(obj, made)
        obj.clear = clear

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key on the answer itself: a message would pass through cookie or session."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new API key",
            "opts": self.opts,
            "original": obj,
            "clear": obj.clear,
        }
        response = TemplateResponse(request, "workspaces/api_key_issued.html", context)
        add_never_cache_headers(response)
        return response
