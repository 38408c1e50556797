"""How delivering stands, for operators: what is pending, under way, lost sight of and given up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from lib import bulk

# What is due and under way is read from the outbox; the rest by age.
STATUS = """
SELECT t.slug, w.id, w.name, coalesce(o.queued, 0), o.oldest_due, coalesce(s.sending, 0),
       coalesce(r.unknown, 0), coalesce(r.failed, 0)
FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
LEFT JOIN (
    SELECT tenant_id, workspace_id, count(*) AS queued,
           min(due_at) FILTER (WHERE due_at <= %(now)s) AS oldest_due
    FROM outbox WHERE due_at IS NOT NULL GROUP BY tenant_id, workspace_id
) o ON o.tenant_id = w.tenant_id AND o.workspace_id = w.id
LEFT JOIN (
    SELECT tenant_id, workspace_id, count(*) AS sending
    FROM outbox WHERE lease_until IS NOT NULL GROUP BY tenant_id, workspace_id
) s ON s.tenant_id = w.tenant_id AND s.workspace_id = w.id
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE m.status = 'unknown') AS unknown,
           count(*) FILTER (WHERE m.status = 'failed') AS failed
    FROM messages m
    WHERE m.tenant_id = w.tenant_id AND m.workspace_id = w.id AND m.timestamp_utc >= %(since)s
      AND m.source = 'API'
) r ON true
WHERE coalesce(t.slug = %(slug)s, true)
ORDER BY t.slug, w.name, w.id
"""
PAUSES = """
SELECT t.slug, p.workspace_id, p.code, p.reason, p.since, p.until
FROM sending_pauses p JOIN tenants t ON t.id = p.tenant_id
WHERE p.lifted_at IS NULL AND coalesce(p.until > %(now)s, true)
  AND coalesce(t.slug = %(slug)s, true)
ORDER BY p.since, p.id
"""


class NumberBacklog(NamedTuple):
    """One number: ``unknown`` and ``failed`` are those of the last days."""

    tenant: str
    workspace_id: UUID
    workspace: str
    queued: int
    oldest_due: datetime | None
    sending: int
    unknown: int
    failed: int


class OpenPause(NamedTuple):
    """A pause that is open; without a workspace it stops the whole tenant."""

    tenant: str
    workspace_id: UUID | None
    code: int
    reason: str
    since: datetime
    until: datetime | None


def backlog(*, slug: str | None, days: int, now: datetime) -> list[NumberBacklog]:
    """Return every number, or those of one tenant."""
    facts = {"now": now, "since": now - timedelta(days=days), "slug": slug}
    with bulk.cursor() as cursor:
        cursor.execute(STATUS, facts)
        return [NumberBacklog(*row) for row in cursor.fetchall()]


def open_pauses(*, slug: str | None, now: datetime) -> list[OpenPause]:
    """Return what holds sends back, everywhere or for one tenant."""
    with bulk.cursor() as cursor:
        cursor.execute(PAUSES, {"now": now, "slug": slug})
        return [OpenPause(*row) for row in cursor.fetchall()]
