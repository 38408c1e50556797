"""Take turns: a batch of owed callbacks, shared fairly between the tenants who are waiting.

The pointers are deleted in the caller's transaction: if it rolls back, or its process is killed,
they are owed again at once. Workers never wait for one another (SKIP LOCKED).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from messaging import bulk
from workspaces.models import INSTALLATION_ID

# A loose index scan finds the waiting tenants; each gets an equal share of the batch. Where there
# are more tenants than places, chance decides, so that none is always last. LATERAL … LIMIT 1 keeps
# the join a look-up per row, whatever the planner believes about today's partition.
# Locked rows keep their place (ctid), which spares a search in an index full of dead entries.
CLAIM = """
WITH RECURSIVE turn AS (
    (SELECT tenant_id FROM webhook_pending ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM webhook_pending p WHERE p.tenant_id > turn.tenant_id
            ORDER BY p.tenant_id LIMIT 1)
    FROM turn WHERE turn.tenant_id IS NOT NULL
), waiting AS (
    SELECT tenant_id FROM turn WHERE tenant_id IS NOT NULL ORDER BY random() LIMIT %(limit)s
), claimed AS (
    SELECT mine.ctid FROM waiting CROSS JOIN LATERAL (
        SELECT p.ctid FROM webhook_pending p WHERE p.tenant_id = waiting.tenant_id
        ORDER BY p.delivery_id
        LIMIT (SELECT greatest(1, %(limit)s / greatest(1, count(*))) FROM waiting)
        FOR UPDATE SKIP LOCKED
    ) mine
), taken AS (
    DELETE FROM webhook_pending p WHERE p.ctid = ANY (ARRAY(SELECT ctid FROM claimed))
    RETURNING p.delivery_id, p.received_at, p.tenant_id
)
SELECT taken.delivery_id, taken.received_at, taken.tenant_id, raw.body
FROM taken LEFT JOIN LATERAL (
    SELECT d.body FROM webhook_deliveries d
    WHERE d.id = taken.delivery_id AND d.received_at = taken.received_at LIMIT 1
) raw ON true
WHERE taken.tenant_id = %(shared)s OR EXISTS (
    SELECT FROM tenants t WHERE t.id = taken.tenant_id AND t.status <> 'ERASING'
)
ORDER BY taken.delivery_id
"""

# To compile this batch's statements would cost more than to run them.
NO_JIT = "SELECT set_config('jit', 'off', true)"


@dataclass(frozen=True, slots=True)
class Claimed:
    """An owed callback, still sealed; ``body`` is ``None`` if Raw was purged before its turn."""

    delivery_id: int
    received_at: datetime
    tenant_id: UUID
    body: bytes | None


def claim(limit: int) -> list[Claimed]:
    """Claim up to about ``limit`` callbacks inside the caller's transaction.

    What is owed to a tenant that is being erased is forgotten: its keys are gone.
    """
    with bulk.cursor() as cursor:
        cursor.execute(NO_JIT)
        cursor.execute(CLAIM, {"limit": limit, "shared": INSTALLATION_ID})
        rows = cursor.fetchall()
    # One object per tenant: as keys of the dictionaries to come they are then told by identity.
    tenants: dict[UUID, UUID] = {}
    return [Claimed(i, at, tenants.setdefault(t, t), body) for i, at, t, body in rows]
