"""The rows of a broadcast's list while they are checked and queued: opened, turned into requests,
and marked with what became of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import CannotOpen
from lib.masking import mask
from lib.sql import select
from messaging.broadcasts.rows import merged
from messaging.broadcasts.sealing import Addressee, Sealer
from messaging.models import Broadcast, RecipientState
from messaging.sending.limits import FURTHEST
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import Recipient, SendRequest, TemplateContent
from templates_wa.parameters import TemplateParameters, read

NEXT_UNCHECKED = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s AND position > %s ORDER BY position LIMIT %s
"""
NEXT_PENDING = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s AND state = 'PENDING' ORDER BY position LIMIT %s
"""
# By now they may be known to be somebody whose row was taken before.
AGAIN = """
SELECT mine.position, min(other.position) FROM {rows}
JOIN broadcast_recipients mine
  ON mine.tenant_id = r.tenant_id AND mine.broadcast_id = r.broadcast_id
 AND mine.position = r.position
JOIN contact_identities i ON i.tenant_id = mine.tenant_id AND i.digest = mine.digest
JOIN contact_identities o
  ON o.tenant_id = i.tenant_id AND o.contact_id = i.contact_id AND o.digest <> i.digest
JOIN broadcast_recipients other
  ON other.tenant_id = mine.tenant_id AND other.broadcast_id = mine.broadcast_id
 AND other.digest = o.digest
WHERE other.state = 'QUEUED' OR (other.state = 'PENDING' AND other.position < mine.position)
GROUP BY mine.position
"""
# Reasons against every row alike: the broadcast stops, and its rows stay as they are.
WHOLE = frozenset(
    {
        SendErrorCode.WORKSPACE_NOT_FOUND,
        SendErrorCode.WORKSPACE_INACTIVE,
        SendErrorCode.UNSUPPORTED_TRANSPORT,
        SendErrorCode.TEMPLATE_NOT_FOUND,
        SendErrorCode.TEMPLATE_LANGUAGE,
        SendErrorCode.TEMPLATE_NOT_APPROVED,
        SendErrorCode.TEMPLATE_PAUSED,
        SendErrorCode.TEMPLATE_DISABLED,
    }
)
# Mistakes of a row, for whoever wrote the list to put right.
MISTAKES = frozenset(
    {
        SendErrorCode.TEMPLATE_PARAMETERS,
        SendErrorCode.INVALID_INPUT,
        SendErrorCode.BSUID_NOT_SUPPORTED,
    }
)
# What passes by itself.
FOR_NOW = frozenset({SendErrorCode.LIMIT_REACHED})
# Code and reason of a row whose key is gone.
UNREADABLE = ("UNREADABLE", "The row cannot be opened any more.")
MARK_COLUMNS = (
    "tenant_id uuid",
    "broadcast_id uuid",
    "position int4",
    "state text",
    "code text",
    "reason text",
    "message_id uuid",
)
MARK = """
UPDATE broadcast_recipients b
SET state = r.state, code = r.code, reason = r.reason, message_id = r.message_id
FROM {rows}
WHERE b.tenant_id = r.tenant_id AND b.broadcast_id = r.broadcast_id AND b.position = r.position
  AND b.state = 'PENDING'
"""


class _Sealed(NamedTuple):
    position: int
    sealed: bytes | None
    retries: int


class OpenedRow(NamedTuple):
    """A row in the clear, in memory only; ``recipient`` is missing where it cannot be opened."""

    position: int
    recipient: Recipient | None
    parameters: TemplateParameters
    retries: int = 0


def unchecked(broadcast: Broadcast, *, limit: int) -> list[OpenedRow]:
    """Return the next rows to check."""
    parameters = [broadcast.tenant_id, broadcast.id, broadcast.checked_to, limit]
    return _opened(broadcast, select(_Sealed, NEXT_UNCHECKED, parameters))


def pending(broadcast: Broadcast, *, limit: int) -> list[OpenedRow]:
    """Return the next rows to feed."""
    parameters = [broadcast.tenant_id, broadcast.id, limit]
    return _opened(broadcast, select(_Sealed, NEXT_PENDING, parameters))


def repeated(broadcast: Broadcast, positions: Collection[int]) -> dict[int, int]:
    """Return which of these rows are of a person who has an earlier one, and which that is."""
    rows = [(broadcast.tenant_id, broadcast.id, position) for position in positions]
    columns = ("tenant_id uuid", "broadcast_id uuid", "position int4")
    return dict(bulk.run(AGAIN, columns, rows))


def _opened(broadcast: Broadcast, rows: list[_Sealed]) -> list[OpenedRow]:
    sealer, shared = Sealer(broadcast.tenant_id, broadcast.id), read(broadcast.shared)
    return [_open(sealer, shared, row) for row in rows]


def _open(sealer: Sealer, shared: TemplateParameters, row: _Sealed) -> OpenedRow:
    try:
        person: Addressee = sealer.open(row.position, bytes(row.sealed or b""))
    except CannotOpen:
        return OpenedRow(row.position, None, shared, row.retries)
    recipient = Recipient(
        phone=f"+{person.phone}" if person.phone else None, user_id=person.user_id or None
    )
    return OpenedRow(row.position, recipient, merged(shared, person.parameters), row.retries)


def request_of(
    broadcast: Broadcast, row: OpenedRow, recipient: Recipient, now: datetime
) -> SendRequest:
    """Return the request of a row. Its key is the second guard against sending twice; the first is
    that the message and the row's mark are committed together. A row whose message failed, and that
    is sent again, has another key each time.
    """
    expires_at = broadcast.expires_at
    again = f":{row.retries}" if row.retries else ""
    return SendRequest(
        workspace_id=broadcast.workspace_id,
        recipient=recipient,
        content=TemplateContent(broadcast.template_name, broadcast.language, row.parameters),
        idempotency_key=f"broadcast:{broadcast.id}:{row.position}{again}",
        expires_at=expires_at and min(expires_at, now + FURTHEST),
        broadcast_id=broadcast.id,
    )


class RowMark(NamedTuple):
    """The end of one row: queued as a message, or refused for a reason."""

    position: int
    state: RecipientState
    code: str = ""
    reason: str = ""
    message_id: UUID | None = None


def refused(position: int, code: str, reason: str) -> RowMark:
    """Return the mark of a row that will not be sent; reasons may name what the caller wrote."""
    return RowMark(position, RecipientState.REFUSED, code, mask(reason))


def mark(broadcast: Broadcast, marks: Sequence[RowMark]) -> None:
    """Write the marks of rows that are still pending."""
    whose = broadcast.tenant_id, broadcast.id
    rows = [(*whose, m.position, m.state.value, m.code, m.reason, m.message_id) for m in marks]
    bulk.run(MARK, MARK_COLUMNS, rows)
