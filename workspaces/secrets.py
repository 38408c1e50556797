"""Seal and open tenants' secrets. No other app decrypts one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from lib.envelope import associated_data
from workspaces import keys
from workspaces.models import SecretKind, Tenant, TenantSecret
from workspaces.tokens import check_app_secret, check_verify_token

PLACE = "tenant_secrets.sealed"


def add(
    *, tenant: Tenant, kind: str, value: str, label: str = "", expires_at: datetime | None = None
) -> TenantSecret:
    """Store a secret beside those already live.

    Raises:
        workspaces.tokens.UnusableToken: too short, or an example from the documentation.
    """
    value = check(kind=kind, value=value)
    sealed = keys.field_cipher(tenant.id).seal(value.encode(), _associated(tenant.id, kind))
    return TenantSecret.objects.create(
        tenant=tenant, kind=kind, label=label, sealed=sealed, expires_at=expires_at
    )


def check(*, kind: str, value: str) -> str:
    """Return ``value`` as it would be stored.

    Raises:
        workspaces.tokens.UnusableToken: too short, or an example from the documentation.
    """
    value = value.strip()
    if kind == SecretKind.VERIFY_TOKEN:
        return check_verify_token(value)
    if kind == SecretKind.APP_SECRET:
        return check_app_secret(value)
    return value


def reveal(secret: TenantSecret) -> str:
    """Return the secret in plaintext.

    Raises:
        lib.envelope.CannotOpen: altered, or moved from another tenant or kind.
    """
    associated = _associated(secret.tenant_id, secret.kind)
    return keys.field_cipher(secret.tenant_id).open(bytes(secret.sealed), associated).decode()


def live(now: datetime) -> QuerySet[TenantSecret]:
    """Return the secrets that have not expired at ``now``, newest first."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
    return TenantSecret.objects.filter(unexpired).order_by("-id")


def newest(*, tenant_id: UUID, kind: str, now: datetime) -> str | None:
    """Return the newest live secret of a kind, or ``None``."""
    row = live(now).filter(tenant_id=tenant_id, kind=kind).first()
    return None if row is None else reveal(row)


def _associated(tenant_id: UUID, kind: str) -> bytes:
    return associated_data(tenant_id, PLACE, kind)
