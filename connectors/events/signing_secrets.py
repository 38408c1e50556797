"""Signing secrets of event subscriptions: made here, sealed here, opened here.

The form is that of Standard Webhooks: ``whsec_`` and 24 to 64 random bytes in base64.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct, json

from lib.envelope import associated_data
from workspaces import keys

PLACE = "event_subscriptions.sealed_secrets"
PREFIX = "whsec_"
BYTES = 32


class SigningSecret(Struct, frozen=True):
    """A secret in plaintext; without an end it lives until it is replaced."""

    value: str
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it still signs."""
        return self.expires_at is None or self.expires_at > now


_decoder = json.Decoder(list[SigningSecret])


def new() -> SigningSecret:
    """Return a secret that nobody has seen."""
    return SigningSecret(PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode())


def seal(values: Sequence[SigningSecret], *, tenant_id: UUID, subscription_id: UUID) -> bytes:
    """Return the sealed form of a subscription's secrets.

    Raises:
        workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
    """
    place = associated_data(tenant_id, PLACE, subscription_id)
    return keys.field_cipher(tenant_id).seal(json.encode(values), place)


def live(
    sealed: bytes, *, tenant_id: UUID, subscription_id: UUID, now: datetime
) -> list[SigningSecret]:
    """Return the secrets that sign at ``now``, newest first.

    Raises:
        workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
        lib.envelope.CannotOpen: altered, or moved from another subscription.
    """
    place = associated_data(tenant_id, PLACE, subscription_id)
    opened = keys.field_cipher(tenant_id).open(sealed, place)
    return [secret for secret in _decoder.decode(opened) if secret.is_live(now)]
