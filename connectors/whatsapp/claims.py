"""Take turns: a batch of owed callbacks, bounded in number and in bytes, shared fairly between the
tenants who are waiting.

The pointers are deleted in the caller's transaction: if it rolls back, or its process is killed,
they are owed again at once. Workers never wait for one another (SKIP LOCKED).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from lib import bulk, clock
from workspaces.models import INSTALLATION_ID

# Of plain bodies: to open and read them takes fifteen times as much memory, and a second or two.
MOST_BYTES = 4_000_000
# Who has waited this long may have been tried before, and ended the process that tried.
OLD = timedelta(seconds=30)
# For this long nobody else takes a callback of which somebody just noted that he tries it.
HELD = "interval '5 seconds'"

# What was claimed, with its body. LATERAL … LIMIT 1 keeps the join a look-up per row, whatever the
# planner believes about today's partition.
OPENED = """
SELECT taken.delivery_id, taken.received_at, taken.tenant_id, taken.attempts, raw.body
FROM taken LEFT JOIN LATERAL (
    SELECT d.body FROM webhook_deliveries d
    WHERE d.id = taken.delivery_id AND d.received_at = taken.received_at LIMIT 1
) raw ON true
WHERE taken.tenant_id = %(shared)s OR EXISTS (
    SELECT FROM tenants t WHERE t.id = taken.tenant_id AND t.status <> 'ERASING'
)
ORDER BY taken.delivery_id
"""
# A loose index scan finds the waiting tenants; each gets an equal share of the batch. Where there
# are more tenants than places, chance decides, so that none is always last.
# Callbacks line up by the bytes before them in their own tenant's queue, so that bytes too are
# shared fairly; the batch ends where it is full, but never before its first callback.
# Locked rows keep their place (ctid), which spares a search in an index full of dead entries.
_CLAIM = f"""
WITH RECURSIVE turn AS (
    (SELECT tenant_id FROM webhook_pending ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM webhook_pending p WHERE p.tenant_id > turn.tenant_id
            ORDER BY p.tenant_id LIMIT 1)
    FROM turn WHERE turn.tenant_id IS NOT NULL
), waiting AS (
    SELECT tenant_id FROM turn WHERE tenant_id IS NOT NULL ORDER BY random() LIMIT %(limit)s
), locked AS (
    SELECT mine.ctid, mine.delivery_id, mine.size, waiting.tenant_id
    FROM waiting CROSS JOIN LATERAL (
        SELECT p.ctid, p.delivery_id, p.size FROM webhook_pending p
        WHERE p.tenant_id = waiting.tenant_id
          AND (p.tried_at IS NULL OR p.tried_at < clock_timestamp() - {HELD})
        ORDER BY {{order}}
        LIMIT (SELECT greatest(1, %(limit)s / greatest(1, count(*))) FROM waiting)
        FOR UPDATE SKIP LOCKED
    ) mine
), queued AS (
    SELECT ctid, delivery_id, size, -size + sum(size) OVER (
        PARTITION BY tenant_id ORDER BY delivery_id ROWS UNBOUNDED PRECEDING
    ) AS ahead FROM locked
), measured AS (
    SELECT ctid, size, sum(size) OVER (
        ORDER BY ahead, delivery_id ROWS UNBOUNDED PRECEDING
    ) AS total FROM queued
), taken AS (
    DELETE FROM webhook_pending p WHERE p.ctid = ANY (ARRAY(
        SELECT ctid FROM measured WHERE total <= greatest(%(bytes)s, size)
    ))
    RETURNING p.delivery_id, p.received_at, p.tenant_id, p.attempts
)
{OPENED}"""  # noqa: S608 - words of ours
CLAIM = _CLAIM.format(order="p.delivery_id")
# What is tried while nothing passes: the oldest alone would be the same ones again and again.
TRY = _CLAIM.format(order="random()")
TAKE = f"""
WITH taken AS (
    DELETE FROM webhook_pending p WHERE p.delivery_id = ANY (ARRAY(
        SELECT delivery_id FROM webhook_pending WHERE delivery_id = ANY (%(ids)s)
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING p.delivery_id, p.received_at, p.tenant_id, p.attempts
)
{OPENED}"""  # noqa: S608 - words of ours
NOTE = f"""
UPDATE webhook_pending SET attempts = attempts + 1, tried_at = clock_timestamp()
WHERE delivery_id = ANY (ARRAY(
    SELECT delivery_id FROM webhook_pending WHERE delivery_id = ANY (%(ids)s)
       AND (tried_at IS NULL OR tried_at < clock_timestamp() - {HELD})
    FOR UPDATE SKIP LOCKED
)) RETURNING delivery_id
"""  # noqa: S608 - words of ours
# The attempt did not end its process.
TAKE_BACK = """
UPDATE webhook_pending SET attempts = greatest(attempts - 1, 0) WHERE delivery_id = ANY (%(ids)s)
"""
# Nobody tries these until then, whoever is waiting behind them; an attempt that was noted is over.
PUT_OFF = """
UPDATE webhook_pending SET tried_at = clock_timestamp() + make_interval(secs => %(seconds)s),
    attempts = greatest(attempts - 1, 0)
WHERE delivery_id = ANY (%(ids)s)
"""

# How the statements of this transaction are planned: a row of theirs is looked up in an index,
# whatever the planner believes about tables that grow faster than their statistics; to compile a
# plan would cost more than to run it. It is made anew each time: one that was made while a table
# was empty costs half of the rate for as long as it is kept.
PLANNED = """
SELECT set_config(name, value, true) FROM (VALUES
    ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'),
    ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('enable_bitmapscan', 'off')
) AS planned (name, value)
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An owed callback, still sealed; ``body`` is ``None`` if Raw was purged before its turn.

    ``attempts`` counts those noted before this one.
    """

    delivery_id: int
    received_at: datetime
    tenant_id: UUID
    attempts: int
    body: bytes | None


def claim(limit: int, *, at_random: bool = False) -> list[Claimed]:
    """Claim up to about ``limit`` callbacks inside the caller's transaction, the oldest of each
    tenant, or some at random.

    What is owed to a tenant that is being erased is forgotten: its keys are gone.
    """
    return _claimed(TRY if at_random else CLAIM, {"limit": limit, "bytes": MOST_BYTES})


def take(ids: Sequence[int]) -> list[Claimed]:
    """Claim these callbacks, as far as they are still owed and in nobody's hands."""
    return _claimed(TAKE, {"ids": list(ids)})


def note_attempt(ids: Sequence[int]) -> list[int]:
    """Note that the caller is about to try these callbacks; return those that are his to try.

    For a moment nobody else claims them. Belongs into a transaction of its own: it has to stand
    even if the attempt ends this process.
    """
    with bulk.cursor() as cursor:
        cursor.execute(NOTE, {"ids": list(ids)})
        return sorted(row[0] for row in cursor.fetchall())


def take_back_attempt(ids: Sequence[int]) -> None:
    """Take a noted attempt back: it failed, and its process lives."""
    with bulk.cursor() as cursor:
        cursor.execute(TAKE_BACK, {"ids": list(ids)})


def put_off(ids: Sequence[int], *, seconds: float) -> None:
    """Let callbacks wait, so that others are processed meanwhile."""
    with bulk.cursor() as cursor:
        cursor.execute(PUT_OFF, {"ids": list(ids), "seconds": seconds})


def some_are_old(claimed: Iterable[Claimed]) -> bool:
    """Return whether any of them may have been tried before."""
    before = clock.now() - OLD
    return any(callback.received_at < before for callback in claimed)


def _claimed(statement: str, parameters: dict[str, object]) -> list[Claimed]:
    with bulk.cursor() as cursor:
        cursor.execute(PLANNED)
        cursor.execute(statement, {**parameters, "shared": INSTALLATION_ID})
        rows = cursor.fetchall()
    # One object per tenant: as keys of the dictionaries to come they are then told by identity.
    tenants: dict[UUID, UUID] = {}
    return [Claimed(i, at, tenants.setdefault(t, t), n, body) for i, at, t, n, body in rows]
