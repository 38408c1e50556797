"""Send one claimed message: in its slot, after what goes to the same person, and only once it is
marked as being sent, in the moment before it is. What a dead sender had claimed and not marked
cannot have left, and is simply due again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection, transaction

from lib import clock, metrics
from lib.batcher import ThreadBatcher
from lib.brake import Stopped, is_away
from messaging import transitions
from messaging.attempts import WIDE, Attempt, GivenBack, Result
from messaging.delivery.claims import Claimed
from messaging.delivery.queues import SENDS_BRAKE
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Rejected

logger = logging.getLogger("sigma.whatsapp.sending")

# A send is given up after this. The channel's own limit is shorter; this one is for a channel that
# has none.
MOST_SECONDS = 65.0
# Later than this is for other reasons than a busy loop.
LATEST_SECONDS = 0.2
# Longer than any lease.
FORGET_SECONDS = 300.0
# How often what a broadcast sends looks whether single messages are gone.
YIELD_SECONDS = 0.005
# A send takes 65 seconds at most; the rest is for what lies between the mark and the send.
LEASE_SECONDS = 90.0
# A moment for company: at a thousand sends a second a transaction holds a dozen marks.
PAUSE_SECONDS = 0.008
MOST = 500


@dataclass(frozen=True, slots=True)
class _Second:
    """When the sends of a number's latest second left. Who waits for its end stands in a row: else
    some wait for ever at a number that is busy. What a broadcast sends has a row of its own, whose
    first lets the other row go first.
    """

    sends: deque[float]
    rows: tuple[asyncio.Lock, asyncio.Lock] = field(
        default_factory=lambda: (asyncio.Lock(), asyncio.Lock())
    )

    def early(self, second: float, *, is_of_broadcast: bool) -> float:
        """Return for how many seconds the first of a row has to wait still."""
        is_full = len(self.sends) == self.sends.maxlen
        early = self.sends[0] + second - time.monotonic() if is_full else 0.0
        gives_way = is_of_broadcast and self.rows[False].locked()
        return max(early, YIELD_SECONDS if gives_way else 0.0)


class Performer:
    """Sends for one event loop; remembers where each number and each person is."""

    def __init__(self, marker: Marker) -> None:
        self._marker = marker
        self._seconds: dict[UUID, _Second] = {}
        self._last_to: dict[UUID, asyncio.Future[None]] = {}
        self._stopped: dict[UUID, float] = {}
        self._trouble: Stopped | None = None
        self._halted = 0.0

    async def send(self, claimed: Claimed) -> Result:
        """Send it and return what came of it; never raises, but when it is cancelled."""
        contact_id = claimed.attempt.contact_id
        before = self._last_to.get(contact_id) if contact_id else None
        done = asyncio.get_running_loop().create_future()
        if contact_id:
            self._last_to[contact_id] = done
        try:
            if before is not None:
                await before
            await self._slot(claimed)
            # Nothing is waited for between the mark and the post: whoever dies there leaves doubt.
            if not await self._is_mine(claimed):
                return GivenBack()
            return await self._post(claimed)
        finally:
            if not done.done():  # cancelled with who waited for it: the process ends
                done.set_result(None)
            if contact_id and self._last_to.get(contact_id) is done:
                del self._last_to[contact_id]

    async def _slot(self, claimed: Claimed) -> None:
        """Wait for the message's slot. Sends that fell behind, on a busy machine, may follow close
        upon one another, but never are there more than the slots of a second in any second; and
        where sends wake late they leave late too, so that second is made longer by as much.
        """
        number, most = claimed.attempt.workspace_id, max(1, int(1 / claimed.gap))
        await asyncio.sleep(claimed.start - time.monotonic())
        second = 1.0 + min(LATEST_SECONDS, max(0.0, time.monotonic() - claimed.start))
        latest = self._seconds.get(number)
        if latest is None or latest.sends.maxlen != most:
            before = latest or _Second(deque())
            latest = self._seconds[number] = _Second(deque(before.sends, most), before.rows)
        async with latest.rows[claimed.is_of_broadcast]:
            while early := latest.early(second, is_of_broadcast=claimed.is_of_broadcast):
                await asyncio.sleep(early)
            latest.sends.append(time.monotonic())

    async def _is_mine(self, claimed: Claimed) -> bool:
        """Mark the message, unless it expired or its number was stopped since it was claimed. A
        sender that was frozen meanwhile finds its lease too short.
        """
        expires = claimed.attempt.expires_at  # by the clock that the next claim gives it up by
        if self._is_stopped(claimed) or (expires is not None and expires <= clock.now()):
            return False
        end = await self._marker.add(claimed.attempt)
        is_late = end is None or time.monotonic() + MOST_SECONDS > end
        return not (is_late or self._is_stopped(claimed))

    def _is_stopped(self, claimed: Claimed) -> bool:
        stopped = self._stopped.get(claimed.attempt.workspace_id, 0.0)
        return max(stopped, self._halted) > claimed.at

    async def _post(self, claimed: Claimed) -> Result:
        number = claimed.attempt.workspace_id
        try:
            async with asyncio.timeout(MOST_SECONDS):
                with metrics.SEND_SECONDS.time():
                    accepted = await claimed.channel.send(claimed.request)
        except ChannelError as error:
            if isinstance(error, Rejected) and error.stops and error.reach in WIDE:
                # What was claimed before is not sent either; the next claim sees the pause.
                self._stopped[number] = time.monotonic()
            return error
        except TimeoutError:
            return OutcomeUnknown("The request left and no answer came in time.")
        except Exception as error:
            # A bug of the channel's; the request may have left before it.
            extra = {"message_id": claimed.attempt.message_id, "error": type(error).__name__}
            logger.exception("whatsapp send failed in a way nobody thought of", extra=extra)
            try:
                SENDS_BRAKE.judge([(claimed, error)], step="send", passed=False)
            except Stopped as stopped:
                self._trouble, self._halted = stopped, time.monotonic()
            return OutcomeUnknown(f"The send failed ({type(error).__name__}).")
        SENDS_BRAKE.judge((), step="send", passed=True)
        return accepted

    def check(self) -> None:
        """Return where sends do not fail alike in a way nobody thought of.

        Raises:
            lib.brake.Stopped: the latest few did, and nothing should be sent for a while.
        """
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def forget(self) -> None:
        """Drop what is of no use any more: there may be many numbers in the life of a process."""
        old = time.monotonic() - FORGET_SECONDS
        seconds = self._seconds.items()
        for number in [n for n, one in seconds if one.sends and one.sends[-1] < old]:
            del self._seconds[number]
        for number in [one for one, moment in self._stopped.items() if moment < old]:
            del self._stopped[number]


class Marker(ThreadBatcher[Attempt, float]):
    """Marks for one event loop, many at a time. A mark's result is when its lease ends (monotonic),
    once it is committed; ``None`` where it is not: the message is somebody else's by now, was
    cancelled, is marketing to whoever has had enough, or the database is away.
    """

    def __init__(self) -> None:
        super().__init__(thread="marks", pause=PAUSE_SECONDS, most=MOST)

    async def write(self, items: Sequence[Attempt]) -> list[float | None]:
        """Mark a batch in one transaction."""
        end = time.monotonic() + LEASE_SECONDS
        marked = await self.in_thread(self._try, items)
        return [end if attempt.message_id in marked else None for attempt in items]

    def _try(self, attempts: Sequence[Attempt]) -> set[UUID]:
        try:
            with transaction.atomic():
                return transitions.mark(attempts, seconds=LEASE_SECONDS)
        except Exception as error:
            # Marked or not, nobody sends it now: it is given back when the database is there again.
            logger.warning("whatsapp sends not marked", extra={"error": type(error).__name__})
            connection.close()
            if not is_away(error):
                SENDS_BRAKE.stop(Stopped(error))
            return set()
