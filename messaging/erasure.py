"""Remove everything a tenant said and heard.

Messages, their files and receipts of a large tenant are many. Each statement takes a bounded bite
of one workspace, by which they are indexed; one last look at each table finds what names none.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from psycopg import sql

from workspaces import bulk
from workspaces.models import Workspace

# Children first.
TABLES = ("media", "message_statuses", "messages", "contact_identities", "contacts")
BATCH = 10_000
# A bite of messages together with their files, counted by the messages.
BITE = sql.SQL("""
WITH bite AS MATERIALIZED (
    SELECT id FROM messages WHERE workspace_id = %s AND tenant_id = %s LIMIT %s
), files AS (
    DELETE FROM media WHERE message_id IN (SELECT id FROM bite) RETURNING 1
), gone AS (
    DELETE FROM messages WHERE id IN (SELECT id FROM bite) RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM files)
""")


def erase(tenant_id: UUID) -> dict[str, int]:
    """Delete the tenant's rows, a batch per transaction; return how many went from each table."""
    gone = Counter[str]()
    for workspace_id in Workspace.objects.filter(tenant_id=tenant_id).values_list("id", flat=True):
        place = {"tenant_id": tenant_id, "workspace_id": workspace_id}
        gone["message_statuses"] += bulk.delete("message_statuses", batch=BATCH, **place)
        messages, files = bulk.repeat(BITE, [workspace_id, tenant_id, BATCH], batch=BATCH)
        gone.update(messages=messages, media=files)
    for table in TABLES:
        gone[table] += bulk.delete(table, tenant_id=tenant_id, batch=BATCH)
    return {table: gone[table] for table in TABLES}


def count(tenant_id: UUID) -> dict[str, int]:
    """Return how many rows :func:`erase` would delete from each table."""
    return {table: bulk.count(table, tenant_id=tenant_id) for table in TABLES}
