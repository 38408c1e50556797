"""Put bodies where the receiver puts callbacks, without the receiver: sealed, and owed, in the
caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import connection

from connectors.models import WebhookDelivery, WebhookPending
from connectors.whatsapp.raw import BLOCK, BODY
from lib.envelope import associated_data
from workspaces import keys


@dataclass(frozen=True, slots=True)
class Parcel:
    """A body for one tenant, and when it came."""

    tenant_id: UUID
    received_at: datetime
    body: bytes = field(repr=False)


def file(parcels: Sequence[Parcel]) -> None:
    """Seal bodies under their tenants' day keys and owe them to processing.

    Raises:
        workspaces.keys.TenantHasNoKeys: a tenant is unknown, or being erased.
    """
    pairs = list(zip(_take_ids(len(parcels)), parcels, strict=True))
    WebhookDelivery.objects.bulk_create(_delivery(*pair) for pair in pairs)
    WebhookPending.objects.bulk_create(
        WebhookPending(
            delivery_id=delivery_id,
            received_at=parcel.received_at,
            tenant_id=parcel.tenant_id,
            size=len(parcel.body),
        )
        for delivery_id, parcel in pairs
    )


def _delivery(delivery_id: int, parcel: Parcel) -> WebhookDelivery:
    cipher = keys.day_cipher(parcel.tenant_id, parcel.received_at.date())
    return WebhookDelivery(
        id=delivery_id,
        received_at=parcel.received_at,
        tenant_id=parcel.tenant_id,
        size=len(parcel.body),
        digest=b"",
        body=cipher.seal(parcel.body, associated_data(parcel.tenant_id, BODY, delivery_id)),
    )


def _take_ids(count: int) -> list[int]:
    """Return ``count`` ids of as few blocks as will do."""
    blocks = -(-count // BLOCK)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval('webhook_delivery_blocks') FROM generate_series(1, %s)", [blocks]
        )
        starts = [start for (start,) in cursor.fetchall()]
    return [number for start in starts for number in range(start, start + BLOCK)][:count]
