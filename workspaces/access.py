"""Who is asking, for which tenant, and what they may do: an API key or a signed-in user. All doors
but webhooks ask here.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from rest_framework.authentication import CSRFCheck

from lib.sql import select
from lib.ttl import TtlCache
from workspaces.models import ApiKey, Membership, Role, Tenant, TenantStatus, Workspace

KEY_PREFIX, BEARER = "sigma_", "bearer "
# Writing the time of every request would make each read a write.
LAST_USED_PRECISION = timedelta(minutes=1)
FIND_KEY = """
SELECT k.id, k.tenant_id, k.name, k.prefix, k.scopes, k.workspace_id, k.last_used_at
FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
WHERE k.digest = %s AND k.revoked_at IS NULL AND coalesce(k.expires_at > %s, true) AND t.status = %s
"""

_tenants: TtlCache[bytes, UUID] = TtlCache(seconds=600, size=20_000)


class Scope(StrEnum):
    """One permission; a key holds any number of them."""

    MESSAGES_READ = "messages:read"
    RAW_READ = "raw:read"
    MEDIA_READ = "media:read"
    WORKSPACES_READ = "workspaces:read"
    WORKSPACES_WRITE = "workspaces:write"
    LEDGER_READ = "ledger:read"
    MESSAGES_SEND = "messages:send"
    CONTACTS_LOOKUP = "contacts:lookup"
    CONTACTS_ERASE = "contacts:erase"
    CONTACTS_BLOCK = "contacts:block"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    BROADCASTS_READ = "broadcasts:read"
    BROADCASTS_WRITE = "broadcasts:write"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    SENDING_MANAGE = "sending:manage"
    NUMBERS_READ = "numbers:read"
    SENDER_READ = "sender:read"
    SENDER_MANAGE = "sender:manage"


ALL_SCOPES = frozenset(Scope)
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


class NotAuthenticated(Exception):
    """Send an API key (Authorization: Bearer …) or sign in."""


class NotAllowed(Exception):
    """The caller lacks a permission; the message names it."""


class TenantRequired(Exception):
    """The signed-in user belongs to several tenants; name one in the X-Sigma-Tenant header."""


class WrongTenant(Exception):
    """You do not belong to the tenant that you named."""

    def __init__(self) -> None:
        # The same for one that is not there: who asks must not learn which there are.
        super().__init__(self.__doc__)


class UnknownScope(ValueError):
    """A scope that does not exist was asked for."""


class ForeignWorkspace(Exception):
    """An API key was to be bound to a workspace that its tenant does not have."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of one request, bound to one tenant, and maybe to one ``workspace_id``: a user, or
    the API key of an id and a name; ``bucket`` is what their rates are counted under.
    """

    tenant_id: UUID
    scopes: frozenset[str]
    label: str
    bucket: str
    workspace_id: UUID | None = None
    user_id: int | None = None
    key_id: UUID | None = None
    key_name: str = ""

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


class LiveKey(NamedTuple):
    """An API key that may be used."""

    id: UUID
    tenant_id: UUID
    name: str
    prefix: str
    scopes: list[str]
    workspace_id: UUID | None
    last_used_at: datetime | None


def issue_api_key(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    workspace: Workspace | None = None,
) -> tuple[ApiKey, str]:
    """Create an API key; return its row and the key itself, which is not kept anywhere.

    With a ``workspace`` the key opens the sender service alone, for that workspace.

    Raises:
        UnknownScope: a scope that does not exist.
        ForeignWorkspace: the workspace is another tenant's.
    """
    check_scopes(scopes)
    if workspace is not None and workspace.tenant_id != tenant.pk:
        raise ForeignWorkspace("The tenant has no such workspace.")
    clear = KEY_PREFIX + secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        tenant=tenant,
        workspace=workspace,
        name=name,
        prefix=clear[: len(KEY_PREFIX) + 4],
        digest=digest_api_key(clear),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return row, clear


def usable_api_keys(now: datetime) -> QuerySet[ApiKey]:
    """Return the API keys that are neither revoked nor expired at ``now``."""
    return ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def digest_api_key(clear: str) -> bytes:
    """Return the SHA-256 under which an API key is found (256 random bits need no slow hash)."""
    return hashlib.sha256(clear.encode("utf-8", "replace")).digest()


def check_scopes(scopes: Iterable[str]) -> None:
    """Refuse anything that is not a scope.

    Raises:
        UnknownScope: names the first unknown one.
    """
    for scope in scopes:
        if scope not in ALL_SCOPES:
            raise UnknownScope(f"{scope!r} is not a scope; there are: {', '.join(sorted(Scope))}.")


def actor_of(request: HttpRequest, *, now: datetime) -> Actor:
    """Return the caller of a request: ``Authorization: Bearer``, ``X-API-Key``, else the session.

    A request that carries a key is judged by the key alone. Browsers attach the session cookie to
    other sites' requests too, so a change made with it must carry Django's CSRF token.

    Raises:
        NotAuthenticated: nobody, or not a valid key.
        NotAllowed: the CSRF token is missing or wrong, or the key is bound to one workspace: that
            one opens the sender service alone.
        TenantRequired: the user must name one of several tenants.
        WrongTenant: the user named one that is not theirs.
    """
    headers = request.headers
    if key := key_in(headers.get("Authorization", ""), headers.get("X-API-Key", "")):
        actor = by_api_key(key, now=now)
        if actor.workspace_id is not None:
            raise NotAllowed(
                "This API key is bound to one workspace; it opens the sender service and nothing "
                "else."
            )
        return actor
    actor = by_session(request.user, tenant=headers.get("X-Sigma-Tenant", ""))
    check = CSRFCheck(lambda _: None)
    check.process_request(request)
    if check.process_view(request, None, (), {}):
        raise NotAllowed("Send the CSRF token of your session in the X-CSRFToken header.")
    return actor


def key_in(authorization: str, x_api_key: str) -> str:
    """Return the API key in these two headers, right or wrong; empty: there is none."""
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip()
    return x_api_key.strip()


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
    return Actor(
        key.tenant_id,
        frozenset(key.scopes),
        label,
        f"key:{key.id}",
        key.workspace_id,
        key_id=key.id,
        key_name=key.name,
    )


def last_seen_with(digest: bytes) -> UUID | None:
    """Return whose key has this digest, by its last use here, without asking the database: fit for
    sharing out, not for letting in.
    """
    return _tenants.get(digest)


def by_session(user: AbstractBaseUser | AnonymousUser, *, tenant: str = "") -> Actor:
    """Return the actor of a signed-in user; ``tenant`` (slug or UUID) chooses among several.

    A superuser may act for any tenant.

    Raises:
        NotAuthenticated: nobody is signed in, or the user belongs to no tenant.
        TenantRequired: the user belongs to several tenants and named none.
        WrongTenant: the user does not belong to that tenant, if there is one.
    """
    if not user.is_authenticated or not user.is_active:
        raise NotAuthenticated("Send an API key (Authorization: Bearer …) or sign in.")
    choices = _choices(user)
    if tenant:
        wanted = tenant.lower()
        choices = [c for c in choices if wanted in (c[0], str(c[1]))]
        if not choices:
            raise WrongTenant
    if not choices:
        raise NotAuthenticated("You do not belong to any tenant.")
    if len(choices) > 1:
        raise TenantRequired("Name a tenant in the X-Sigma-Tenant header (slug or id).")
    _, tenant_id, role = choices[0]
    scopes = ALL_SCOPES if role == Role.MANAGER else VIEWER_SCOPES
    return Actor(
        tenant_id,
        frozenset(scopes),
        f"user {user.pk}",
        f"user:{user.pk}",
        user_id=int(user.pk or 0),
    )


def _choices(user: AbstractBaseUser | AnonymousUser) -> list[tuple[str, UUID, str]]:
    if getattr(user, "is_superuser", False):
        tenants = Tenant.objects.filter(status=TenantStatus.ACTIVE).values_list("slug", "id")
        return [(slug, tenant_id, Role.MANAGER) for slug, tenant_id in tenants]
    rows = Membership.objects.filter(user_id=int(user.pk or 0), tenant__status=TenantStatus.ACTIVE)
    return list(rows.values_list("tenant__slug", "tenant_id", "role"))
