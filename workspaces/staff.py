"""What staff may see and change: memberships decide, not Django's permissions."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import QuerySet

from workspaces.models import Role, Tenant

User = AbstractBaseUser | AnonymousUser


def is_superuser(user: User) -> bool:
    """Whether the user runs the installation."""
    return bool(getattr(user, "is_superuser", False)) and user.is_active


def tenants_seen_by(user: User) -> QuerySet[Tenant]:
    """Return the tenants a user sees: all for a superuser, else those of their memberships."""
    if is_superuser(user):
        return Tenant.objects.all()
    return _joined_by(user)


def tenants_managed_by(user: User) -> QuerySet[Tenant]:
    """Return the tenants whose workspaces, secrets and keys a user may change (``MANAGER``)."""
    if is_superuser(user):
        return Tenant.objects.all()
    return _joined_by(user, memberships__role=Role.MANAGER)


def sees(user: User, tenant_id: UUID | None = None) -> bool:
    """Whether a user may look at a tenant, or at any where none is named."""
    return _includes(tenants_seen_by(user), user, tenant_id)


def manages(user: User, tenant_id: UUID | None = None) -> bool:
    """Whether a user may change a tenant, or any where none is named."""
    return _includes(tenants_managed_by(user), user, tenant_id)


def _joined_by(user: User, **membership: str) -> QuerySet[Tenant]:
    """Return the tenants of a user's memberships; of nobody's are those that have no members."""
    if user.pk is None:
        return Tenant.objects.none()
    return Tenant.objects.filter(memberships__user=user.pk, **membership)


def _includes(tenants: QuerySet[Tenant], user: User, tenant_id: UUID | None) -> bool:
    if is_superuser(user):
        return True
    return (tenants if tenant_id is None else tenants.filter(pk=tenant_id)).exists()
