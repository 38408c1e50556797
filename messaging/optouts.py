"""Who wants no marketing: told by a word, on the platform, or entered by the tenant.

A row is kept when somebody resumes (``lifted_at``), so that what arrives late or is replayed never
undoes what was said after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from messaging.models import OptOut, OptOutSource
from messaging.withdrawing import withdraw_marketing
from workspaces import bulk

COLUMNS = ("tenant_id uuid", "contact_id uuid", "source text", "said_at timestamptz")
# Sorted by the key, or concurrent batches deadlock. Time decides, but what a tenant enters holds
# whatever the clocks say; who told the platform has to tell it again (Meta refuses otherwise:
# 131050).
STOP = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at)
SELECT tenant_id, contact_id, source, coalesce(said_at, now()) FROM {rows}
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET
  source = CASE WHEN o.source = 'PLATFORM' AND o.lifted_at IS NULL THEN o.source
           ELSE excluded.source END,
  said_at = greatest(excluded.said_at, o.said_at, o.lifted_at), lifted_at = NULL
WHERE excluded.said_at > greatest(o.said_at, o.lifted_at)
   OR (excluded.source = 'API' AND o.lifted_at IS NOT NULL)
RETURNING o.tenant_id, o.contact_id
"""
RESUME = """
UPDATE opt_outs o SET lifted_at = greatest(coalesce(r.said_at, now()), o.said_at)
FROM {rows}
WHERE o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id AND o.lifted_at IS NULL
  AND (r.source = 'API' OR o.said_at <= coalesce(r.said_at, now()))
  AND NOT (r.source = 'WORD' AND o.source = 'PLATFORM')
RETURNING o.tenant_id, o.contact_id
"""


class Wish(NamedTuple):
    """What somebody said about marketing; ``at`` is ``None`` for now."""

    tenant_id: UUID
    contact_id: UUID
    source: OptOutSource
    at: datetime | None
    is_wanted: bool


def opted_out(*, tenant_id: UUID, contact_ids: Collection[UUID]) -> set[UUID]:
    """Return which of these people want no marketing templates of this tenant."""
    if not contact_ids:
        return set()
    rows = OptOut.objects.filter(
        tenant_id=tenant_id, contact_id__in=list(contact_ids), lifted_at=None
    )
    return set(rows.values_list("contact_id", flat=True))


def opt_out(
    *,
    tenant_id: UUID,
    contact_ids: Iterable[UUID],
    source: OptOutSource,
    at: datetime | None = None,
) -> set[UUID]:
    """Send these people no marketing from ``at`` (now) on; return those for whom that is news."""
    wishes = [Wish(tenant_id, one, source, at, is_wanted=False) for one in contact_ids]
    return {contact_id for _, contact_id in heed(wishes)}


def opt_in(
    *,
    tenant_id: UUID,
    contact_ids: Iterable[UUID],
    source: OptOutSource = OptOutSource.API,
    at: datetime | None = None,
) -> set[UUID]:
    """Let marketing reach these people again; return those who had it stopped."""
    wishes = [Wish(tenant_id, one, source, at, is_wanted=True) for one in contact_ids]
    return {contact_id for _, contact_id in heed(wishes)}


def heed(wishes: Iterable[Wish]) -> set[tuple[UUID, UUID]]:
    """Do as people say, in the caller's transaction; of several wishes of one the last one counts.

    Marketing that waits for somebody who wants none is taken back. Returns tenant and contact of
    those for whom something changed.
    """
    last: dict[tuple[UUID, UUID], Wish] = {}
    for wish in wishes:
        before = last.setdefault(wish[:2], wish)
        if _order(wish) > _order(before):
            last[wish[:2]] = wish
    stopped = _changed(STOP, [wish[:4] for wish in last.values() if not wish.is_wanted])
    withdraw_marketing(stopped)
    return stopped | _changed(RESUME, [wish[:4] for wish in last.values() if wish.is_wanted])


def _changed(statement: str, rows: bulk.Rows) -> set[tuple[UUID, UUID]]:
    return {(row[0], row[1]) for row in bulk.run(statement, COLUMNS, rows)}


def _order(wish: Wish) -> tuple[bool, float, bool]:
    # Meta tells whole seconds: of two wishes of one second the one against marketing counts.
    return wish.at is None, wish.at.timestamp() if wish.at else 0.0, not wish.is_wanted
