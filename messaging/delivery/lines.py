"""Which numbers have something to send, in a fair order, and what it takes to send for them: a
channel, a pace, a limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from lib import bulk
from lib.envelope import CannotOpen
from lib.ttl import TtlCache
from messaging import numbers
from messaging.delivery import pauses
from messaging.delivery.pauses import Pause
from messaging.models import NumberState
from workspaces.channel_errors import NotConfigured
from workspaces.channels import Channel, channel_for
from workspaces.keys import TenantHasNoKeys
from workspaces.models import HOSTED, Workspace

# How long a process goes on with a token, a pace or a limit that somebody has changed.
CACHE_SECONDS = 5.0
# Whoever has no token yet is looked at again after this.
NOT_CONFIGURED_PAUSE = timedelta(minutes=1)

# A loose index scan finds the numbers with something to send, each with what is due first: the
# order is the index's (outbox_due), so that no plan reads what waits behind it. Tenants take turns,
# whatever number of numbers each has; where there are more than places, chance decides, so that
# none is always last.
WAITING = """
WITH RECURSIVE turn AS (
    (SELECT tenant_id, workspace_id, due_at FROM outbox WHERE due_at IS NOT NULL
     ORDER BY tenant_id, workspace_id, due_at LIMIT 1)
    UNION ALL
    SELECT o.tenant_id, o.workspace_id, o.due_at
    FROM turn CROSS JOIN LATERAL (
        SELECT q.tenant_id, q.workspace_id, q.due_at FROM outbox q
        WHERE q.due_at IS NOT NULL
          AND (q.tenant_id, q.workspace_id) > (turn.tenant_id, turn.workspace_id)
        ORDER BY q.tenant_id, q.workspace_id, q.due_at LIMIT 1
    ) o
)
SELECT w.id, w.tenant_id
FROM turn JOIN workspaces w ON w.tenant_id = turn.tenant_id AND w.id = turn.workspace_id
JOIN tenants t ON t.id = w.tenant_id
WHERE w.is_active AND t.status = 'ACTIVE' AND turn.due_at <= %(now)s
  AND w.transport <> ALL(%(hosted)s) AND NOT EXISTS (
    SELECT FROM sending_pauses p
    WHERE p.tenant_id = w.tenant_id AND coalesce(p.workspace_id = w.id, true)
      AND p.lifted_at IS NULL AND coalesce(p.until > %(now)s, true)
)
ORDER BY row_number() OVER (PARTITION BY w.tenant_id ORDER BY random()), random()
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A number that may send now: ``rate`` per second; ``limit`` is how many people its portfolio
    may write to first in 24 hours (``None``: any number).
    """

    workspace_id: UUID
    tenant_id: UUID
    channel: Channel = field(repr=False)
    rate: int
    portfolio: str
    limit: int | None


class Lines:
    """The lines of one process, remembered for seconds."""

    def __init__(self) -> None:
        self._known: TtlCache[UUID, Line] = TtlCache(seconds=CACHE_SECONDS, size=10_000)

    def waiting(self, limit: int, *, now: datetime) -> list[Line]:
        """Return up to ``limit`` numbers with something due, fairly chosen."""
        return self.of(waiting(limit, now=now), now=now)

    def of(self, workspace_ids: Iterable[UUID], *, now: datetime) -> list[Line]:
        """Return the lines of these numbers. One that cannot send for want of a token that can be
        read is paused, with the reason, and left out: its trouble is not the others'.
        """
        wanted = list(workspace_ids)
        missing = [one for one in wanted if self._known.get(one) is None]
        lines = {line.workspace_id: line for line in self._load(missing, now)}
        found = (lines.get(one) or self._known.get(one) for one in wanted)
        return [line for line in found if line is not None]

    def forget(self) -> None:
        """Look everything up again: a token may have been replaced."""
        self._known.clear()

    def _load(self, workspace_ids: list[UUID], now: datetime) -> list[Line]:
        if not workspace_ids:
            return []
        states = NumberState.objects.in_bulk(workspace_ids)
        lines, unable = [], []
        for workspace in Workspace.objects.filter(pk__in=workspace_ids):
            try:
                line = _line(workspace, states.get(workspace.pk), now)
            except NotConfigured as error:
                unable.append((workspace, str(error)))
            except (CannotOpen, TenantHasNoKeys) as error:
                unable.append((workspace, f"The access token cannot be read. {error}"))
            else:
                lines.append(self._known.put(workspace.pk, line))
        until = now + NOT_CONFIGURED_PAUSE
        pauses.pause(
            (Pause(w.tenant_id, w.id, pauses.NOT_CONFIGURED, why, until) for w, why in unable),
            now=now,
        )
        return lines


def waiting(limit: int, *, now: datetime) -> list[UUID]:
    """Return up to ``limit`` numbers with something due that nothing holds, fairly chosen. Those of
    hosted transports are for the processes that hold their connections.
    """
    with bulk.cursor() as cursor:
        cursor.execute(WAITING, {"now": now, "limit": limit, "hosted": list(HOSTED)})
        return [row[0] for row in cursor.fetchall()]


def _line(workspace: Workspace, state: NumberState | None, now: datetime) -> Line:
    channel = channel_for(workspace, now=now)
    portfolio = state.portfolio_id if state else ""
    return Line(
        workspace.id, workspace.tenant_id, channel, numbers.messages_per_second(state), portfolio,
        numbers.limit_of(state),
    )  # fmt: skip
