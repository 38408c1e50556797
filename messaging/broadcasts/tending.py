"""Look after live broadcasts: check, start when due, feed, hold, withdraw, end. A step of the work
loop is a round of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from lib import clock, work
from lib.brake import Stopped, is_away, is_of_a_value
from lib.sql import select
from lib.work import Work
from messaging import transitions
from messaging.broadcasts import waiting
from messaging.broadcasts.checking import check
from messaging.broadcasts.feeding import feed
from messaging.broadcasts.states import move, take
from messaging.delivery.queues import BROADCASTS, BROADCASTS_BRAKE
from messaging.models import Broadcast, BroadcastState
from workspaces.scope import tenant_scope

logger = logging.getLogger("sigma.whatsapp.broadcasts")

# Between two rounds, beginning to beginning: several in what a broadcast keeps in the outbox. What
# a round costs whatever there is to feed is a dozen round trips for each broadcast.
PAUSE_SECONDS = 0.25
# A round that takes longer is more than one process should be left with: while one broadcast's rows
# are queued, another's messages run out.
LONG_SECONDS = 0.5
# A scheduled one waits for its time. A paused one has nothing to wait for but messages that came
# back to be tried again. Tenants take turns, whatever number of broadcasts each has.
LIVE = """
SELECT b.id, b.tenant_id, b.state
FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id AND t.status = 'ACTIVE'
WHERE b.ended_at IS NULL AND b.state NOT IN ('DRAFT', 'REFUSED') AND CASE b.state
    WHEN 'SCHEDULED' THEN coalesce(b.scheduled_at <= %s, true)
    WHEN 'PAUSED' THEN EXISTS (
        SELECT FROM outbox o
        WHERE o.tenant_id = b.tenant_id AND o.broadcast_id = b.id AND o.due_at IS NOT NULL)
    ELSE true END
ORDER BY row_number() OVER (PARTITION BY b.tenant_id ORDER BY b.started_at NULLS FIRST, b.id), b.id
"""
Clock = Callable[[], datetime]


class Live(NamedTuple):
    """A broadcast that somebody has to look after."""

    id: UUID
    tenant_id: UUID
    state: str


class Broadcasts(Work):
    """Live broadcasts of all tenants, one thing to do for each in a round: nobody's long list holds
    up the others'. A broadcast is claimed by a lock on its row, for as long as that takes.
    """

    what = "broadcasts"
    wake_up = BROADCASTS
    brake = BROADCASTS_BRAKE
    logger = logger
    slots = 2

    def __init__(self, clock: Clock, idle_wait: float) -> None:
        self._clock, self.idle_wait = clock, idle_wait

    def step(self) -> int:
        """Go round once; return how many rows and messages were changed."""
        round_ = select(Live, LIVE, [self._clock()])
        count, failed, stopped = 0, list[tuple[Live, Exception]](), list[Stopped]()
        for live in round_:  # one broadcast's trouble is not the others'
            try:
                count += _advance(live, self._clock())
            except Stopped as error:
                stopped.append(error)
            except Exception as error:
                if is_away(error):
                    raise
                if is_of_a_value(error):
                    failed.append((live, error))
                else:
                    stopped.append(Stopped(error))
        _judge(failed, stopped, some_passed=len(failed) + len(stopped) < len(round_))
        return count

    def is_behind(self, count: int, spent: float) -> bool:
        """Whether the round took long."""
        return spent > LONG_SECONDS

    def pause(self, count: int, spent: float) -> float:
        """Begin the next round soon."""
        return max(0.0, PAUSE_SECONDS - spent)


def tend(
    *, clock: Clock = lambda: clock.now(), slot: int = 0, idle_wait: float = work.IDLE_WAIT_SECONDS
) -> int:
    """Look after live broadcasts for one turn; return how many rows and messages were changed."""
    return work.run(Broadcasts(clock, idle_wait), slot)


def sweep(*, now: datetime) -> bool:
    """Call for what is due and whose wake-up was lost; return whether a turn was called."""
    return bool(select(Live, f"{LIVE} LIMIT 1", [now])) and BROADCASTS.notify()


def _advance(live: Live, now: datetime) -> int:
    """Do what is to be done in this state, in one transaction; return how many rows and messages it
    changed. Nothing where another process holds the broadcast, or somebody changed its state.
    """
    with tenant_scope(live.tenant_id):
        broadcast = take(tenant_id=live.tenant_id, broadcast_id=live.id)
        if broadcast is None or broadcast.state != live.state:
            return 0
        return STEPS[live.state](broadcast, now)


def _judge(
    failed: Sequence[tuple[Live, Exception]], stopped: Sequence[Stopped], *, some_passed: bool
) -> None:
    """Report what went wrong in a round; nothing is given up for it, the next one tries again.

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


def begin(broadcast: Broadcast, now: datetime) -> int:
    """Let a scheduled broadcast run: its time has come."""
    move(broadcast, BroadcastState.RUNNING, now=now)
    return 1


def hold(broadcast: Broadcast, now: datetime) -> int:
    """Put aside what came back to be tried again since the broadcast was paused."""
    return waiting.hold(broadcast)


def wind_up(broadcast: Broadcast, now: datetime) -> int:
    """End a cancelled broadcast when nothing of it is on its way any more."""
    # What came back meanwhile.
    count = transitions.cancel_broadcast(
        tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id, now=now
    )
    if waiting.look(broadcast).in_hand:
        return count
    broadcast.ended_at = now
    broadcast.save(update_fields=("ended_at",))
    return count + 1


STEPS: Mapping[str, Callable[[Broadcast, datetime], int]] = MappingProxyType(
    {
        BroadcastState.CHECKING: check,
        BroadcastState.SCHEDULED: begin,
        BroadcastState.RUNNING: feed,
        BroadcastState.PAUSED: hold,
        BroadcastState.CANCELLED: wind_up,
    }
)
