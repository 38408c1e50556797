"""Tenants: their secrets, what to paste at Meta's, and what is missing in their set-up."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache

from lib import clock
from workspaces import provisioning, secrets, setup_check, staff, token_checks
from workspaces.admin.base import ScopedAdmin, UnfoldTabularInline, adopt
from workspaces.admin.forms import SecretForm, TenantForm
from workspaces.models import SecretKind, Tenant, TenantSecret, TenantStatus


class SecretInline(UnfoldTabularInline):
    """The tenant's secrets, without their values."""

    model = TenantSecret
    form = SecretForm
    extra = 0
    hide_title = True
    fields = ("kind", "value", "label", "expires_at", "added", "at_meta")
    readonly_fields = ("added", "at_meta")
    template_before = "workspaces/secrets_help.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantSecret]:
        """Return the secrets in the order they were added."""
        return super().get_queryset(request).order_by("kind", "id")

    @admin.display(description="added")
    def added(self, obj: TenantSecret) -> str:
        """Return when it was stored; a row being filled in has no such time yet."""
        return "" if obj._state.adding else f"{obj.created_at:%d %b %Y}"

    @admin.display(description="at Meta")
    def at_meta(self, obj: TenantSecret) -> str:
        """Return what Meta last said of it."""
        return "" if obj._state.adding else token_checks.answer_about(obj).sentence

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Managers handle secrets; others do not even see how many there are."""
        return staff.manages(request.user, obj and obj.pk)

    has_change_permission = has_delete_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Managers add."""
        return self.has_view_permission(request, obj)


@admin.register(Tenant)
class TenantAdmin(ScopedAdmin):
    """Tenants. Only superusers make them, and nobody deletes them here."""

    form = TenantForm
    list_display = ("name", "slug", "status", "retention_days", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug")
    ordering = ("slug",)
    inlines = (SecretInline,)
    change_form_outer_before_template = "workspaces/tenant_overview.html"

    def tenant_id_of(self, obj: Any) -> UUID:
        """Return the row's own id."""
        tenant_id: UUID = obj.pk
        return tenant_id

    def belonging_to(self, queryset: QuerySet[Any], tenants: QuerySet[Tenant]) -> QuerySet[Any]:
        """Return the tenants that are among ``tenants``."""
        return queryset.filter(pk__in=tenants.values("pk"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers make tenants."""
        return staff.is_superuser(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Managers change; a tenant being erased is left alone."""
        erasing = obj is not None and obj.status == TenantStatus.ERASING
        return not erasing and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for the least at first; secrets and the rest follow on the tenant's page."""
        return TenantForm.Meta.fields if obj else ("name", "slug", "retention_days")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the slug: Meta calls the URL that contains it."""
        return ("slug",) if obj else ()

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Suggest a slug."""
        return {} if obj else {"slug": ("name",)}

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Show secrets once there is a tenant to seal them for."""
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make a new tenant with keys of its own."""
        if change:
            obj.save()
        else:
            adopt(
                obj,
                provisioning.create_tenant(
                    slug=obj.slug, name=obj.name, retention_days=obj.retention_days
                ),
            )

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Store secrets, and try each new one at Meta once it is stored: whether that can be
        reached or not, it stays.
        """
        super().save_formset(request, form, formset, change)
        for secret in formset.new_objects:
            if isinstance(secret, TenantSecret) and secret.kind != SecretKind.VERIFY_TOKEN:
                transaction.on_commit(partial(self._try_out, request, secret), robust=True)

    def _try_out(self, request: HttpRequest, secret: TenantSecret) -> None:
        answer = token_checks.try_out(secret, now=clock.now())
        level = {True: messages.SUCCESS, False: messages.ERROR, None: messages.WARNING}
        kind = secret.get_kind_display()
        self.message_user(request, f"{kind}: {answer.sentence}", level[answer.is_good])

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Go on to the tenant's page, which says what is still missing."""
        self.message_user(
            request, f"{obj.name} has its keys. What is still missing is listed here."
        )
        return HttpResponseRedirect(reverse("admin:workspaces_tenant_change", args=(obj.pk,)))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add the set-up check and the callback URL to the page."""
        tenant = context.get("original")
        if tenant is not None:
            context["callback_url"] = provisioning.callback_url(tenant.slug)
            context["findings"] = setup_check.findings_of(tenant, now=clock.now())
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that shows the verify token."""
        view = self.admin_site.admin_view(never_cache(self.connect_view))
        own = path("<uuid:tenant_id>/connect/", view, name="workspaces_tenant_connect")
        return [own, *super().get_urls()]

    def connect_view(self, request: HttpRequest, tenant_id: UUID) -> HttpResponse:
        """Show what Meta's app dashboard asks for; the verify token only when asked to (POST)."""
        tenant = get_object_or_404(self.get_queryset(request), pk=tenant_id)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"Connect {tenant.name} to Meta",
            "opts": self.opts,
            "original": tenant,
            "callback_url": provisioning.callback_url(tenant.slug),
            "may_reveal": staff.is_superuser(request.user),
        }
        if request.method == "POST":
            context["revealed"] = True
            context["verify_token"] = self._reveal(request, tenant)
        return TemplateResponse(request, "workspaces/connect.html", context)

    def _reveal(self, request: HttpRequest, tenant: Tenant) -> str | None:
        if not staff.is_superuser(request.user):
            raise PermissionDenied("Only a superuser may see the verify token.")
        self.log_change(request, tenant, "Looked at the verify token.")
        return secrets.newest(tenant_id=tenant.pk, kind=SecretKind.VERIFY_TOKEN, now=clock.now())
