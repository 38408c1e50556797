"""The statements that move messages from state to state; each changes a row only where it is still
in the state it is moved from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import json

from lib import bulk
from messaging import changing, notices
from messaging.notices import Change

# By the database's clock, which all workers share; or by one's own, where that is ahead: else one
# would find it due again at once. A message that is reserved is still queued: if its sender dies
# before he marks it, it is due again, for it cannot have left.
RESERVE = """
UPDATE messages m SET attempts = m.attempts + 1,
    next_attempt_at = greatest(clock_timestamp(), r.now) + make_interval(secs => r.seconds),
    delivery = m.delivery - 'waiting'
FROM {rows} WHERE m.id = r.id AND m.status = 'queued'
"""
MARK = changing.statement(
    carry="r.seconds",
    found="""{rows} JOIN messages m ON m.id = r.id
    WHERE m.attempts = r.attempt AND m.status = 'queued' AND m.next_attempt_at IS NOT NULL""",
    assign="""status = 'sending', next_attempt_at = NULL,
    lease_until = clock_timestamp() + make_interval(secs => mine.seconds)""",
    returning="m.id",
)
# Its sender knows that it has not left. What became ``unknown`` meanwhile stays so: its tenant was
# told, and may have written to the person again.
RELEASE = changing.statement(
    carry="r.at",
    found="""{rows} JOIN messages m ON m.id = r.id
    WHERE m.attempts = r.attempt
      AND (m.status = 'sending' OR (m.status = 'queued' AND m.next_attempt_at IS NOT NULL))""",
    assign="status = 'queued', lease_until = NULL, next_attempt_at = mine.at",
)
# These two are about rows that the caller has locked, as RESERVE is.
PUT_OFF = """
UPDATE messages m SET next_attempt_at = r.until,
    delivery = m.delivery || jsonb_build_object('waiting', r.reason)
FROM {rows} WHERE m.id = r.id AND m.status = 'queued'
"""
FAIL = """
UPDATE messages m SET status = 'failed', next_attempt_at = NULL, lease_until = NULL,
    sealed_request = NULL, delivery = (m.delivery - 'waiting') || r.facts
FROM {rows} WHERE m.id = r.id AND m.status = 'queued'
"""

# A message, whose it is, and the error it failed with.
Failure = tuple[UUID, UUID, UUID, Mapping[str, object]]


def reserve(ids: Sequence[UUID], *, seconds: float, now: datetime) -> None:
    """Let nobody else claim queued messages for a while; each begins its next attempt."""
    columns = ("id uuid", "seconds float8", "now timestamptz")
    bulk.run(RESERVE, columns, [(one, seconds, now) for one in ids])


def mark(attempts: Iterable[tuple[UUID, int]], *, seconds: float) -> set[UUID]:
    """Move reserved messages from ``queued`` to ``sending``, with a lease; return those that were
    still reserved by this attempt.
    """
    columns = ("id uuid", "attempt int2", "seconds float8")
    rows = [(one, number, seconds) for one, number in sorted(attempts)]
    return {row[0] for row in bulk.run(MARK, columns, rows)}


def release(attempts: Iterable[tuple[UUID, int]], *, now: datetime) -> None:
    """Give back messages that these attempts did not send; they are due at once."""
    columns = ("id uuid", "attempt int2", "at timestamptz")
    bulk.run(RELEASE, columns, [(one, number, now) for one, number in sorted(attempts)])


def put_off(rows: Sequence[tuple[UUID, datetime, str]]) -> None:
    """Let queued messages wait until a time, for a reason."""
    bulk.run(PUT_OFF, ("id uuid", "until timestamptz", "reason text"), rows)


def fail(rows: Sequence[Failure], *, now: datetime) -> None:
    """Give up queued messages."""
    facts = [
        (message_id, encoded({"failed_at": now.isoformat(), "errors": [error]}))
        for message_id, _, _, error in rows
    ]
    bulk.run(FAIL, ("id uuid", "facts jsonb"), facts)
    notices.changed(
        [Change(m, t, w, "failed", [error.get("code")]) for m, t, w, error in rows], now=now
    )


def encoded(value: object) -> str:
    """Return JSON text."""
    return json.encode(value).decode()
