"""Attach what the platform reports to messages of ours whose fate was not known.

Our id of a message travels in its request and comes back with every report about it (Meta:
``biz_opaque_callback_data``). A report is proof that the message was sent, whatever we thought of
it: the answer may still be on its way, or was lost, or its receiver was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import Cipher, associated_data
from messaging import references
from messaging.events import Incoming, StatusUpdate
from messaging.notices import Change
from messaging.people import People
from workspaces import keys

logger = logging.getLogger("sigma.whatsapp.sending")

SEALED_ID = "messages.sealed_id"
UUID_LENGTH = 36
# In the order of ids, as everybody who changes messages.
FIND_COLUMNS = ("id uuid", "workspace_id uuid")
FIND = """
SELECT m.id, m.status FROM {rows} JOIN messages m ON m.id = r.id AND m.workspace_id = r.workspace_id
WHERE m.platform_message_id IS NULL AND m.source = 'API'
ORDER BY m.id FOR UPDATE OF m
"""
# From "accepted" on the reports carry it forward. What we said of a failure of ours was wrong.
ATTACH_COLUMNS = (
    "id uuid", "platform_message_id text", "inner_key int8", "sealed_id bytea", "day date",
)  # fmt: skip
ATTACH = """
UPDATE messages m SET status = 'accepted', platform_message_id = r.platform_message_id,
    inner_key = r.inner_key, sealed_id = r.sealed_id, delivery_day = r.day,
    sealed_request = NULL, lease_until = NULL, next_attempt_at = NULL,
    delivery = m.delivery - ARRAY[
        'waiting', 'last_error', 'errors', 'errors_sealed_in', 'failed_at', 'cancelled_at'
    ]
FROM {rows}
WHERE m.id = r.id AND NOT EXISTS (
    SELECT FROM messages o WHERE o.workspace_id = m.workspace_id
      AND o.platform_message_id = r.platform_message_id
)
RETURNING m.id, m.tenant_id, m.workspace_id, m.status, m.platform_message_id
"""
EXPECTED = frozenset({"sending", "unknown"})


class Settled(NamedTuple):
    """A message that the platform has, as it turned out, and the digest of its id there."""

    change: Change
    platform_message_id: str


def settle(reports: Iterable[tuple[Incoming, StatusUpdate]], people: People) -> list[Settled]:
    """Attach reports to messages that have no platform id yet, in the caller's transaction; return
    those that got one. Whoever calls carries them on from there, and emits the events.
    """
    reported: dict[UUID, tuple[Incoming, str]] = {}
    for incoming, event in reports:
        message_id = _message_of(event.callback_data)
        if message_id is not None:
            reported.setdefault(message_id, (incoming, event.platform_message_id))
    wanted = [(one, incoming.workspace_id) for one, (incoming, _) in reported.items()]
    rows, surprising = [], []
    for message_id, status in bulk.run(FIND, FIND_COLUMNS, wanted):
        incoming, wamid = reported[message_id]
        cipher = keys.day_cipher(incoming.tenant_id, incoming.delivery_day)
        sealed = seal_id(cipher, incoming.tenant_id, message_id, wamid)
        digest = people.digester(incoming.tenant_id)
        key = references.key_of(wamid, digest, incoming.workspace_id)
        rows.append((message_id, digest.wamid(wamid), key, sealed, incoming.delivery_day))
        if status not in EXPECTED:
            surprising.append(f"{message_id} {status}")
    if surprising:
        extra = {"messages": len(surprising), "first": surprising[0]}
        logger.error("whatsapp message was sent that should not have been", extra=extra)
    return [Settled(Change(*row[:4]), row[4]) for row in bulk.run(ATTACH, ATTACH_COLUMNS, rows)]


def seal_id(cipher: Cipher, tenant_id: UUID, message_id: UUID, wamid: str) -> bytes:
    """Seal the platform's id of a message under a day's key."""
    return cipher.seal(wamid.encode(), associated_data(tenant_id, SEALED_ID, message_id))


def _message_of(callback_data: str | None) -> UUID | None:
    """Return our id in a report, if it is one: others send through this number too."""
    if callback_data is None or len(callback_data) != UUID_LENGTH:
        return None
    try:
        return UUID(callback_data)
    except ValueError:
        return None
