"""Write down what became of rows of a list, many in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.masking import mask
from messaging.models import Broadcast, RecipientState

# Code and reason of a row whose key is gone.
UNREADABLE = ("UNREADABLE", "The row cannot be opened any more.")

COLUMNS = ("position int4", "state text", "code text", "reason text", "message_id uuid")
MARK = """
UPDATE broadcast_recipients b
SET state = r.state, code = r.code, reason = r.reason, message_id = r.message_id
FROM {rows} WHERE b.broadcast_id = r.broadcast_id AND b.position = r.position
  AND b.state = 'PENDING'
"""


class Mark(NamedTuple):
    """The end of one row: queued as a message, or refused for a reason."""

    position: int
    state: RecipientState
    code: str = ""
    reason: str = ""
    message_id: UUID | None = None


def refused(position: int, code: str, reason: str) -> Mark:
    """Return the mark of a row that will not be sent; reasons may name what the caller wrote."""
    return Mark(position, RecipientState.REFUSED, code, mask(reason))


def mark(broadcast: Broadcast, marks: Sequence[Mark]) -> None:
    """Write the marks of rows that are still pending."""
    rows = [
        (broadcast.id, m.position, m.state.value, m.code, m.reason, m.message_id) for m in marks
    ]
    bulk.run(MARK, ("broadcast_id uuid", *COLUMNS), rows)
