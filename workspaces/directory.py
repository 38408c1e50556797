"""Who answers at which callback URL, and with which secrets: what the receiver looks up per
request.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings

from workspaces import secrets
from workspaces.models import (
    INSTALLATION_ID,
    DirectoryVersion,
    SecretKind,
    Tenant,
    TenantSecret,
    TenantStatus,
)


@dataclass(frozen=True, slots=True)
class Route:
    """One callback URL: whose it is, and the secrets that are live there."""

    tenant_id: UUID
    slug: str
    app_secrets: tuple[bytes, ...] = field(repr=False)
    verify_tokens: tuple[bytes, ...] = field(repr=False)

    def accepts_verify_token(self, token: bytes) -> bool:
        """Compare with every live verify token in constant time."""
        matches = [hmac.compare_digest(token, live) for live in self.verify_tokens]
        return any(matches)


@dataclass(frozen=True, slots=True)
class Directory:
    """All routes, by the text that stands in the URL (slug or UUID, lower case)."""

    version: int
    routes: dict[str, Route]
    installation: Route
    next_expiry: datetime | None

    def find(self, segment: str) -> Route | None:
        """Return the route of a URL segment; the empty one is the installation's own."""
        return self.routes.get(segment.lower()) if segment else self.installation


def current_version() -> int:
    """Return the number that triggers raise with every change of tenants, keys or secrets."""
    return DirectoryVersion.objects.values_list("version", flat=True).first() or 0


def load(now: datetime) -> Directory:
    """Read the whole directory as it stands at ``now``."""
    version = current_version()  # before the rows: a change in between makes us load once more
    live = list(secrets.live(now).exclude(kind=SecretKind.ACCESS_TOKEN))
    by_tenant: dict[UUID, list[TenantSecret]] = {}
    for secret in live:
        by_tenant.setdefault(secret.tenant_id, []).append(secret)
    routes: dict[str, Route] = {}
    for tenant in Tenant.objects.exclude(status=TenantStatus.ERASING):
        route = _route(tenant, by_tenant.get(tenant.id, ()))
        routes[tenant.slug.lower()] = routes[str(tenant.id)] = route
    expiries = [secret.expires_at for secret in live if secret.expires_at]
    return Directory(version, routes, _installation(), min(expiries, default=None))


def _route(tenant: Tenant, stored: Iterable[TenantSecret]) -> Route:
    configured = settings.SIGMA_WHATSAPP
    opened = [(secret.kind, secrets.reveal(secret).encode()) for secret in stored]
    own_secrets = tuple(value for kind, value in opened if kind == SecretKind.APP_SECRET)
    own_tokens = tuple(value for kind, value in opened if kind == SecretKind.VERIFY_TOKEN)
    fallback = (
        configured.app_secrets.get(tenant.slug.lower())
        or configured.app_secrets.get(str(tenant.id))
        or configured.default_app_secret
    )
    return Route(
        tenant.id,
        tenant.slug,
        own_secrets or _present(fallback),
        own_tokens or _present(configured.verify_token),
    )


def _installation() -> Route:
    configured = settings.SIGMA_WHATSAPP
    return Route(
        UUID(INSTALLATION_ID),
        "",
        _present(configured.default_app_secret),
        _present(configured.verify_token),
    )


def _present(value: str) -> tuple[bytes, ...]:
    return (value.encode(),) if value else ()
