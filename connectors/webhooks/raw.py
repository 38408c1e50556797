"""Seal and open callbacks, and find a stored message's own words in them."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from connectors.cloud_api.parsing import message_json
from connectors.models import WebhookDelivery
from messaging.inbound import SEALED_ID
from messaging.models import Message
from workspaces import keys
from workspaces.envelope import CannotOpen, associated_data

BODY = "webhook_deliveries.body"


def open_body(sealed: bytes, *, tenant_id: UUID, delivery_id: int) -> bytes:
    """Return a callback's body.

    Raises:
        workspaces.envelope.KeyDestroyed: its day was purged.
        workspaces.envelope.CannotOpen: altered or moved.
    """
    return keys.cipher_of(sealed).open(sealed, associated_data(tenant_id, BODY, delivery_id))


def read_wamid(message: Message) -> str | None:
    """Return Meta's id of a message, or ``None`` once the key of its day is gone."""
    if message.sealed_id is None:
        return None
    sealed = bytes(message.sealed_id)
    associated = associated_data(message.tenant_id, SEALED_ID, message.id)
    try:
        return keys.cipher_of(sealed).open(sealed, associated).decode()
    except CannotOpen:
        return None


def read_raw(message: Message) -> dict[str, Any] | None:
    """Return the JSON object that Meta sent for a message, or ``None`` once its Raw was purged."""
    wamid = read_wamid(message)
    if wamid is None or message.delivery_id is None or message.delivery_day is None:
        return None
    start = datetime.combine(message.delivery_day, time(), UTC)
    row = WebhookDelivery.objects.filter(
        id=message.delivery_id,
        tenant_id=message.tenant_id,
        received_at__gte=start,
        received_at__lt=start + timedelta(days=1),
    ).first()
    if row is None:
        return None
    try:
        body = open_body(bytes(row.body), tenant_id=row.tenant_id, delivery_id=row.id)
    except CannotOpen:
        return None
    return message_json(body, wamid)
