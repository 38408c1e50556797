"""Take a broadcast to work on it, and the next rows of its list, opened."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import CannotOpen
from lib.sql import select
from messaging.broadcasts.rows import merged
from messaging.broadcasts.sealing import Addressee, Sealer
from messaging.models import Broadcast
from messaging.sending.requests import Recipient
from templates_wa.parameters import TemplateParameters, read

NEXT_UNCHECKED = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE broadcast_id = %s AND position > %s ORDER BY position LIMIT %s
"""
NEXT_PENDING = """
SELECT position, sealed, retries FROM broadcast_recipients
WHERE broadcast_id = %s AND state = 'PENDING' ORDER BY position LIMIT %s
"""


# By now they may be known to be somebody whose row was taken before.
AGAIN = """
SELECT mine.position, min(other.position) FROM {rows}
JOIN broadcast_recipients mine
  ON mine.broadcast_id = r.broadcast_id AND mine.position = r.position
JOIN contact_identities i ON i.tenant_id = mine.tenant_id AND i.digest = mine.digest
JOIN contact_identities o ON o.contact_id = i.contact_id AND o.digest <> i.digest
JOIN broadcast_recipients other
  ON other.broadcast_id = mine.broadcast_id AND other.digest = o.digest
WHERE other.state = 'QUEUED' OR (other.state = 'PENDING' AND other.position < mine.position)
GROUP BY mine.position
"""


class _Sealed(NamedTuple):
    position: int
    sealed: bytes | None
    retries: int


class Opened(NamedTuple):
    """A row in the clear, in memory only; ``recipient`` is missing where it cannot be opened."""

    position: int
    recipient: Recipient | None
    parameters: TemplateParameters
    retries: int = 0


def take(broadcast_id: UUID) -> Broadcast | None:
    """Return the broadcast, locked; ``None``: it is gone, or somebody has it in hand now."""
    rows = Broadcast.objects.select_for_update(skip_locked=True)
    return rows.filter(pk=broadcast_id).first()


def unchecked(broadcast: Broadcast, *, limit: int) -> list[Opened]:
    """Return the next rows to check."""
    parameters = [broadcast.id, broadcast.checked_to, limit]
    return _opened(broadcast, select(_Sealed, NEXT_UNCHECKED, parameters))


def pending(broadcast: Broadcast, *, limit: int) -> list[Opened]:
    """Return the next rows to feed."""
    return _opened(broadcast, select(_Sealed, NEXT_PENDING, [broadcast.id, limit]))


def again(broadcast: Broadcast, positions: Collection[int]) -> dict[int, int]:
    """Return which of these rows are of a person who has an earlier one, and which that is."""
    rows = [(broadcast.id, position) for position in positions]
    return dict(bulk.run(AGAIN, ("broadcast_id uuid", "position int4"), rows))


def _opened(broadcast: Broadcast, rows: list[_Sealed]) -> list[Opened]:
    sealer, shared = Sealer(broadcast.tenant_id, broadcast.id), read(broadcast.shared)
    return [_open(sealer, shared, row) for row in rows]


def _open(sealer: Sealer, shared: TemplateParameters, row: _Sealed) -> Opened:
    try:
        person: Addressee = sealer.open(row.position, bytes(row.sealed or b""))
    except CannotOpen:
        return Opened(row.position, None, shared, row.retries)
    recipient = Recipient(
        phone=f"+{person.phone}" if person.phone else None, user_id=person.user_id or None
    )
    return Opened(row.position, recipient, merged(shared, person.parameters), row.retries)
