"""Look after live broadcasts: check, start when due, feed, suspend, withdraw, end. A step of the
work loop is a round of them, or as much of one as half a second has room for.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from workspaces.acting import as_tenant

logger = logging.getLogger("sigma.whatsapp.broadcasts")

# Between two rounds, beginning to beginning: several in what a broadcast keeps in the outbox. What
# a round costs whatever there is to feed is a dozen round trips for each broadcast.
PAUSE_SECONDS = 0.25
# A round that takes longer is more than one process should be left with: while one broadcast's rows
# are queued, another's messages run out. It goes on in the next step, where the turn's key in the
# broker is renewed and, should it be time, the turn ends.
LONG_SECONDS = 0.5
# One with nothing to do is left alone for half of what its messages in the outbox last: nothing was
# sent of them since the round before, or nothing is left to follow them.
REST_SECONDS = 0.5
# One that something is in the way of, a paused number for instance.
STUCK_SECONDS = 1.0
# One that failed is left alone for 1, 2, 4 ... 30 seconds.
LONGEST_SECONDS = 30.0
# A scheduled one waits for its time. A paused one has nothing to wait for but messages that came
# back to be tried again. A turn begins anywhere, or the last would never have theirs where a turn
# is too short for all.
LIVE = """
SELECT b.id, b.tenant_id, b.state
FROM broadcasts b JOIN tenants t ON t.id = b.tenant_id AND t.status = 'ACTIVE'
WHERE b.ended_at IS NULL AND b.state NOT IN ('DRAFT', 'REFUSED') AND CASE b.state
    WHEN 'SCHEDULED' THEN coalesce(b.scheduled_at <= %s, true)
    WHEN 'PAUSED' THEN EXISTS (
        SELECT FROM outbox o
        WHERE o.tenant_id = b.tenant_id AND o.broadcast_id = b.id AND o.due_at IS NOT NULL)
    ELSE true END
ORDER BY random()
"""
Clock = Callable[[], datetime]


class Live(NamedTuple):
    """A broadcast that somebody has to look after."""

    id: UUID
    tenant_id: UUID
    state: str


class Failing(NamedTuple):
    """Until when a broadcast that failed is left alone, and for how many seconds that is."""

    until: float
    seconds: float


# What this process knows of: a turn is shorter than the longest rest.
_failing: dict[Live, Failing] = {}


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
        # When a broadcast was last looked at, or a list of a tenant's checked.
        self._looked = defaultdict[UUID, float](float)
        self._rests: dict[Live, float] = {}
        self._passed = float("-inf")
        self._failed, self._stopped = list[tuple[Live, Exception]](), list[Stopped]()

    def step(self) -> int:
        """Go round for a while; return how many rows and messages were changed."""
        self._failed, self._stopped = [], []
        count = sum(map(self._look, self._round()))
        # Those that rest passed a second ago at most.
        some_passed = time.monotonic() - self._passed <= STUCK_SECONDS
        _judge(self._failed, self._stopped, some_passed=some_passed)
        return count

    def _round(self) -> Iterator[Live]:
        """Yield whose turn it is: who waited longest goes first, and whose messages are being sent
        before whose list is checked. One list is checked in any case; tenants take turns at that,
        whatever number of lists each has.
        """
        began = time.monotonic()
        due = [
            live
            for live in select(Live, LIVE, [self._clock()])
            if self._rests.get(live, began) <= began
            and (live not in _failing or _failing[live].until <= began)
        ]
        checking = [live for live in due if live.state == BroadcastState.CHECKING]
        others = [live for live in due if live.state != BroadcastState.CHECKING]
        for live in sorted(others, key=lambda one: self._looked[one.id]):
            yield live
            if time.monotonic() - began >= LONG_SECONDS:
                break
        while checking:
            live = min(checking, key=lambda o: (self._looked[o.tenant_id], self._looked[o.id]))
            checking.remove(live)
            yield live
            self._looked[live.tenant_id] = time.monotonic()
            if time.monotonic() - began >= LONG_SECONDS:
                break

    def _look(self, live: Live) -> int:
        """Do what is to be done for one broadcast, whose trouble is not the others'."""
        count, rest = 0, STUCK_SECONDS
        try:
            count, rest = _advance(live, self._clock())
            self._passed = time.monotonic()
            _failing.pop(live, None)
        except Stopped as error:
            self._stopped.append(error)
        except Exception as error:
            if is_away(error):
                raise
            if is_of_a_value(error):
                self._failed.append((live, error))
                _leave_alone(live)
            else:
                self._stopped.append(Stopped(error))
        self._looked[live.id] = time.monotonic()
        self._rests[live] = self._looked[live.id] + rest
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


def _advance(live: Live, now: datetime) -> tuple[int, float]:
    """Do what is to be done in this state, in one transaction; return how many rows and messages it
    changed, and for how many seconds to leave the broadcast alone. Nothing is changed where another
    process holds the broadcast, or somebody changed its state.
    """
    with as_tenant(live.tenant_id):
        broadcast = take(tenant_id=live.tenant_id, broadcast_id=live.id)
        if broadcast is None or broadcast.state != live.state:
            return 0, REST_SECONDS
        if count := STEPS[live.state](broadcast, now):
            return count, 0.0
        return 0, STUCK_SECONDS if broadcast.reason else REST_SECONDS


def _leave_alone(live: Live) -> None:
    """Leave a broadcast that failed alone for twice as long as before."""
    seconds = min(LONGEST_SECONDS, 2 * _failing[live].seconds) if live in _failing else 1.0
    _failing[live] = Failing(time.monotonic() + seconds, seconds)


def _judge(
    failed: Sequence[tuple[Live, Exception]], stopped: Sequence[Stopped], *, some_passed: bool
) -> None:
    """Report what went wrong in a round; nothing is given up for it, a later one tries again.

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


def suspend(broadcast: Broadcast, now: datetime) -> int:
    """Put aside what came back to be tried again since the broadcast was paused."""
    return waiting.suspend(broadcast)


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
        BroadcastState.PAUSED: suspend,
        BroadcastState.CANCELLED: wind_up,
    }
)
