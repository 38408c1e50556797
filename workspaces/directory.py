"""Who answers at which callback URL, and with which secrets: what the receiver looks up per
request.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.conf import settings

from lib.envelope import CannotOpen
from workspaces import secrets
from workspaces.keys import TenantHasNoKeys, UnknownMasterKey
from workspaces.models import (
    INSTALLATION_ID,
    DirectoryVersion,
    SecretKind,
    Tenant,
    TenantSecret,
    TenantStatus,
)

logger = logging.getLogger("sigma.whatsapp.webhooks")

# Why a sealed secret does not open; the last two are those of a row in ruins.
DOES_NOT_OPEN = (CannotOpen, TenantHasNoKeys, UnknownMasterKey, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Route:
    """One callback URL: whose it is, and the secrets that are live there."""

    tenant_id: UUID
    slug: str
    app_secrets: tuple[bytes, ...] = field(repr=False)
    verify_tokens: tuple[bytes, ...] = field(repr=False)
    expiries: tuple[tuple[datetime, bytes], ...] = field(default=(), repr=False)

    def at(self, now: datetime) -> Route:
        """Return the route without the secrets that have expired at ``now``."""
        gone = {value for expires_at, value in self.expiries if expires_at <= now}
        if not gone:
            return self
        return replace(
            self,
            app_secrets=tuple(value for value in self.app_secrets if value not in gone),
            verify_tokens=tuple(value for value in self.verify_tokens if value not in gone),
            expiries=tuple(pair for pair in self.expiries if pair[0] > now),
        )

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

    def at(self, now: datetime) -> Directory:
        """Return the directory without the secrets that have expired at ``now``: expiry does not
        wait for the database.
        """
        routes = {name: route.at(now) for name, route in self.routes.items()}
        return replace(self, routes=routes, next_expiry=_next_expiry(routes))


def current_version() -> int:
    """Return the number that triggers raise with every change of tenants, keys or secrets."""
    return DirectoryVersion.objects.values_list("version", flat=True).first() or 0


def load(now: datetime) -> Directory:
    """Read the whole directory as it stands at ``now``; a secret that does not open is left out."""
    version = current_version()  # before the rows: a change in between makes us load once more
    by_tenant: dict[UUID, list[TenantSecret]] = {}
    for secret in secrets.live(now).exclude(kind=SecretKind.ACCESS_TOKEN):
        by_tenant.setdefault(secret.tenant_id, []).append(secret)
    routes: dict[str, Route] = {}
    for tenant in Tenant.objects.exclude(status=TenantStatus.ERASING):
        route = _route(tenant, by_tenant.get(tenant.id, ()))
        routes[tenant.slug.lower()] = routes[str(tenant.id)] = route
    return Directory(version, routes, _installation(), _next_expiry(routes))


def _next_expiry(routes: dict[str, Route]) -> datetime | None:
    return min((at for route in routes.values() for at, _ in route.expiries), default=None)


def _route(tenant: Tenant, stored: Collection[TenantSecret]) -> Route:
    configured = settings.SIGMA_WHATSAPP
    fallback = next(iter(configured.app_secrets_of(tenant.slug, tenant.id)), "")
    opened = [(secret, value) for secret in stored if (value := _open(secret)) is not None]
    # A tenant whose own secret does not open is not to be had with the installation's instead.
    has = {secret.kind for secret in stored}
    own = {
        kind: tuple(value for secret, value in opened if secret.kind == kind)
        for kind in (SecretKind.APP_SECRET, SecretKind.VERIFY_TOKEN)
    }
    return Route(
        tenant.id,
        tenant.slug,
        own[SecretKind.APP_SECRET] if SecretKind.APP_SECRET in has else _present(fallback),
        own[SecretKind.VERIFY_TOKEN]
        if SecretKind.VERIFY_TOKEN in has
        else _present(configured.verify_token),
        tuple((secret.expires_at, value) for secret, value in opened if secret.expires_at),
    )


def _open(secret: TenantSecret) -> bytes | None:
    try:
        return secrets.reveal(secret).encode()
    except DOES_NOT_OPEN as error:
        logger.error(
            "whatsapp secret does not open, left out",
            extra={"tenant": secret.tenant_id, "secret": secret.pk, "error": type(error).__name__},
        )
        return None


def _installation() -> Route:
    configured = settings.SIGMA_WHATSAPP
    return Route(
        INSTALLATION_ID,
        "",
        _present(configured.default_app_secret),
        _present(configured.verify_token),
    )


def _present(value: str) -> tuple[bytes, ...]:
    return (value.encode(),) if value else ()
