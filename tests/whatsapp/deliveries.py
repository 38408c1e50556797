"""Put a callback where the receiver would have put it, without HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection

from connectors.whatsapp.models import WebhookDelivery, WebhookPending
from connectors.whatsapp.raw import BODY
from lib.envelope import associated_data
from workspaces import keys


def deliver(tenant_id: UUID, body: bytes | dict, *, at: datetime | None = None) -> int:
    """Store a callback as received; return its delivery id."""
    received_at = at or datetime.now(UTC)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('webhook_delivery_blocks')")
        (delivery_id,) = cursor.fetchone()
    sealed = keys.day_cipher(tenant_id, received_at.date()).seal(
        content, associated_data(tenant_id, BODY, delivery_id)
    )
    WebhookDelivery.objects.create(
        id=delivery_id,
        received_at=received_at,
        tenant_id=tenant_id,
        size=len(content),
        digest=b"",
        body=sealed,
    )
    WebhookPending.objects.create(
        delivery_id=delivery_id, received_at=received_at, tenant_id=tenant_id
    )
    return delivery_id


def callback(number: str, waba_id: str = "1", field: str = "messages", **value: object) -> dict:
    """Return a callback body with one change for a phone number id."""
    metadata = {"display_phone_number": "15550100001", "phone_number_id": number}
    change = {
        "field": field,
        "value": {"messaging_product": "whatsapp", "metadata": metadata, **value},
    }
    return {"object": "whatsapp_business_account", "entry": [{"id": waba_id, "changes": [change]}]}


def text(
    wamid: str, body: str = "Hello", sender: str = "15550123456", at: int = 1_790_000_000
) -> dict:
    """Return a text message."""
    return {
        "from": sender,
        "id": wamid,
        "timestamp": str(at),
        "type": "text",
        "text": {"body": body},
    }


def contact(wa_id: str = "15550123456", name: str = "Alice", **more: str) -> dict:
    """Return the contact that comes beside a message."""
    return {"profile": {"name": name}, "wa_id": wa_id, **more}


def status(wamid: str, word: str, at: int = 1_790_000_000, **more: object) -> dict:
    """Return a receipt."""
    return {
        "id": wamid,
        "status": word,
        "timestamp": str(at),
        "recipient_id": "15550123456",
        **more,
    }
