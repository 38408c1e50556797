"""Find a tenant by what people call it on a command line."""

from __future__ import annotations

from uuid import UUID

from django.core.management.base import CommandError

from workspaces.models import Tenant


class NoSuchTenant(CommandError):
    """There is no tenant with this slug or id; a command that does not catch it ends with this."""


def find_tenant(name: str) -> Tenant:
    """Return the tenant whose slug or UUID is ``name``.

    Raises:
        NoSuchTenant: neither matches.
    """
    tenant = Tenant.objects.filter(slug=name.lower()).first() or _by_id(name)
    if tenant is None:
        raise NoSuchTenant(f"There is no tenant {name!r}.")
    return tenant


def _by_id(name: str) -> Tenant | None:
    try:
        return Tenant.objects.filter(pk=UUID(name)).first()
    except ValueError:
        return None
