"""A session's status, written for people and for what asks whether it may send.

The number's own row (``number_states``) gets the same: what queues messages reads it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from connectors.linked_device.models import SessionState
from workspaces.events import Event, emit


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A session's state, why it is so, and until when it stays so by itself (``None``: open)."""

    state: SessionState
    reason: str = ""
    until: datetime | None = None


# With a fencing token only while that is the newest: a process that lost its lease writes nothing.
WRITE = """
UPDATE sender_sessions s SET state = %(state)s, reason = %(reason)s, until = %(until)s,
    since = CASE WHEN s.state = %(state)s THEN s.since ELSE %(now)s END, updated_at = %(now)s
WHERE s.id = %(id)s AND (%(token)s::int8 IS NULL OR EXISTS (
    SELECT FROM session_leases l WHERE l.session_id = s.id AND l.fencing_token = %(token)s
      AND l.owner IS NOT NULL
))
RETURNING s.tenant_id, s.workspace_id
"""
NUMBER = """
INSERT INTO number_states AS n (workspace_id, tenant_id, status, problem)
VALUES (%(workspace)s, %(tenant)s, %(state)s, %(reason)s)
ON CONFLICT (tenant_id, workspace_id)
DO UPDATE SET status = excluded.status, problem = excluded.problem
WHERE (n.status, n.problem) IS DISTINCT FROM (excluded.status, excluded.problem)
RETURNING 1
"""


def write(
    session_id: UUID, status: SessionStatus, *, now: datetime, fencing_token: int | None = None
) -> bool:
    """Write a session's status; return whether the caller may still do so.

    Without a ``fencing_token`` the caller is an operator or a supervisor, and knows that no process
    holds the session. A change is published to the tenant's apps (``number.updated``).
    """
    facts: dict[str, Any] = {
        "id": session_id,
        "state": status.state.value,
        "reason": status.reason,
        "until": status.until,
        "now": now,
        "token": fencing_token,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WRITE, facts)
        row = cursor.fetchone()
        if row is None:
            return False
        tenant_id, workspace_id = row
        cursor.execute(NUMBER, {**facts, "tenant": tenant_id, "workspace": workspace_id})
        if cursor.fetchone() is not None:
            data = {"workspace_id": str(workspace_id), "status": status.state.value}
            emit([Event(tenant_id, "number.updated", data, now)])
    return True
