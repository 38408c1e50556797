"""Whom a business portfolio wrote to first: counted one by one over a moving 24 hours, against its
messaging limit.

Rule: Meta, "Messaging limits": unique users that receive a template outside a customer service
window. Whom a message was refused for is counted too: the platform does not say what it counted.
The limit is kept where messages are sent (:func:`room`, :func:`enter`); where one is queued it is
known whether there will be room in time (:func:`full_at`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from lib import bulk

DAY = timedelta(hours=24)

# Two workers must not both find the last place free.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
KNOWN = """
SELECT contact_id, opened_at FROM portfolio_recipients
WHERE tenant_id = %(tenant)s AND portfolio_id = %(portfolio)s AND contact_id = ANY (%(contacts)s)
  AND opened_at > %(since)s
"""
COUNTED = """
SELECT count(*), min(opened_at) FROM portfolio_recipients
WHERE tenant_id = %(tenant)s AND portfolio_id = %(portfolio)s AND opened_at > %(since)s
"""
# The one that has to grow old before there is room: the last of the limit, newest first.
LAST = """
SELECT opened_at FROM portfolio_recipients
WHERE tenant_id = %(tenant)s AND portfolio_id = %(portfolio)s AND opened_at > %(since)s
ORDER BY opened_at DESC OFFSET %(before)s LIMIT 1
"""
COLUMNS = (
    "tenant_id uuid",
    "portfolio_id text",
    "contact_id uuid",
    "opened_at timestamptz",
)
ENTER = """
INSERT INTO portfolio_recipients AS p (tenant_id, portfolio_id, contact_id, opened_at)
SELECT r.tenant_id, r.portfolio_id, r.contact_id, r.opened_at FROM {rows}
ON CONFLICT (tenant_id, portfolio_id, contact_id) DO UPDATE SET opened_at = excluded.opened_at
WHERE p.opened_at <= excluded.opened_at - interval '24 hours'
"""
BATCH = 10_000
# Served by portfolio_recipients_window, whose first columns have few values (PostgreSQL 18 skips).
FORGET = sql.SQL("""
WITH gone AS (
    DELETE FROM portfolio_recipients WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM portfolio_recipients WHERE opened_at <= %s LIMIT %s
    )) AND opened_at <= %s RETURNING 1
)
SELECT count(*) FROM gone
""")


@dataclass(frozen=True, slots=True)
class Room:
    """Whom a portfolio may write to now, and when the next place is free (where it is full)."""

    allowed: frozenset[UUID]
    free_at: datetime


def room(
    *, tenant_id: UUID, portfolio: str, limit: int, contacts: Sequence[UUID], now: datetime
) -> Room:
    """Return which of these people may be written to, in their order, in the caller's transaction;
    until it ends nobody else counts this portfolio.
    """
    facts = _facts(tenant_id, portfolio, now) | {"contacts": list(contacts)}
    with bulk.cursor() as cursor:
        cursor.execute(LOCK, {"key": f"portfolio:{tenant_id}:{portfolio}"})
        cursor.execute(KNOWN, facts)
        known = {row[0] for row in cursor.fetchall()}
        cursor.execute(COUNTED, facts)
        count, oldest = cursor.fetchone() or (0, None)
    new = list(dict.fromkeys(contact for contact in contacts if contact not in known))
    allowed = known.union(new[: max(0, limit - count)])
    return Room(frozenset(allowed), (oldest or now) + DAY)


def enter(people: Collection[tuple[UUID, str, UUID]], *, now: datetime) -> None:
    """Count people (tenant, portfolio, contact) from now on; who is counted already stays so."""
    rows = sorted({(*person, now) for person in people}, key=str)
    bulk.run(ENTER, COLUMNS, rows)


class FullPortfolio(NamedTuple):
    """A portfolio without room ``until`` then; who ``counted`` already may be written to."""

    until: datetime
    counted: Mapping[UUID, datetime]

    def holds(self, contact_id: UUID | None, *, due: datetime) -> bool:
        """Whether a person has to wait for room at a time."""
        opened = self.counted.get(contact_id) if contact_id else None
        return self.until > due and (opened is None or opened <= due - DAY)


def full_at(
    moment: datetime, *, tenant_id: UUID, portfolio: str, limit: int, contacts: Sequence[UUID]
) -> FullPortfolio | None:
    """Return until when a portfolio has no room, as seen from ``moment``, and since when these
    people count; ``None``: there is room.
    """
    facts = _facts(tenant_id, portfolio, moment)
    with bulk.cursor() as cursor:
        cursor.execute(LAST, facts | {"before": max(limit, 1) - 1})
        last = cursor.fetchone()
        if last is None:
            return None
        cursor.execute(KNOWN, facts | {"contacts": list(contacts)})
        return FullPortfolio(last[0] + DAY, dict(cursor.fetchall()))


def used(*, tenant_id: UUID, portfolio: str, now: datetime) -> int:
    """Return how many people were written to first in 24 hours."""
    with bulk.cursor() as cursor:
        cursor.execute(COUNTED, _facts(tenant_id, portfolio, now))
        (count, _) = cursor.fetchone() or (0, None)
    return int(count)


def forget(*, now: datetime) -> int:
    """Delete those who count no more; return how many."""
    before = now - DAY
    return bulk.repeat(FORGET, [before, BATCH, before], batch=BATCH)[0]


def _facts(tenant_id: UUID, portfolio: str, now: datetime) -> dict[str, Any]:
    return {"tenant": tenant_id, "portfolio": portfolio, "since": now - DAY}
