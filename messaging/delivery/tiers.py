"""How many people a portfolio may write to first: counted over a moving 24 hours, one by one.

Rule: Meta, "Messaging limits": unique users that receive a template outside a customer service
window. Whom a message was refused for is counted too: the platform does not say what it counted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from lib import bulk

WINDOW = timedelta(hours=24)

# Two workers must not both find the last place free.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 0))"
KNOWN = """
SELECT contact_id FROM portfolio_recipients
WHERE tenant_id = %(tenant)s AND portfolio_id = %(portfolio)s AND contact_id = ANY (%(contacts)s)
  AND opened_at > %(since)s
"""
COUNTED = """
SELECT count(*), min(opened_at) FROM portfolio_recipients
WHERE tenant_id = %(tenant)s AND portfolio_id = %(portfolio)s AND opened_at > %(since)s
"""
COLUMNS = (
    "tenant_id uuid", "portfolio_id text", "contact_id uuid", "opened_at timestamptz",
)  # fmt: skip
ENTER = """
INSERT INTO portfolio_recipients AS p (tenant_id, portfolio_id, contact_id, opened_at)
SELECT r.tenant_id, r.portfolio_id, r.contact_id, r.opened_at FROM {rows}
ON CONFLICT (tenant_id, portfolio_id, contact_id) DO UPDATE SET opened_at = excluded.opened_at
WHERE p.opened_at <= excluded.opened_at - interval '24 hours'
"""


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
    facts = {
        "key": f"portfolio:{tenant_id}:{portfolio}", "tenant": tenant_id, "portfolio": portfolio,
        "contacts": list(contacts), "since": now - WINDOW,
    }  # fmt: skip
    with bulk.cursor() as cursor:
        cursor.execute(LOCK, facts)
        cursor.execute(KNOWN, facts)
        known = {row[0] for row in cursor.fetchall()}
        cursor.execute(COUNTED, facts)
        count, oldest = cursor.fetchone() or (0, None)
    new = list(dict.fromkeys(contact for contact in contacts if contact not in known))
    allowed = known.union(new[: max(0, limit - count)])
    return Room(frozenset(allowed), (oldest or now) + WINDOW)


def enter(people: Collection[tuple[UUID, str, UUID]], *, now: datetime) -> None:
    """Count people (tenant, portfolio, contact) from now on; who is counted already stays so."""
    rows = sorted({(*person, now) for person in people}, key=str)
    bulk.run(ENTER, COLUMNS, rows)
