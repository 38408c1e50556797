"""Who is asking, for which tenant, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from lib.sql import select
from lib.ttl import TtlCache
from workspaces.models import ApiKey, Membership, Role, Tenant, TenantStatus
from workspaces.provisioning import KEY_PREFIX, digest_api_key
from workspaces.scopes import ALL_SCOPES, Scope

VIEWER_SCOPES = frozenset(
    {
        Scope.MESSAGES_READ,
        Scope.MEDIA_READ,
        Scope.WORKSPACES_READ,
        Scope.TEMPLATES_READ,
        Scope.BROADCASTS_READ,
        Scope.EVENTS_READ,
        Scope.SENDER_READ,
    }
)
# Writing the time of every request would make each read a write.
LAST_USED_PRECISION = timedelta(minutes=1)


_tenants: TtlCache[bytes, UUID] = TtlCache(seconds=600, size=20_000)


class LiveKey(NamedTuple):
    """An API key that may be used."""

    id: UUID
    tenant_id: UUID
    prefix: str
    scopes: list[str]
    workspace_id: UUID | None
    last_used_at: datetime | None


FIND_KEY = """
SELECT k.id, k.tenant_id, k.prefix, k.scopes, k.workspace_id, k.last_used_at
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
WHERE k.digest = %s AND k.revoked_at IS NULL AND coalesce(k.expires_at > %s, true) AND t.status = %s
"""


class NotAuthenticated(Exception):
    """Send an API key (Authorization: Bearer …) or sign in."""


class NotAllowed(Exception):
    """The caller lacks a permission; the message names it."""


class TenantRequired(Exception):
    """The signed-in user belongs to several tenants; name one in the X-Sigma-Tenant header."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of one request, bound to one tenant, and maybe to one ``workspace_id``."""

    tenant_id: UUID
    scopes: frozenset[str]
    label: str
    workspace_id: UUID | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the caller has a permission."""
        return scope in self.scopes

    def require(self, scope: Scope) -> Actor:
        """Return the caller, who has a permission.

        Raises:
            NotAllowed: the caller lacks it.
        """
        if not self.may(scope):
            raise NotAllowed(f"This needs the permission {scope.value}.")
        return self


def by_api_key(clear: str, *, now: datetime) -> Actor:
    """Return the actor of an API key.

    Raises:
        NotAuthenticated: unknown, expired or revoked, or its tenant is not active.
    """
    if not clear.startswith(KEY_PREFIX):
        raise NotAuthenticated("The API key is not valid.")
    digest = digest_api_key(clear)
    found = select(LiveKey, FIND_KEY, [digest, now, TenantStatus.ACTIVE.value])
    if not found:
        raise NotAuthenticated("The API key is not valid.")
    (key,) = found
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_PRECISION:
        ApiKey.objects.filter(pk=key.id).update(last_used_at=now)
    _tenants.put(digest, key.tenant_id)
    label = f"API key {key.prefix}…"
    return Actor(key.tenant_id, frozenset(key.scopes), label, key.workspace_id)


def last_seen_with(digest: bytes) -> UUID | None:
    """Return whose key has this digest, by its last use here, without asking the database: fit for
    sharing out, not for letting in.
    """
    return _tenants.get(digest)


def by_session(user: AbstractBaseUser | AnonymousUser, *, tenant: str = "") -> Actor:
    """Return the actor of a signed-in user; ``tenant`` (slug or UUID) chooses among several.

    A superuser may act for any tenant.

    Raises:
        NotAuthenticated: nobody is signed in, or the user does not belong to that tenant.
        TenantRequired: the user belongs to several tenants and named none.
    """
    if not user.is_authenticated or not user.is_active:
        raise NotAuthenticated("Send an API key (Authorization: Bearer …) or sign in.")
    choices = _choices(user)
    if tenant:
        wanted = tenant.lower()
        choices = [c for c in choices if wanted in (c[0], str(c[1]))]
    if not choices:
        raise NotAuthenticated("You do not belong to this tenant.")
    if len(choices) > 1:
        raise TenantRequired("Name a tenant in the X-Sigma-Tenant header (slug or id).")
    _, tenant_id, role = choices[0]
    scopes = ALL_SCOPES if role == Role.MANAGER else VIEWER_SCOPES
    return Actor(tenant_id, frozenset(scopes), f"user {user.pk}")


def _choices(user: AbstractBaseUser | AnonymousUser) -> list[tuple[str, UUID, str]]:
    if getattr(user, "is_superuser", False):
        return _every_tenant()
    rows = Membership.objects.filter(user_id=int(user.pk or 0), tenant__status=TenantStatus.ACTIVE)
    return list(rows.values_list("tenant__slug", "tenant_id", "role"))


def _every_tenant() -> list[tuple[str, UUID, str]]:
    rows = Tenant.objects.filter(status=TenantStatus.ACTIVE).values_list("slug", "id")
    return [(slug, tenant_id, Role.MANAGER) for slug, tenant_id in rows]
