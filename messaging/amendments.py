"""Edits and revocations: change the message they mean, whichever of the two arrives first.

Only the sender of a message can edit or revoke it. They are known by their contact, because an
amendment may name another identity of theirs than the message did (Meta, "Business-scoped user
IDs": the phone number may be absent). A revoked message loses its text for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from lib import bulk
from messaging import changing, references
from messaging.identities import SURVIVOR
from messaging.references import TARGET_COLUMNS, Target

AMENDING = frozenset({"edit", "revoke"})
COLUMNS = ("tenant_id uuid", "workspace_id uuid", "platform_message_id text")
SAME_CONTACT = " = ".join(
    SURVIVOR.format(tenant_id=f"{row}.tenant_id", contact_id=f"{row}.contact_id") for row in "ta"
)
# The sender's own amendments of the given targets, the latest of each kind; of those of one second
# (Meta gives no more) the one received last, which has the later id. Served by the index
# messages_amendments.
LATEST = """
    SELECT DISTINCT ON (t.id) t.tenant_id, t.id, a.text, a.timestamp_utc
    FROM {{rows}} JOIN messages a
      ON a.tenant_id = r.tenant_id AND a.workspace_id = r.workspace_id
     AND a.reply_to = r.platform_message_id
    JOIN messages t
      ON t.tenant_id = a.tenant_id AND t.workspace_id = a.workspace_id
     AND t.platform_message_id = a.reply_to AND t.direction = a.direction
     AND coalesce({same_contact}, t.sender = a.sender)
    WHERE a.type = '{kind}'
    ORDER BY t.id, a.timestamp_utc DESC, a.id DESC
"""
EDIT = changing.statement(
    carry="a.text, a.timestamp_utc",
    found=f"""({LATEST.format(kind="edit", same_contact=SAME_CONTACT)}) a
    JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.id
    WHERE m.revoked_at IS NULL AND (m.edited_at IS NULL OR m.edited_at <= a.timestamp_utc)""",
    assign="text = mine.text, edited_at = mine.timestamp_utc",
)
# The revoked message, and its edits, which hold the text as well.
REVOKED = f"""
WITH latest AS MATERIALIZED ({LATEST.format(kind="revoke", same_contact=SAME_CONTACT)})
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
UPDATE media SET state = 'GONE', filename = '' FROM revoked
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
