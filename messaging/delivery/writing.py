"""The statements that move messages from state to state; each changes a row only where it is still
in the state it is moved from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import json

from workspaces import bulk, outbox

# The lease ends by the database's clock, which all workers share.
CLAIM = """
UPDATE messages m SET status = 'sending', attempts = m.attempts + 1, next_attempt_at = NULL,
    lease_until = clock_timestamp() + make_interval(secs => r.seconds),
    delivery = m.delivery - 'waiting'
FROM {rows} WHERE m.id = r.id AND m.status = 'queued'
"""
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


def claim(ids: Sequence[UUID], *, seconds: float) -> None:
    """Move messages from ``queued`` to ``sending``, with a lease."""
    bulk.run(CLAIM, ("id uuid", "seconds float8"), [(one, seconds) for one in ids])


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
    tell([(m, t, w, "failed", [error.get("code")]) for m, t, w, error in rows], now=now)


def tell(
    changes: Iterable[tuple[UUID, UUID, UUID, str, Sequence[object]]], *, now: datetime
) -> None:
    """Tell the tenants' apps of new states: message, tenant, workspace, status, error codes."""
    outbox.emit([
        outbox.Event(
            tenant_id,
            "message.status",
            {
                "message_id": str(message_id), "workspace_id": str(workspace_id),
                "status": status, "error_codes": list(codes),
            },
            now,
        )
        for message_id, tenant_id, workspace_id, status, codes in changes
    ])  # fmt: skip


def encoded(value: object) -> str:
    """Return JSON text."""
    return json.encode(value).decode()
