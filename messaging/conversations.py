"""Keep conversations up to date: one row per person and number, in the message's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from messaging.cursors import Cursor
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
# In the order of the key, or concurrent batches deadlock; Python compares UUIDs slowly. greatest()
# passes over NULL. Of two messages of one second the one with the later id arrived later, as in
# lists.
UPSERT = f"""
INSERT INTO conversations AS c ({NAMES})
SELECT {NAMES} FROM {{rows}} ORDER BY workspace_id, contact_id
ON CONFLICT (workspace_id, contact_id) DO UPDATE SET
  last_message_id = CASE
    WHEN (excluded.last_message_at, excluded.last_message_id)
       > (c.last_message_at, c.last_message_id) THEN excluded.last_message_id
    ELSE c.last_message_id END,
  last_message_at = greatest(c.last_message_at, excluded.last_message_at),
  last_inbound_at = greatest(c.last_inbound_at, excluded.last_inbound_at),
  unread_count = c.unread_count + excluded.unread_count
"""  # noqa: S608 - names of ours
# What came after the message stays unread; where nothing did this reads one index entry.
READ = """
UPDATE conversations c SET unread_count = least(c.unread_count, (
    SELECT count(*) FROM messages m
    WHERE m.workspace_id = c.workspace_id AND m.contact_id = c.contact_id
      AND (m.timestamp_utc, m.id) > (%s, %s) AND m.direction = 'INBOUND' AND m.source = 'LIVE'
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


@dataclass(slots=True, eq=False)
class _Thread:
    """What the new messages of one conversation come to."""

    last: Touch
    inbound_at: datetime | None = None
    unread: int = 0

    def add(self, one: Touch) -> None:
        """Take one message in, in any order."""
        if (one.at, one.message_id) > (self.last.at, self.last.message_id):
            self.last = one
        if one.is_inbound and (self.inbound_at is None or one.at > self.inbound_at):
            self.inbound_at = one.at
        self.unread += one.counts_as_unread

    @property
    def row(self) -> tuple[object, ...]:
        """The values of ``COLUMNS``."""
        return *self.last[:5], self.inbound_at, self.unread


def touch(touches: Iterable[Touch]) -> None:
    """Carry the conversations of new messages forward, or begin them, in the caller's transaction.

    One statement, whatever their number. What is older than a conversation's latest message
    (history imports, late callbacks) moves nothing back. Call it last: it holds the conversations'
    rows until the transaction ends.
    """
    threads: dict[tuple[UUID, UUID], _Thread] = {}
    for one in touches:
        key = one.workspace_id, one.contact_id
        thread = threads.get(key) or threads.setdefault(key, _Thread(one))
        thread.add(one)
    bulk.run(UPSERT, COLUMNS, [thread.row for thread in threads.values()])


def mark_read(*, tenant_id: UUID, workspace_id: UUID, contact_id: UUID, upto: Cursor) -> None:
    """Count what the person wrote up to a place as read, no matter who read it and where."""
    parameters = [upto.timestamp, upto.id, sorted(UNSAID), tenant_id, workspace_id, contact_id]
    with bulk.cursor() as own:
        own.execute(READ, parameters)
