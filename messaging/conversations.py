"""Keep conversations up to date: one row per person and number, in the message's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from workspaces import bulk

# Nothing is said by these: they change what was said before (edit, revoke), or the platform tells
# something (system) or is told that a chat was opened (request_welcome). They make no conversation,
# count as unread by nobody and open no window. Everything else a person sends does, reactions
# included (Meta, "Send messages": Customer service windows, "messages you").
UNSAID = frozenset({"edit", "revoke", "system", "request_welcome"})

COLUMNS = (
    "tenant_id uuid", "workspace_id uuid", "contact_id uuid", "last_message_id uuid",
    "last_message_at timestamptz", "last_inbound_at timestamptz", "unread_count int4",
)  # fmt: skip
NAMES = ", ".join(column.split(" ", 1)[0] for column in COLUMNS)
# greatest() passes over NULL. A message of the same second is later if its id is, as in lists.
UPSERT = f"""
INSERT INTO conversations AS c ({NAMES}) SELECT {NAMES} FROM {{rows}}
ON CONFLICT (workspace_id, contact_id) DO UPDATE SET
  last_message_id = CASE
    WHEN (excluded.last_message_at, excluded.last_message_id)
       > (c.last_message_at, c.last_message_id) THEN excluded.last_message_id
    ELSE c.last_message_id END,
  last_message_at = greatest(c.last_message_at, excluded.last_message_at),
  last_inbound_at = greatest(c.last_inbound_at, excluded.last_inbound_at),
  unread_count = c.unread_count + excluded.unread_count
"""  # noqa: S608 - names of ours
# What came after the moment stays unread; with no such message this reads one index entry.
READ = """
UPDATE conversations c SET unread_count = least(c.unread_count, (
    SELECT count(*) FROM messages m
    WHERE m.workspace_id = c.workspace_id AND m.contact_id = c.contact_id
      AND m.timestamp_utc > %s AND m.direction = 'INBOUND' AND m.source = 'LIVE'
      AND m.group_id IS NULL AND m.type <> ALL(%s)
))
WHERE c.tenant_id = %s AND c.workspace_id = %s AND c.contact_id = %s AND c.unread_count > 0
"""


class Touch(NamedTuple):
    """A message just stored, and what it means for its conversation."""

    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    message_id: UUID
    at: datetime
    is_inbound: bool
    counts_as_unread: bool = False


class _Row(NamedTuple):
    """What the messages of one conversation come to, in the order of ``COLUMNS``."""

    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    message_id: UUID
    at: datetime
    inbound_at: datetime | None
    unread: int

    def __add__(self, other: _Row) -> _Row:  # type: ignore[override]  # not a longer tuple
        later = max(self, other, key=lambda row: (row.at, row.message_id))
        heard = [row.inbound_at for row in (self, other) if row.inbound_at]
        return later._replace(
            inbound_at=max(heard, default=None), unread=self.unread + other.unread
        )


def touch(touches: Iterable[Touch]) -> None:
    """Carry the conversations of new messages forward, or begin them, in the caller's transaction.

    One statement, whatever their number. What is older than a conversation's latest message
    (history imports, late callbacks) moves nothing back. Call it last: it holds the conversations'
    rows until the transaction ends.
    """
    rows: dict[tuple[UUID, UUID], _Row] = {}
    for one in touches:
        row = _Row(*one[:5], one.at if one.is_inbound else None, int(one.counts_as_unread))
        key = one.workspace_id, one.contact_id
        known = rows.get(key)
        rows[key] = row if known is None else known + row
    bulk.run(UPSERT, COLUMNS, [rows[key] for key in sorted(rows)])


def mark_read(*, tenant_id: UUID, workspace_id: UUID, contact_id: UUID, now: datetime) -> None:
    """Count what the person wrote until ``now`` as read, no matter who read it and where."""
    with bulk.cursor() as own:
        own.execute(READ, [now, sorted(UNSAID), tenant_id, workspace_id, contact_id])
