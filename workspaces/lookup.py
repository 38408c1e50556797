"""Find a tenant by what people call it."""

from __future__ import annotations

from uuid import UUID

from workspaces.models import Tenant


class NoSuchTenant(Exception):
    """There is no tenant with this slug or id."""


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
