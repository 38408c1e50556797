"""What is stored changes by what comes after it, whichever of the two arrives first.

Edits and revocations change the message they mean.
Only the sender of a message can edit or revoke it. They are known by their contact, because an
amendment may name another identity of theirs than the message did (Meta, "Business-scoped user
IDs": the phone number may be absent). A revoked message loses its text for good.

What tells more takes the place of what tells less: what was seen live or echoed that of imported
history, a file that of history's placeholder for it. The row stays, with its id and its time; what
was said becomes that of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from messaging import changing, references
from messaging.people import SURVIVOR
from messaging.references import KNOWN, PLACEHOLDER, SAME_MESSAGE, TARGET_COLUMNS, Target
from messaging.transitions import RECEIVED_COLUMNS, Received

COLUMNS = ("tenant_id uuid", "workspace_id uuid", "platform_message_id text")
AMENDS = {
    "known": KNOWN.format(row="a", id="a.reply_to"),
    "same_contact": " = ".join(
        SURVIVOR.format(tenant_id=f"{row}.tenant_id", contact_id=f"{row}.contact_id")
        for row in "ta"
    ),
}
# The sender's own amendments of the given targets, the latest of each kind; of those of one second
# (Meta gives no more) the one received last, which has the later id. Served by the index
# messages_amendments.
LATEST = """
    SELECT DISTINCT ON (t.id) t.tenant_id, t.id, a.text, a.timestamp_utc
    FROM {{rows}} JOIN messages a
      ON a.tenant_id = r.tenant_id AND a.workspace_id = r.workspace_id
     AND a.reply_to = r.platform_message_id
    CROSS JOIN LATERAL (
        SELECT t.tenant_id, t.id FROM messages t
        WHERE t.tenant_id = a.tenant_id AND t.id = {known} AND t.direction = a.direction
          AND coalesce({same_contact}, t.sender = a.sender) OFFSET 0
    ) t
    WHERE a.type = '{kind}'
    ORDER BY t.id, a.timestamp_utc DESC, a.id DESC
"""
EDIT = changing.statement(
    carry="a.text, a.timestamp_utc",
    found=f"""({LATEST.format(kind="edit", **AMENDS)}) a
    JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.id
    WHERE m.revoked_at IS NULL AND (m.edited_at IS NULL OR m.edited_at <= a.timestamp_utc)""",
    assign="text = mine.text, edited_at = mine.timestamp_utc",
)
# The revoked message, and its edits, which hold the text as well.
REVOKED = f"""
WITH latest AS MATERIALIZED ({LATEST.format(kind="revoke", **AMENDS)})
SELECT tenant_id, id, timestamp_utc, true AS is_target FROM latest
UNION ALL
SELECT e.tenant_id, e.id, l.timestamp_utc, false
FROM latest l JOIN messages t ON t.tenant_id = l.tenant_id AND t.id = l.id
JOIN messages e
  ON e.tenant_id = t.tenant_id AND e.workspace_id = t.workspace_id
 AND e.reply_to = t.platform_message_id
WHERE e.type = 'edit'
"""  # noqa: S608 - names of ours
WIPE = changing.statement(
    carry="a.timestamp_utc, a.is_target",
    found=f"""({REVOKED}) a JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.id
    WHERE m.revoked_at IS NULL""",
    assign="""text = NULL, content = '{}', sealed_values = NULL,
    revoked_at = CASE WHEN mine.is_target THEN mine.timestamp_utc END""",
    returning="m.tenant_id, m.id",
)
REVOKE = f"""
WITH revoked AS ({WIPE})
UPDATE media SET state = 'GONE', filename = '', archive_state = NULL, archive_error = NULL,
    archived_day = NULL
FROM revoked
WHERE media.tenant_id = revoked.tenant_id AND media.message_id = revoked.id
"""  # noqa: S608 - texts of ours
ANY = f"""
WITH r AS MATERIALIZED (SELECT * FROM {{rows}})
SELECT EXISTS (SELECT FROM r JOIN messages a
    ON a.tenant_id = r.tenant_id AND a.workspace_id = r.workspace_id
   AND a.reply_to = r.platform_message_id
    WHERE a.type IN ('edit', 'revoke')),
  EXISTS (SELECT FROM r JOIN messages a ON {references.WAITS})
"""  # noqa: S608 - names of ours
FIND = f"""
SELECT r.position, m.id, m.platform_message_id, m.source = 'HISTORY', m.revoked_at IS NOT NULL
FROM {{rows}} CROSS JOIN LATERAL (
    SELECT r.tenant_id, {KNOWN.format(row="r", id="r.platform_message_id")} AS id
    UNION SELECT m.tenant_id, m.id FROM messages m WHERE {SAME_MESSAGE}
) same JOIN messages m ON m.tenant_id = same.tenant_id AND m.id = same.id
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


def apply(added: Sequence[Target], amended: Iterable[tuple[UUID, UUID, str]]) -> None:
    """Amend messages stored just now (``added``) and what new amendments mean (``amended``:
    tenant, workspace and platform id). What waited for a message that was added refers to it from
    now on.
    """
    targets = [*added, *(Target(*key) for key in amended)]
    if not targets:
        return
    ((is_amended, is_awaited),) = bulk.run(ANY, TARGET_COLUMNS, targets)
    if is_awaited:
        references.adopt(added)
    if is_amended or is_awaited:
        rows = sorted({target[:3] for target in targets})
        bulk.run(EDIT, COLUMNS, rows)
        bulk.run(REVOKE, COLUMNS, rows)


class SaidAgain(NamedTuple):
    """A message that was there already in some form; ``position`` is the caller's."""

    position: int
    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    inner_key: int | None
    direction: str
    source: str
    type: str
    contact_id: UUID | None
    group_id: str | None


class GivingWay(NamedTuple):
    """The row that gives way; ``is_imported`` if nobody was told of it yet."""

    id: UUID
    platform_message_id: str
    is_imported: bool
    is_revoked: bool


def giving_way(said: Sequence[SaidAgain]) -> dict[int, GivingWay]:
    """Lock and return the rows that these are to replace, by ``position``."""
    found: dict[int, GivingWay] = {}
    taken: set[UUID] = set()
    for position, *row in bulk.run(FIND, bulk.columns(SaidAgain), said):
        if row[0] not in taken:
            taken.add(row[0])
            found[position] = GivingWay(*row)
    return found


def replace(rows: Sequence[Received]) -> None:
    """Write what is said now into rows that give way, by their ids."""
    bulk.run(REPLACE, RECEIVED_COLUMNS, rows)
