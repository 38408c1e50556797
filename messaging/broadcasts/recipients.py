"""The rows of a broadcast's list in the database: number and parameters sealed together under the
tenant's field key; opened to be checked and queued, turned into requests, and marked with what
became of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from lib import bulk
from lib.envelope import CannotOpen, associated_data
from lib.masking import mask
from lib.sql import select
from messaging.broadcasts.rows import NO_PARAMETERS, merged
from messaging.models import Broadcast, RecipientState
from messaging.sending.limits import FURTHEST
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import Recipient, SendRequest, TemplateContent
from templates_wa.parameters import TemplateParameters, read
from workspaces import keys

PLACE, REFERENCE_PLACE = "broadcast_recipients.sealed", "broadcast_recipients.sealed_reference"
NEXT_UNCHECKED = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s AND position > %s ORDER BY position LIMIT %s
"""
NEXT_PENDING = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE tenant_id = %s AND broadcast_id = %s AND state = 'PENDING' ORDER BY position LIMIT %s
"""
# By now they may be known to be somebody whose row was taken before. Each LATERAL … OFFSET 0 is a
# look-up in an index: of a list that came a moment ago the planner knows nothing, and would rather
# go through all of it for each row.
AGAIN = """
SELECT r.position, min(other.position) FROM {rows}
CROSS JOIN LATERAL (
    SELECT b.digest FROM broadcast_recipients b WHERE b.tenant_id = r.tenant_id
      AND b.broadcast_id = r.broadcast_id AND b.position = r.position OFFSET 0
) mine
CROSS JOIN LATERAL (
    SELECT c.contact_id FROM contact_identities c
    WHERE c.tenant_id = r.tenant_id AND c.digest = mine.digest OFFSET 0
) i
CROSS JOIN LATERAL (
    SELECT c.digest FROM contact_identities c
    WHERE c.tenant_id = r.tenant_id AND c.contact_id = i.contact_id OFFSET 0
) o
CROSS JOIN LATERAL (
    SELECT b.position, b.state FROM broadcast_recipients b WHERE b.tenant_id = r.tenant_id
      AND b.broadcast_id = r.broadcast_id AND b.digest = o.digest OFFSET 0
) other
WHERE o.digest <> mine.digest
  AND (other.state = 'QUEUED' OR (other.state = 'PENDING' AND other.position < r.position))
GROUP BY r.position
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
        SendErrorCode.MEDIA_NOT_FOUND,
        SendErrorCode.MEDIA_KIND,
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
# All of one broadcast, and near each other: by subqueries and as a range, so that the key of places
# is what finds them, whatever the planner knows.
MARK = """
WITH r AS MATERIALIZED (SELECT * FROM {rows})
UPDATE broadcast_recipients b
SET state = r.state, code = r.code, reason = r.reason, message_id = r.message_id
FROM r WHERE b.tenant_id = (SELECT tenant_id FROM r LIMIT 1)
  AND b.broadcast_id = (SELECT broadcast_id FROM r LIMIT 1)
  AND b.position BETWEEN (SELECT min(position) FROM r) AND (SELECT max(position) FROM r)
  AND b.position = r.position
  AND b.state = 'PENDING'
"""


class Addressee(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed of a row; in plaintext it lives in memory only."""

    phone: str = ""
    user_id: str = ""
    parameters: TemplateParameters = NO_PARAMETERS

    def __repr__(self) -> str:
        return "Addressee(…)"


_decoder = msgspec.json.Decoder(Addressee)
_encoder = msgspec.json.Encoder()


class Sealer:
    """Seals and opens the rows of one broadcast; a row moved elsewhere does not open."""

    __slots__ = ("_cipher", "_where")

    def __init__(self, tenant_id: UUID, broadcast_id: UUID) -> None:
        """Look the tenant's key up.

        Raises:
            workspaces.keys.TenantHasNoKeys: unknown or erased tenant.
        """
        self._cipher = keys.field_cipher(tenant_id)
        self._where = (tenant_id, broadcast_id)

    def seal(self, position: int, addressee: Addressee) -> bytes:
        """Return the sealed form of the row at ``position``."""
        return self._cipher.seal(_encoder.encode(addressee), self._bound_to(PLACE, position))

    def open(self, position: int, sealed: bytes) -> Addressee:
        """Return what was sealed.

        Raises:
            lib.envelope.CannotOpen: altered, moved, or another key's.
        """
        return _decoder.decode(self._cipher.open(sealed, self._bound_to(PLACE, position)))

    def seal_reference(self, position: int, reference: str) -> bytes | None:
        """Return the sealed form of a row's reference, which outlives the row's; empty: nothing."""
        place = self._bound_to(REFERENCE_PLACE, position)
        return self._cipher.seal(reference.encode(), place) if reference else None

    def open_reference(self, position: int, sealed: bytes | None) -> str:
        """Return a row's reference; empty: it has none, or it cannot be opened."""
        try:
            place = self._bound_to(REFERENCE_PLACE, position)
            return self._cipher.open(bytes(sealed), place).decode() if sealed else ""
        except CannotOpen:
            return ""

    def _bound_to(self, place: str, position: int) -> bytes:
        tenant_id, broadcast_id = self._where
        return associated_data(tenant_id, place, f"{broadcast_id}:{position}")


class _Sealed(NamedTuple):
    position: int
    sealed: bytes | None
    retries: int


class OpenedRow(NamedTuple):
    """A row in plaintext, in memory only; ``recipient`` is missing where it cannot be opened."""

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
