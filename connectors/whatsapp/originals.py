"""What Meta sent for each of some messages, with a few queries however many they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from connectors.models import WebhookDelivery
from connectors.whatsapp.raw import open_body, read_wamid
from connectors.whatsapp.wire.parsing import NotAnEnvelope, message_json
from lib.envelope import key_id_of
from messaging.models import Message
from messaging.related import Original
from workspaces import keys


def read_originals(tenant_id: UUID, message_ids: Sequence[UUID]) -> dict[UUID, Original]:
    """Return the originals by message id, without those whose day was purged."""
    messages = _openable(tenant_id, message_ids)
    bodies = dict(_bodies(tenant_id, messages))
    found = {}
    for message in messages:
        wamid = read_wamid(message)
        if wamid is not None:
            found[message.id] = Original(wamid, _find(bodies.get(message.delivery_id), wamid))
    return found


def _openable(tenant_id: UUID, message_ids: Sequence[UUID]) -> list[Message]:
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


def _find(body: bytes | None, wamid: str) -> dict[str, object] | None:
    try:
        return message_json(body, wamid) if body is not None else None
    except NotAnEnvelope:
        return None
