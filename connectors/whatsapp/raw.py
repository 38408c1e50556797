"""Raw, the sealed bodies of callbacks: opened, stored without the receiver, found for a message.

The receiver stores them on a connection of its own (`store`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.db import connection

from connectors.whatsapp.models import WebhookDelivery, WebhookPending
from connectors.whatsapp.wire.decoding import NotAnEnvelope
from connectors.whatsapp.wire.isolation import message_json
from lib.envelope import CannotOpen, associated_data, key_id_of
from messaging.models import Message
from messaging.references import SEALED_ID
from messaging.related import Original
from workspaces import keys

BODY = "webhook_deliveries.body"
BLOCK = 1000  # ids per step of the sequence of delivery ids, as the migration made it


def open_body(sealed: bytes, *, tenant_id: UUID, delivery_id: int) -> bytes:
    """Return a callback's body.

    Raises:
        lib.envelope.KeyDestroyed: its day was purged.
        lib.envelope.CannotOpen: altered or moved.
    """
    return keys.cipher_of(sealed).open(sealed, associated_data(tenant_id, BODY, delivery_id))


@dataclass(frozen=True, slots=True)
class ArrivedBody:
    """A body for one tenant, and when it arrived."""

    tenant_id: UUID
    received_at: datetime
    body: bytes = field(repr=False)


def store(bodies: Sequence[ArrivedBody]) -> None:
    """Seal bodies under their tenants' day keys and make them pending, in the caller's transaction.

    Raises:
        workspaces.keys.TenantHasNoKeys: a tenant is unknown, or being erased.
    """
    pairs = list(zip(_take_ids(len(bodies)), bodies, strict=True))
    WebhookDelivery.objects.bulk_create(_sealed(*pair) for pair in pairs)
    WebhookPending.objects.bulk_create(
        WebhookPending(
            delivery_id=delivery_id,
            received_at=delivery.received_at,
            tenant_id=delivery.tenant_id,
            size=len(delivery.body),
        )
        for delivery_id, delivery in pairs
    )


def _sealed(delivery_id: int, delivery: ArrivedBody) -> WebhookDelivery:
    cipher = keys.day_cipher(delivery.tenant_id, delivery.received_at.date())
    return WebhookDelivery(
        id=delivery_id,
        received_at=delivery.received_at,
        tenant_id=delivery.tenant_id,
        size=len(delivery.body),
        digest=b"",
        body=cipher.seal(delivery.body, associated_data(delivery.tenant_id, BODY, delivery_id)),
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


def read_originals(tenant_id: UUID, message_ids: Sequence[UUID]) -> dict[UUID, Original]:
    """Return what Meta sent for each of some messages, by message id, without those whose day was
    purged; with a few queries however many they are.
    """
    messages = _with_a_key(tenant_id, message_ids)
    bodies = dict(_bodies(tenant_id, messages))
    found = {}
    for message in messages:
        wamid = read_wamid(message)
        if wamid is not None:
            found[message.id] = Original(wamid, _message_in(bodies.get(message.delivery_id), wamid))
    return found


def _with_a_key(tenant_id: UUID, message_ids: Sequence[UUID]) -> list[Message]:
    """Leave out what was purged, so that nobody asks for its keys one by one."""
    rows = Message.objects.filter(tenant_id=tenant_id, pk__in=message_ids, sealed_id__isnull=False)
    messages = list(rows.only("id", "tenant_id", "sealed_id", "delivery_id", "delivery_day"))
    alive = keys.preload(bytes(message.sealed_id or b"") for message in messages)
    return [message for message in messages if key_id_of(bytes(message.sealed_id or b"")) in alive]


def _bodies(tenant_id: UUID, messages: Sequence[Message]) -> Iterator[tuple[int | None, bytes]]:
    days = [message.delivery_day for message in messages if message.delivery_day]
    if not days:
        return
    # The range of days spares PostgreSQL the other partitions.
    rows = WebhookDelivery.objects.filter(
        tenant_id=tenant_id,
        id__in={message.delivery_id for message in messages},
        received_at__gte=datetime.combine(min(days), time(), UTC),
        received_at__lt=datetime.combine(max(days), time(), UTC) + timedelta(days=1),
    )
    sealed = {row.id: bytes(row.body) for row in rows}
    alive = keys.preload(sealed.values())
    for delivery_id, value in sealed.items():
        if key_id_of(value) in alive:
            yield delivery_id, open_body(value, tenant_id=tenant_id, delivery_id=delivery_id)


def _message_in(body: bytes | None, wamid: str) -> dict[str, object] | None:
    try:
        return message_json(body, wamid) if body is not None else None
    except NotAnEnvelope:
        return None
