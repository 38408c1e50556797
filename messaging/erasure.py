"""Remove everything a tenant said and heard."""

from __future__ import annotations

from uuid import UUID

from messaging import bulk

# Children first. Messages of a large tenant are many: each statement takes a bounded bite.
TABLES = ("media", "message_statuses", "messages", "contact_identities", "contacts")
BATCH = 10_000


def erase(tenant_id: UUID) -> dict[str, int]:
    """Delete the tenant's rows, a batch per transaction; return how many went from each table."""
    return {table: bulk.delete(table, tenant_id=tenant_id, batch=BATCH) for table in TABLES}


def count(tenant_id: UUID) -> dict[str, int]:
    """Return how many rows :func:`erase` would delete from each table."""
    return {table: bulk.count(table, tenant_id=tenant_id) for table in TABLES}
