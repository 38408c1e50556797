"""Pending sends whose time has come: locked for their claimer, examined once more (much may have
happened since they were queued), opened, and reserved or deferred. It all stays in the outbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from lib.envelope import CannotOpen, associated_data
from messaging.people import SURVIVOR
from messaging.statuses import OPTED_OUT
from messaging.transitions import IS_MARKETING, SEALED_REQUEST
from workspaces import keys

# Single messages come first: what a broadcast queues takes the places that they leave. Rows locked
# by another claimer are theirs. What comes back from an attempt of a broadcast that was
# stopped meanwhile is for whoever tends that. Each LATERAL … LIMIT, and each subquery, is a look-up
# in an index: the planner, who cannot know how few rows are wanted, would rather read tables. The
# person may be another contact by now than the one that the message was queued for. Marketing is
# what is so now, and what was so when it was queued, as for a stop and for a mark.
OF_RUNNING = """o.broadcast_id IS NOT NULL AND coalesce((
    SELECT b.state FROM broadcasts b WHERE b.tenant_id = o.tenant_id AND b.id = o.broadcast_id
) NOT IN ('PAUSED', 'CANCELLED'), true)"""
LANE = """
SELECT o.message_id, o.tenant_id, o.workspace_id, o.contact_id AS recipient_id, o.template_id,
       o.broadcast_id, o.type, o.attempts, o.due_at, o.expires_at, o.sealed_request
FROM outbox o
WHERE o.tenant_id = r.tenant_id AND o.workspace_id = r.workspace_id AND o.due_at <= r.now
  AND {condition}
ORDER BY o.due_at LIMIT r.most FOR UPDATE SKIP LOCKED
"""
RECIPIENT = SURVIVOR.format(tenant_id="l.tenant_id", contact_id="l.recipient_id")
DUE = f"""
SELECT q.message_id, q.tenant_id, q.workspace_id, q.contact_id, q.template_id, q.type, q.attempts,
       q.expires_at, q.sealed_request, q.broadcast_id IS NOT NULL, c.last_inbound_at,
       t.status, t.stale_at, t.deleted_at, q.type = 'template' AND (
           SELECT true FROM opt_outs o
           WHERE o.tenant_id = q.tenant_id AND o.contact_id = q.contact_id AND o.lifted_at IS NULL
       ) AND (t.category IS NOT DISTINCT FROM 'MARKETING' OR (
           SELECT m.{IS_MARKETING} FROM messages m
           WHERE m.tenant_id = q.tenant_id AND m.id = q.message_id
       ))
FROM {{rows}} CROSS JOIN LATERAL (
    SELECT l.*, {RECIPIENT} AS contact_id FROM (
        SELECT * FROM ({LANE.format(condition="o.broadcast_id IS NULL")}) single
        UNION ALL
        SELECT * FROM ({LANE.format(condition=OF_RUNNING)}) broadcast
    ) l LIMIT r.most
) q
LEFT JOIN LATERAL (
    SELECT v.last_inbound_at FROM conversations v
    WHERE v.tenant_id = q.tenant_id AND v.workspace_id = q.workspace_id
      AND v.contact_id = q.contact_id LIMIT 1
) c ON true
LEFT JOIN LATERAL (
    SELECT p.status, p.stale_at, p.deleted_at, p.category FROM templates p
    WHERE p.tenant_id = q.tenant_id AND p.id = q.template_id LIMIT 1
) t ON true
ORDER BY q.broadcast_id IS NOT NULL, q.due_at, q.message_id
"""  # noqa: S608 - names of ours
COLUMNS = ("tenant_id uuid", "workspace_id uuid", "most int4", "now timestamptz")
# By the database's clock, which all workers share; or by one's own, where that is ahead: else one
# would find it due again at once. A message that is reserved is still queued: if its sender dies
# before it is marked, it is due again, for it cannot have left.
RESERVE = """
UPDATE outbox o SET attempts = o.attempts + 1, reason = '',
    due_at = greatest(clock_timestamp(), r.now) + make_interval(secs => r.seconds)
FROM {rows} WHERE o.tenant_id = r.tenant_id AND o.message_id = r.id
"""
DEFER = """
UPDATE outbox o SET due_at = r.until, reason = r.reason
FROM {rows} WHERE o.tenant_id = r.tenant_id AND o.message_id = r.id
"""
# Locked one after the other in one order, and never waited for: who is claiming them looks anyway.
CALL = """
WITH waiting AS MATERIALIZED (
    SELECT o.tenant_id, o.message_id, r.now FROM {rows}
    JOIN outbox o ON o.tenant_id = r.tenant_id AND o.workspace_id = r.workspace_id
    WHERE o.due_at > r.now AND o.reason = r.reason
    ORDER BY o.message_id FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox o SET due_at = w.now FROM waiting w
WHERE o.tenant_id = w.tenant_id AND o.message_id = w.message_id
"""

APPROVED = "APPROVED"
# Nothing that these templates would send is ever sent.
GONE = frozenset({"DISABLED", "DELETED", "REJECTED", "ARCHIVED", "PENDING_DELETION"})
TEMPLATE_PAUSE = timedelta(minutes=10)
# A template that Meta refused is asked about at once; its messages wait for the answer, not for
# ever.
STALE_PAUSE, STALE_FOR = timedelta(minutes=1), timedelta(minutes=10)


class Due(NamedTuple):
    """A pending send, and what it depends on: a row of the first statement."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    template_id: UUID | None
    type: str
    attempts: int
    expires_at: datetime | None
    sealed_request: bytes
    is_of_broadcast: bool
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


class Deferral(NamedTuple):
    """Why a message waits, and until when."""

    until: datetime
    reason: str


def due(wanted: Iterable[tuple[UUID, UUID, int]], *, now: datetime) -> list[Due]:
    """Return up to so many due messages of each number (tenant, workspace, how many), locked in the
    caller's transaction.
    """
    rows = [(*number, now) for number in wanted]
    return [Due(*row) for row in bulk.run(DUE, COLUMNS, rows)]


def examine(row: Due, *, now: datetime, chance: Random) -> Failed | Deferral | None:
    """Return why a message must not be sent now, or ``None`` for one that may."""
    if row.expires_at is not None and row.expires_at <= now:
        return Failed("EXPIRED", "It expired before it could be sent.")
    if row.is_unwanted:  # they said so while the message was in a sender's hands
        return Failed(OPTED_OUT, "The person wants no marketing any more.")
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
        return Deferral(now + TEMPLATE_PAUSE * drawn_out, reason)
    stale = row.template_stale_at
    if stale is not None and now - stale < STALE_FOR:
        reason = "Meta refused this template; sending waits for its state."
        return Deferral(now + STALE_PAUSE * drawn_out, reason)
    return None


def request_of(row: Due) -> bytes | Failed:
    """Return the request of a due message, or why nobody can read it any more."""
    place = associated_data(row.tenant_id, SEALED_REQUEST, row.id)
    try:
        return keys.field_cipher(row.tenant_id).open(row.sealed_request, place)
    except (CannotOpen, keys.TenantHasNoKeys) as error:
        return Failed("UNREADABLE", str(error))


def reserve(rows: Iterable[Due], *, seconds: float, now: datetime) -> None:
    """Let nobody else claim what :func:`due` returned for a while; each begins its next attempt."""
    columns = ("tenant_id uuid", "id uuid", "seconds float8", "now timestamptz")
    bulk.run(RESERVE, columns, [(row.tenant_id, row.id, seconds, now) for row in rows])


def defer(waits: Iterable[tuple[Due, Deferral]]) -> None:
    """Let what :func:`due` returned wait until a time, for a reason."""
    columns = ("tenant_id uuid", "id uuid", "until timestamptz", "reason text")
    bulk.run(DEFER, columns, [(row.tenant_id, row.id, *wait) for row, wait in waits])


def call(*, tenant_id: UUID, workspace_id: UUID, reason: str, now: datetime) -> None:
    """Let what waits at a number for a reason be due."""
    columns = ("tenant_id uuid", "workspace_id uuid", "reason text", "now timestamptz")
    bulk.run(CALL, columns, [(tenant_id, workspace_id, reason, now)])
