"""Remove everything a tenant said and heard, was about to say, and knew for it.

Messages, their files and receipts of a large tenant are many, and so are conversations and lists of
recipients: each statement takes a bounded bite.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from psycopg import sql

from lib import bulk
from messaging import archive, uploads

# What is still pending first, or it is sent meanwhile; then children before parents.
TABLES = (
    "outbox",
    "message_words_pending",
    "read_marks",
    "archive_fetches",
    "uploads",
    "upload_handles",
    "broadcast_recipients",
    "broadcasts",
    "media",
    "message_statuses",
    "message_words",
    "messages",
    "conversation_notes",
    "conversations",
    "labels",
    "canned_replies",
    "person_erasures",
    "opt_outs",
    "contact_blocks",
    "block_lists",
    "portfolio_recipients",
    "contact_identities",
    "contacts",
    "sending_pauses",
    "sending_policies",
    "number_states",
)
BATCH = 10_000
# A bite of messages together with their files and pending sends, counted by the messages.
BITE = sql.SQL("""
WITH bite AS MATERIALIZED (
    SELECT tenant_id, id FROM messages WHERE tenant_id = %s LIMIT %s
), locked AS MATERIALIZED (
    SELECT m.tenant_id, m.id FROM messages m
    JOIN bite ON m.tenant_id = bite.tenant_id AND m.id = bite.id ORDER BY m.id FOR UPDATE OF m
), files AS (
    DELETE FROM media f USING locked
    WHERE f.tenant_id = locked.tenant_id AND f.message_id = locked.id RETURNING 1
), sends AS (
    DELETE FROM outbox o USING locked
    WHERE o.tenant_id = locked.tenant_id AND o.message_id = locked.id RETURNING 1
), gone AS (
    DELETE FROM messages m USING locked
    WHERE m.tenant_id = locked.tenant_id AND m.id = locked.id RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM files), (SELECT count(*) FROM sends)
""")


def erase(tenant_id: UUID) -> dict[str, int]:
    """Delete the tenant's rows, a batch per transaction; return how many went from each table."""
    archive.erase(tenant_id)  # which reads the rows that go next
    words = bulk.delete("message_words", tenant_id=tenant_id, batch=BATCH)  # or a trigger does
    messages, files, sends = bulk.repeat(BITE, [tenant_id, BATCH], batch=BATCH)
    gone = Counter(messages=messages, media=files, outbox=sends, message_words=words)
    gone["uploads"] = uploads.erase(tenant_id)
    for table in TABLES:
        gone[table] += bulk.delete(table, tenant_id=tenant_id, batch=BATCH)
    return {table: gone[table] for table in TABLES}


def count(tenant_id: UUID) -> dict[str, int]:
    """Return how many rows :func:`erase` would delete from each table."""
    return {table: bulk.count(table, tenant_id=tenant_id) for table in TABLES}
