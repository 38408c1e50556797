"""Messages whose time has come: locked for their claimer, and examined once more, for much may have
happened since they were queued.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from messaging.identities import SURVIVOR

# Rows locked by another claimer are his. What comes back from an attempt of a broadcast that was
# stopped meanwhile is for whoever tends that. Each LATERAL … LIMIT, and each subquery, is a look-up
# in an index: the planner, who cannot know how few rows are wanted, would rather read tables. The
# person may be another contact by now than the one that the message was queued for.
DUE = f"""
SELECT m.id, m.tenant_id, m.workspace_id, m.contact_id, m.template_id, m.type, m.attempts,
       m.next_attempt_at, m.expires_at, m.sealed_request, c.last_inbound_at,
       t.status, t.stale_at, t.deleted_at, t.category IS NOT DISTINCT FROM 'MARKETING' AND (
           SELECT true FROM opt_outs o
           WHERE o.tenant_id = m.tenant_id AND o.contact_id = m.contact_id AND o.lifted_at IS NULL
       )
FROM {{rows}} CROSS JOIN LATERAL (
    SELECT q.id, q.tenant_id, q.workspace_id,
           {SURVIVOR.format(contact_id="q.contact_id")} AS contact_id,
           q.template_id, q.type, q.attempts,
           q.next_attempt_at, q.expires_at, q.sealed_request
    FROM messages q
    WHERE q.workspace_id = r.workspace_id AND q.next_attempt_at <= r.now AND q.status = 'queued'
      AND coalesce((
          SELECT b.state FROM broadcasts b WHERE b.id = q.broadcast_id
      ) NOT IN ('PAUSED', 'CANCELLED'), true)
    ORDER BY q.next_attempt_at LIMIT r.most FOR UPDATE SKIP LOCKED
) m
LEFT JOIN LATERAL (
    SELECT v.last_inbound_at FROM conversations v
    WHERE v.workspace_id = m.workspace_id AND v.contact_id = m.contact_id LIMIT 1
) c ON true
LEFT JOIN LATERAL (
    SELECT p.status, p.stale_at, p.deleted_at, p.category FROM templates p
    WHERE p.id = m.template_id LIMIT 1
) t ON true
ORDER BY m.next_attempt_at, m.id
"""  # noqa: S608 - names of ours
COLUMNS = ("workspace_id uuid", "most int4", "now timestamptz")
APPROVED = "APPROVED"
# Nothing that these templates would send is ever sent.
GONE = frozenset({"DISABLED", "DELETED", "REJECTED", "ARCHIVED", "PENDING_DELETION"})
TEMPLATE_PAUSE = timedelta(minutes=10)
# A template that Meta refused is asked about at once; its messages wait for the answer, not for
# ever.
STALE_PAUSE, STALE_FOR = timedelta(minutes=1), timedelta(minutes=10)


class Due(NamedTuple):
    """A row of the statement above."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    template_id: UUID | None
    type: str
    attempts: int
    next_attempt_at: datetime
    expires_at: datetime | None
    sealed_request: bytes | None
    last_inbound_at: datetime | None
    template_status: str | None
    template_stale_at: datetime | None
    template_deleted_at: datetime | None
    is_unwanted: bool | None


class Failed(NamedTuple):
    """Why a message will not be sent."""

    code: int | str
    title: str

    def facts(self) -> dict[str, object]:
        """Return it in the shape of the errors of receipts."""
        return self._asdict()


class PutOff(NamedTuple):
    """Why a message waits, and until when."""

    until: datetime
    reason: str


def due(wanted: Mapping[UUID, int], *, now: datetime) -> list[Due]:
    """Return up to so many due messages of each number, locked in the caller's transaction."""
    rows = [(workspace_id, count, now) for workspace_id, count in wanted.items()]
    return [Due(*row) for row in bulk.run(DUE, COLUMNS, rows)]


def examine(row: Due, *, now: datetime, chance: Random) -> Failed | PutOff | None:
    """Return why a message must not be sent now, or ``None`` for one that may."""
    if row.expires_at is not None and row.expires_at <= now:
        return Failed("EXPIRED", "It expired before it could be sent.")
    if row.template_id is None:
        return None
    # Waiting is drawn out a little, or all of a template's messages would come back together.
    drawn_out = chance.uniform(1, 1.3)
    if row.template_status is None:
        return Failed(132001, "The template is not there any more.")
    if row.template_deleted_at is not None or row.template_status in GONE:
        return Failed(132016, "The template was disabled or deleted.")
    if row.template_status != APPROVED:
        reason = f"The template is {row.template_status[:64]}; sending waits until it is approved."
        return PutOff(now + TEMPLATE_PAUSE * drawn_out, reason)
    if row.is_unwanted:  # he said so while the message was in a sender's hands
        return Failed(131050, "The person wants no marketing any more.")
    stale = row.template_stale_at
    if stale is not None and now - stale < STALE_FOR:
        reason = "Meta refused this template; sending waits for its state."
        return PutOff(now + STALE_PAUSE * drawn_out, reason)
    return None
