"""Look after every live broadcast: check, start when due, feed, hold, withdraw, end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol
from uuid import UUID

from lib.brake import Stopped, is_away, is_of_a_value
from lib.sql import select
from messaging import transitions
from messaging.broadcasts import waiting
from messaging.broadcasts.checking import check
from messaging.broadcasts.feeding import feed
from messaging.broadcasts.transitions import move, take
from messaging.delivery.queues import BROADCASTS_BRAKE
from messaging.models import Broadcast, BroadcastState
from workspaces.scope import tenant_scope

logger = logging.getLogger("sigma.whatsapp.broadcasts")

# How long one task goes on; the clock or a wake-up starts the next.
SECONDS = 2.0
LIVE = """
SELECT b.id, b.tenant_id, b.state
FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id AND t.status = 'ACTIVE'
WHERE b.ended_at IS NULL AND b.state NOT IN ('DRAFT', 'REFUSED')
ORDER BY b.started_at NULLS FIRST, b.id
"""


class Live(NamedTuple):
    """A broadcast that somebody has to look after."""

    id: UUID
    tenant_id: UUID
    state: str


class Step(Protocol):
    """Something to do for a broadcast; returns whether there is more to do at once."""

    def __call__(self, *, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> bool:
        """Do it."""


def tend(*, clock: Callable[[], datetime], seconds: float = SECONDS) -> bool:
    """Go round the live broadcasts of all tenants; return whether there is more to do at once.

    Each gets one step a round, so nobody's long list holds up the others'.
    """
    if BROADCASTS_BRAKE.pause:
        return False
    deadline = time.monotonic() + seconds
    round_: list[Live] = select(Live, LIVE, [])
    try:
        while round_ and time.monotonic() < deadline:
            round_ = _go_round(round_, clock)
    except Stopped as stopped:
        BROADCASTS_BRAKE.stop(stopped)
        return False
    return bool(round_)


def _go_round(round_: Sequence[Live], clock: Callable[[], datetime]) -> list[Live]:
    """Make a step for each; return those for which there is more to do at once.

    Raises:
        lib.brake.Stopped: all fail alike.
    """
    more: list[Live] = []
    failed: list[tuple[Live, Exception]] = []
    stopped: list[Stopped] = []
    for live in round_:
        try:
            if _step(live, clock()):
                more.append(live)
        except Exception as error:  # one broadcast's trouble is not the others'
            if is_away(error):
                raise
            if isinstance(error, Stopped) or not is_of_a_value(error):
                stopped.append(error if isinstance(error, Stopped) else Stopped(error))
            else:
                failed.append((live, error))
    _judge(failed, stopped, some_passed=len(failed) + len(stopped) < len(round_))
    return more


def _judge(
    failed: Sequence[tuple[Live, Exception]], stopped: Sequence[Stopped], *, some_passed: bool
) -> None:
    """Report what went wrong; nothing is given up for it, the next round tries again.

    Raises:
        lib.brake.Stopped: nothing passed, and it does not look like one broadcast's trouble.
    """
    if stopped and not some_passed:
        raise stopped[0]
    BROADCASTS_BRAKE.judge(failed, step="tend", passed=some_passed)
    for live, bug in failed:
        extra = {"broadcast_id": str(live.id)}
        logger.error("whatsapp broadcast not tended", exc_info=bug, extra=extra)
    if stopped:
        BROADCASTS_BRAKE.report(stopped[0])
    elif some_passed:
        BROADCASTS_BRAKE.release()


def _step(live: Live, now: datetime) -> bool:
    step = STEPS.get(live.state)
    return step is not None and step(tenant_id=live.tenant_id, broadcast_id=live.id, now=now)


def begin(*, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> bool:
    """Let a scheduled broadcast run when its time has come."""
    with tenant_scope(tenant_id):
        broadcast = _in_state(broadcast_id, BroadcastState.SCHEDULED)
        if broadcast is None or (broadcast.scheduled_at or now) > now:
            return False
        move(broadcast, BroadcastState.RUNNING, now=now)
        return False


def hold(*, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> bool:
    """Put aside what came back to be tried again since the broadcast was paused."""
    with tenant_scope(tenant_id):
        broadcast = _in_state(broadcast_id, BroadcastState.PAUSED)
        if broadcast is not None and waiting.in_hand(broadcast):
            waiting.hold(broadcast)
        return False


def wind_up(*, tenant_id: UUID, broadcast_id: UUID, now: datetime) -> bool:
    """End a cancelled broadcast when nothing of it is on its way any more."""
    with tenant_scope(tenant_id):
        broadcast = _in_state(broadcast_id, BroadcastState.CANCELLED)
        if broadcast is None:
            return False
        if waiting.in_hand(broadcast):
            transitions.cancel_broadcast(broadcast.id, now=now)  # what came back meanwhile
        if not waiting.in_hand(broadcast):
            broadcast.ended_at = now
            broadcast.save(update_fields=("ended_at",))
        return False


def _in_state(broadcast_id: UUID, state: BroadcastState) -> Broadcast | None:
    broadcast = take(broadcast_id)
    return broadcast if broadcast is not None and broadcast.state == state else None


STEPS: Mapping[str, Step] = MappingProxyType(
    {
        BroadcastState.CHECKING: check,
        BroadcastState.SCHEDULED: begin,
        BroadcastState.RUNNING: feed,
        BroadcastState.PAUSED: hold,
        BroadcastState.CANCELLED: wind_up,
    }
)
