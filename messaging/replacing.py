"""What is stored gives way to what tells more: imported history to what was seen live or echoed, a
placeholder of history to its file. Which of the two comes first does not matter.

The row stays, with its id and its time; what was said becomes that of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from messaging.references import PLACEHOLDER, SAME_MESSAGE
from messaging.transitions import RECEIVED_COLUMNS, Received

SAID_COLUMNS = (
    "number int4", "tenant_id uuid", "workspace_id uuid", "platform_message_id text",
    "inner_key int8", "direction text", "source text", "type text", "contact_id uuid",
    "group_id text",
)  # fmt: skip
FIND = f"""
SELECT r.number, m.id, m.platform_message_id, m.source = 'HISTORY', m.revoked_at IS NOT NULL
FROM {{rows}} CROSS JOIN LATERAL (
    SELECT m.id FROM messages m
    WHERE m.tenant_id = r.tenant_id AND m.workspace_id = r.workspace_id
      AND m.platform_message_id = r.platform_message_id
    UNION SELECT m.id FROM messages m WHERE {SAME_MESSAGE}
) same JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = same.id
WHERE (m.source = 'HISTORY' AND r.source <> 'HISTORY')
   OR (m.type = '{PLACEHOLDER}' AND r.type <> '{PLACEHOLDER}')
ORDER BY m.id FOR UPDATE OF m
"""  # noqa: S608 - names of ours
# What was revoked stays without a text; edits are applied again.
REPLACE = """
UPDATE messages m SET
    source = CASE WHEN r.source = 'HISTORY' THEN m.source ELSE r.source END, type = r.type,
    sender = r.sender, contact_id = coalesce(m.contact_id, r.contact_id),
    inner_key = coalesce(m.inner_key, r.inner_key), edited_at = NULL,
    reply_to = coalesce(r.reply_to, m.reply_to),
    reply_to_key = CASE WHEN r.reply_to IS NULL THEN m.reply_to_key ELSE r.reply_to_key END,
    text = CASE WHEN m.revoked_at IS NULL THEN r.text END,
    content = CASE WHEN m.revoked_at IS NULL THEN r.content ELSE '{}' END,
    sealed_values = CASE WHEN m.revoked_at IS NULL THEN r.sealed_values END,
    sealed_id = r.sealed_id, delivery_id = r.delivery_id, delivery_day = r.delivery_day
FROM {rows} WHERE m.tenant_id = r.tenant_id AND m.id = r.id
"""


class SaidAgain(NamedTuple):
    """A message that was there already in some form; ``number`` is the caller's."""

    number: int
    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    inner_key: int | None
    direction: str
    source: str
    type: str
    contact_id: UUID | None
    group_id: str | None


class Stored(NamedTuple):
    """The row that gives way; ``is_imported`` if nobody was told of it yet."""

    id: UUID
    platform_message_id: str
    is_imported: bool
    is_revoked: bool


def giving_way(said: Sequence[SaidAgain]) -> dict[int, Stored]:
    """Lock and return the rows that these are to replace, by ``number``."""
    found: dict[int, Stored] = {}
    taken: set[UUID] = set()
    for number, *row in bulk.run(FIND, SAID_COLUMNS, said):
        if row[0] not in taken:
            taken.add(row[0])
            found[number] = Stored(*row)
    return found


def replace(rows: Sequence[Received]) -> None:
    """Write what is said now into rows that give way, by their ids."""
    bulk.run(REPLACE, RECEIVED_COLUMNS, rows)
