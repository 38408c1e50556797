"""Open sealed callbacks, and the ids that Meta gave to messages."""

from __future__ import annotations

from uuid import UUID

from lib.envelope import CannotOpen, associated_data
from messaging.inbound import SEALED_ID
from messaging.models import Message
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
