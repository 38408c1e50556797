"""What every page of the admin shares: own tenants' rows only, and lists that never count all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Field, ForeignKey, Model, OuterRef, QuerySet, Subquery
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils.functional import cached_property

from workspaces import staff
from workspaces.models import Tenant, Workspace

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
    UnfoldAdmin = admin.ModelAdmin[Any]
    UnfoldTabularInline = admin.TabularInline[Any, Any]
else:
    AnyPaginator = Paginator
    from unfold.admin import ModelAdmin as UnfoldAdmin
    from unfold.admin import TabularInline as UnfoldTabularInline

__all__ = [
    "BoundedPaginator",
    "ManagedAdmin",
    "ReadOnlyAdmin",
    "ScopedAdmin",
    "SuperusersOnly",
    "UnfoldTabularInline",
    "adopt",
    "names",
]

# Further pages would cost an ever longer OFFSET, and nobody reads that far.
MOST_ROWS = 10_000


def names(text: str) -> tuple[str, ...]:
    """Return the names in a text, which spaces part: of the columns that a page shows."""
    return tuple(text.split())


class BoundedPaginator(AnyPaginator):
    """Count to 10,000 and no further: ``count(*)`` of a large table reads all of it."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, at most 10,000."""
        rows: Any = self.object_list
        return int(rows.values("pk")[:MOST_ROWS].count())


class ScopedAdmin(UnfoldAdmin):
    """An admin page whose rows belong to tenants.

    Members see their tenants' rows, managers may change them, superusers see and change all.
    """

    list_per_page = 50
    show_full_result_count = False
    compressed_fields = True

    def tenant_id_of(self, obj: Any) -> UUID:
        """Return the tenant a row belongs to."""
        tenant_id: UUID = obj.tenant_id
        return tenant_id

    def belonging_to(self, queryset: QuerySet[Any], tenants: QuerySet[Tenant]) -> QuerySet[Any]:
        """Return the rows of some tenants."""
        return queryset.filter(tenant_id__in=tenants.values("pk"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows this user may see."""
        queryset = super().get_queryset(request)
        if staff.is_superuser(request.user):
            return queryset
        return self.belonging_to(queryset, staff.tenants_seen_by(request.user))

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """Offer, and accept, only tenants that this user manages, and their workspaces."""
        managed = staff.tenants_managed_by(request.user)
        if db_field.related_model is Tenant:
            kwargs["queryset"] = managed
        if db_field.related_model is Workspace:
            kwargs["queryset"] = Workspace.objects.filter(tenant__in=managed)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether to show the page in the menu."""
        return staff.sees(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Members see."""
        return staff.sees(request.user, obj and self.tenant_id_of(obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Managers add."""
        return staff.manages(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Managers change."""
        return staff.manages(request.user, obj and self.tenant_id_of(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes here, unless the page says otherwise."""
        return False


class SuperusersOnly:
    """A page for superusers: who edits it could make themselves one, or a tenant's manager."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return staff.is_superuser(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return staff.is_superuser(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return staff.is_superuser(request.user)

    has_change_permission = has_delete_permission = has_view_permission


class ReadOnlyAdmin(ScopedAdmin):
    """Rows that the software writes and people read; ``deferred`` columns are not fetched."""

    paginator = BoundedPaginator
    list_fullwidth = True
    # Facets would count each filter's rows over the whole table.
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-pk",)
    deferred: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows without their heavy columns, each with its tenant's slug."""
        slug = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("slug")
        rows: QuerySet[Any] = super().get_queryset(request).defer(*self.deferred)
        annotated: QuerySet[Any] = rows.annotate(tenant_slug=Subquery(slug))
        return annotated

    @admin.display(description="tenant")
    def tenant(self, obj: Any) -> str:
        """Return the tenant's slug."""
        return str(obj.tenant_slug or "(shared app)")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Name every shown field: none can be edited."""
        return tuple(self.fields or ()) or tuple(_plain_fields(self.model, self.deferred))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False


class ManagedAdmin(ReadOnlyAdmin):
    """Rows that nobody edits, and that managers may act on."""

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Managers act."""
        return staff.manages(request.user)

    def mine(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of the selected rows that the user may act on."""
        if staff.is_superuser(request.user):
            return queryset
        return self.belonging_to(queryset, staff.tenants_managed_by(request.user))


def _plain_fields(model: type[Model], deferred: tuple[str, ...]) -> list[str]:
    fields: list[Field[Any, Any]] = [f for f in model._meta.fields if f.name not in deferred]
    return [field.name for field in fields]


def adopt(shell: Model, made: Model) -> None:
    """Let the instance that an admin form filled in stand for the row that the domain made."""
    shell.__dict__.update(made.__dict__)
