"""What Meta sent for each of some messages: one query for the callbacks, one for their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.db.models import QuerySet

from connectors.cloud_api.parsing import NotAnEnvelope, message_json
from connectors.models import WebhookDelivery
from connectors.webhooks.raw import open_body, read_wamid
from messaging.models import Message
from workspaces import keys
from workspaces.envelope import CannotOpen, key_id_of

# The tenant and the number of a callback.
Place = tuple[UUID, int]


def read_originals(messages: Sequence[Message]) -> dict[UUID, dict[str, object]]:
    """Return the JSON object of each message by message id, without those whose Raw was purged."""
    kept = [message for message in messages if message.sealed_id and message.delivery_day]
    alive = keys.preload(bytes(message.sealed_id or b"") for message in kept)
    # Where the key of a day is gone, nothing of that day opens: spare the database the question.
    kept = [message for message in kept if key_id_of(bytes(message.sealed_id or b"")) in alive]
    if not kept:
        return {}
    bodies = dict(_bodies(_deliveries(kept)))
    found = {message.id: _original(message, bodies) for message in kept}
    return {message_id: original for message_id, original in found.items() if original is not None}


def _deliveries(messages: Sequence[Message]) -> QuerySet[WebhookDelivery]:
    days = [message.delivery_day for message in messages if message.delivery_day]
    # The range of days spares PostgreSQL the other partitions.
    return WebhookDelivery.objects.filter(
        tenant_id__in={message.tenant_id for message in messages},
        id__in={message.delivery_id for message in messages},
        received_at__gte=datetime.combine(min(days), time(), UTC),
        received_at__lt=datetime.combine(max(days), time(), UTC) + timedelta(days=1),
    )


def _bodies(deliveries: Iterable[WebhookDelivery]) -> Iterator[tuple[Place, bytes]]:
    rows = list(deliveries)
    alive = keys.preload(bytes(row.body) for row in rows)
    for row in rows:
        sealed = bytes(row.body)
        try:
            if key_id_of(sealed) in alive:
                yield (
                    (row.tenant_id, row.id),
                    open_body(sealed, tenant_id=row.tenant_id, delivery_id=row.id),
                )
        except CannotOpen:
            continue


def _original(message: Message, bodies: dict[Place, bytes]) -> dict[str, object] | None:
    body = bodies.get((message.tenant_id, message.delivery_id or 0))
    wamid = read_wamid(message) if body is not None else None
    if body is None or wamid is None:
        return None
    try:
        return message_json(body, wamid)
    except NotAnEnvelope:
        return None
