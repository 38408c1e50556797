"""Who wants no marketing: told by a word, on the platform, or entered by the tenant.

A row is kept when somebody resumes (``lifted_at``), so that what arrives late or is replayed never
undoes what was said after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from messaging.identities import survivors
from messaging.models import OptOut, OptOutSource
from messaging.withdrawing import withdraw_marketing

COLUMNS = ("tenant_id uuid", "contact_id uuid", "source text", "said_at timestamptz")
# Sorted by the key, or concurrent batches deadlock. Time decides, and of one second (Meta tells no
# more) the wish against marketing; but what a tenant enters holds whatever the clocks say, and who
# told the platform has to tell it again (Meta refuses otherwise: 131050).
STOP = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at)
SELECT tenant_id, contact_id, source, said_at FROM {rows}
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET
  source = CASE WHEN o.source = 'PLATFORM' AND o.lifted_at IS NULL THEN o.source
           ELSE excluded.source END,
  said_at = greatest(excluded.said_at, o.said_at, o.lifted_at), lifted_at = NULL, lifted_by = ''
WHERE excluded.said_at > greatest(o.said_at, o.lifted_at)
   OR excluded.said_at >= date_trunc('second', o.lifted_at)
   OR (o.lifted_at IS NOT NULL AND (excluded.source = 'API' OR o.lifted_by = 'MERGED'))
RETURNING o.tenant_id, o.contact_id
"""
RESUME = """
UPDATE opt_outs o SET lifted_at = greatest(r.said_at, o.said_at),
                      lifted_by = r.source
FROM {rows}
WHERE o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id AND o.lifted_at IS NULL
  AND (r.source = 'API' OR o.said_at < r.said_at)
  AND NOT (r.source = 'WORD' AND o.source = 'PLATFORM')
RETURNING o.tenant_id, o.contact_id
"""
# Who had nothing stopped is remembered too: the stop of a contact that turns out to be the same
# person may be older, or be heard late.
REMEMBER = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at, lifted_at, lifted_by)
SELECT tenant_id, contact_id, source, said_at, said_at, source
FROM {rows} ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET
  lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by
WHERE excluded.lifted_at > o.lifted_at
"""
OF_CONTACTS = """
SELECT o.tenant_id, o.contact_id, o.source, o.said_at, o.lifted_at, o.lifted_by
FROM {rows} JOIN opt_outs o ON o.tenant_id = r.tenant_id AND o.contact_id = r.contact_id
WHERE o.lifted_by <> 'MERGED' ORDER BY o.tenant_id, o.contact_id FOR UPDATE OF o
"""
KEEP_COLUMNS = (*COLUMNS, "lifted_at timestamptz", "lifted_by text")
KEEP = """
INSERT INTO opt_outs AS o (tenant_id, contact_id, source, said_at, lifted_at, lifted_by)
SELECT tenant_id, contact_id, source, said_at, lifted_at, lifted_by FROM {rows}
ORDER BY tenant_id, contact_id
ON CONFLICT (tenant_id, contact_id) DO UPDATE SET source = excluded.source,
  said_at = excluded.said_at, lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by
"""


class Wish(NamedTuple):
    """What somebody said about marketing, and when."""

    tenant_id: UUID
    contact_id: UUID
    source: OptOutSource
    at: datetime
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
    at = at or clock.now()
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
    at = at or clock.now()
    wishes = [Wish(tenant_id, one, source, at, is_wanted=True) for one in contact_ids]
    return {contact_id for _, contact_id in heed(wishes)}


def heed(wishes: Iterable[Wish]) -> set[tuple[UUID, UUID]]:
    """Do as people say, in the caller's transaction; of several wishes of one the last one counts.

    Marketing that waits for somebody who wants none is taken back. Returns tenant and contact (as
    they were given) of those for whom something changed.
    """
    said = list(wishes)
    if not said:
        return set()
    now = survivors({wish.contact_id for wish in said})
    last: dict[tuple[UUID, UUID, bool], Wish] = {}
    for wish in sorted(said, key=lambda wish: wish.at):
        contact_id = now[wish.contact_id]
        last[wish.tenant_id, contact_id, wish.is_wanted] = wish._replace(contact_id=contact_id)
    stops, starts = ([w[:4] for w in last.values() if w.is_wanted is one] for one in (False, True))
    stopped = _changed(STOP, stops)
    resumed = _changed(RESUME, starts)
    bulk.run(REMEMBER, COLUMNS, [start for start in starts if start[:2] not in resumed])
    withdraw_marketing(stopped - resumed)
    changed = stopped | resumed
    return {wish[:2] for wish in said if (wish.tenant_id, now[wish.contact_id]) in changed}


class _Row(NamedTuple):
    """An opt-out as it is stored."""

    tenant_id: UUID
    contact_id: UUID
    source: str
    said_at: datetime
    lifted_at: datetime | None
    lifted_by: str

    @property
    def order(self) -> tuple[datetime, bool]:
        """When the last word was said; of two at a time the one against marketing counts."""
        return self.lifted_at or self.said_at, self.lifted_at is None

    @property
    def is_told_platform(self) -> bool:
        """Whether only the platform can take it back."""
        return self.lifted_at is None and self.source == OptOutSource.PLATFORM


def join(merged: Collection[tuple[UUID, UUID, UUID]]) -> None:
    """Let the last word count of contacts (tenant, contact, what it is now) that were merged."""
    owner = {(tenant_id, one): winner for tenant_id, one, winner in merged}
    sides = {*owner, *((tenant_id, winner) for tenant_id, _, winner in merged)}
    found = [_Row(*row) for row in bulk.run(OF_CONTACTS, COLUMNS[:2], sorted(sides))]
    whose = {row: (row.tenant_id, owner.get(row[:2], row.contact_id)) for row in found}
    kept = []
    for (_, winner), rows in groupby(sorted(found, key=whose.__getitem__), whose.__getitem__):
        kept.append(_last_word(list(rows))._replace(contact_id=winner))
    past = [
        row._replace(lifted_at=row.lifted_at or row.said_at, lifted_by="MERGED")
        for row in found
        if row[:2] in owner
    ]
    bulk.run(KEEP, KEEP_COLUMNS, [*kept, *past])
    withdraw_marketing({row[:2] for row in kept if row.lifted_at is None})


def pass_on(numbers: Iterable[tuple[UUID, UUID, UUID]]) -> None:
    """Stop marketing to people who are new to us and have the number of somebody who stopped it.

    Nobody knows whether they are somebody else: who registers anew gets a new BSUID as well. They
    may want it, and say so. ``numbers`` are tenant, who had the number, and who has it.
    """
    now = {(tenant_id, before): after for tenant_id, before, after in numbers}
    found = [_Row(*row) for row in bulk.run(OF_CONTACTS, COLUMNS[:2], sorted(now))]
    rows = [
        (row.tenant_id, now[row[:2]], OptOutSource.NUMBER.value, row.said_at)
        for row in found
        if row.lifted_at is None
    ]
    bulk.run(STOP, COLUMNS, rows)


def _last_word(rows: Collection[_Row]) -> _Row:
    last = max(rows, key=lambda row: row.order)
    told = next((row for row in rows if row.is_told_platform), None)
    if told is not None and last.lifted_by not in (OptOutSource.PLATFORM, OptOutSource.API):
        return told._replace(said_at=max(told.said_at, last.said_at))
    return last


def _changed(statement: str, rows: bulk.Rows) -> set[tuple[UUID, UUID]]:
    return {(row[0], row[1]) for row in bulk.run(statement, COLUMNS, rows)}
