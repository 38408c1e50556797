"""One process's sending: an event loop in a thread of its own, which goes on while tasks come and
go. A turn claims; what was claimed is sent and recorded after the turn's end, too.

The database is used from two threads beside the loop, one that claims and one that records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from random import SystemRandom
from threading import Thread
from typing import TypeVar
from uuid import UUID

import uvloop
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from redis.exceptions import RedisError

from lib import clock, loops
from lib.brake import Stopped
from messaging.delivery import reads
from messaging.delivery.bell import BELL, BRAKE
from messaging.delivery.claims import Claimed, Claims
from messaging.delivery.marking import Marker
from messaging.delivery.performing import Performer
from messaging.delivery.recorder import Recorder
from messaging.delivery.recording import Outcome

logger = logging.getLogger("sigma.whatsapp.sending")

T = TypeVar("T")
# A turn gives its place back now and then, so that its worker can be stopped or restarted.
TURN_SECONDS = 5.0
# A turn that stays for a moment saves the next message the way through the broker.
LINGER_SECONDS = 1.0
# Between two claims: shorter than slots are given ahead, so that a number's row has no gaps.
PAUSE_SECONDS = 0.05
# How often a busy turn renews its key, and looks for read marks.
SELDOM_SECONDS = 0.5
# How long a process that ends waits for outcomes: a send takes 65 seconds at most. Shorter than
# what the processes' supervisors wait (``stop_grace_period``).
CLOSE_SECONDS = 75.0
# And then for statements under way: a database that hangs may never answer them.
THREADS_SECONDS = 5.0
# After the broker or the database was away.
AWAY_SECONDS = 1.0
AWAY = (OperationalError, InterfaceError, RedisError)


class Sender:
    """Sends for one process; make it after forking."""

    def __init__(self) -> None:
        self._chance = SystemRandom()
        self._claims = Claims(chance=self._chance)
        self._marker = Marker()
        self._performer = Performer(self._marker)
        self._busy: Counter[UUID] = Counter()
        self._looked = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._claimer = ThreadPoolExecutor(1, thread_name_prefix="claims")
        self._recorder = Recorder(chance=self._chance)
        self._loop = uvloop.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="sending", daemon=True)
        self._thread.start()

    def work(self, slot: int = 0) -> int:
        """Claim until nothing is due or the turn is over; return how many messages that was."""
        return self._run(self._turn(slot))

    def settle(self, *, seconds: float | None = None) -> int:
        """Wait until everything that was claimed has an outcome, written down, but not for longer
        than ``seconds``; return how many messages and marks have none.
        """
        return self._run(self._settle(seconds))

    def close(self) -> None:
        """Settle, then end the threads and their connections.

        What cannot be written down is given up after a while: nothing more is posted, and what is
        marked as being sent is unknown when its lease is over. Threads that the database keeps are
        left behind; their transactions end, written or not, with the process at the latest.
        """
        if left := self.settle(seconds=CLOSE_SECONDS):
            self._run(loops.cancel_others())
            logger.error("whatsapp sends left without an outcome", extra={"count": left})
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        ending = Thread(target=self._end_threads, name="ending", daemon=True)
        ending.start()
        ending.join(THREADS_SECONDS)

    def _end_threads(self) -> None:
        self._claimer.submit(connections.close_all)
        self._claimer.shutdown()
        self._marker.close()
        self._recorder.close()

    def _run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _settle(self, seconds: float | None) -> int:
        until = None if seconds is None else time.monotonic() + seconds
        while self._tasks and (until is None or time.monotonic() < until):
            left = None if until is None else max(0.0, until - time.monotonic())
            await asyncio.wait(self._tasks, timeout=left)
        return len(self._tasks)

    async def _turn(self, slot: int) -> int:
        total, started = 0, time.monotonic()
        idle_since = started
        while (now := time.monotonic()) - started < TURN_SECONDS:
            count = await self._claim(slot)
            if count is None:
                await asyncio.sleep(AWAY_SECONDS)
                await self._in_thread(lambda: self._pause(slot))
                return total
            total += count
            if count or self._tasks:
                idle_since = now
            elif slot > 0 or now - idle_since > LINGER_SECONDS:
                return total + await self._leave(slot)
            if slot + 1 < settings.SIGMA_SEND_LOOPS and self._free() < count:
                await self._in_thread(lambda: BELL.ring(slot + 1))
            await asyncio.sleep(max(0.0, now + PAUSE_SECONDS - time.monotonic()))
        self._performer.forget()
        await self._in_thread(lambda: BELL.release(slot))
        await self._in_thread(lambda: BELL.ring(slot))
        return total

    def _pause(self, slot: int) -> None:
        """Let the sweep call again, once a stop's pause is over."""
        if BRAKE.pause:
            BELL.stay(slot, seconds=BRAKE.pause)
        else:
            BELL.release(slot)

    async def _leave(self, slot: int) -> int:
        """Remove the key first, then look once more: who commits after that look rings again."""
        await self._in_thread(lambda: BELL.release(slot))
        count = await self._claim(None) or 0
        if count:
            await self._in_thread(lambda: BELL.ring(slot))
        return count

    def _free(self) -> int:
        return int(settings.SIGMA_SEND_CONCURRENCY) - len(self._tasks)

    async def _claim(self, slot: int | None) -> int | None:
        """Claim what is due, as far as there are places, and begin to send it; ``None`` if the
        broker or the database is away, or everything fails alike: the rows stay owed, the sweep
        comes back.
        """
        places, busy = self._free(), dict(self._busy)
        if BRAKE.is_on:  # one at a time, to see whether its outcome can be written
            if BRAKE.pause or self._tasks:
                return None
            places = 1
        if places <= 0:
            return 0
        try:
            claimed, marks = await self._in_thread(lambda: self._look(places, busy, slot))
        except AWAY as error:
            logger.warning("whatsapp sending put off", extra={"error": type(error).__name__})
            await self._in_thread(connections.close_all)
            return None
        if claimed is None:
            return None
        for one in claimed:
            self._begin(one.attempt.workspace_id, self._deliver(one))
        for mark in marks:
            self._begin(mark.workspace_id, self._mark(mark))
        return len(claimed) + len(marks)

    def _look(
        self, places: int, busy: Mapping[UUID, int], slot: int | None
    ) -> tuple[list[Claimed] | None, list[reads.Mark]]:
        """Claim, in the thread for it; ``None`` if everything fails alike. A turn that goes on
        keeps its key.
        """
        now, most = clock.now(), int(settings.SIGMA_SEND_CONCURRENCY)
        try:
            self._performer.check()
            claimed = self._claims.claim(places, busy, most=most, now=now)
        except AWAY:
            raise
        except Exception as error:
            BRAKE.stop(error if isinstance(error, Stopped) else Stopped(error))
            return None, []
        marks: list[reads.Mark] = []
        if slot is None or time.monotonic() - self._looked > SELDOM_SECONDS:
            self._looked = time.monotonic()
            marks = self._marks(now)
            if slot is not None and (claimed or marks or busy):
                BELL.stay(slot)
        return claimed, marks

    def _marks(self, now: datetime) -> list[reads.Mark]:
        """Claim read marks. Their trouble is not the messages', which are claimed already."""
        try:
            return reads.claim(self._claims.lines, now=now)
        except Exception as error:
            extra = {"error": type(error).__name__}
            is_away = isinstance(error, AWAY)
            logger.warning("whatsapp read marks put off", exc_info=not is_away, extra=extra)
            return []

    def _begin(self, number: UUID, work: Coroutine[object, object, None]) -> None:
        self._busy[number] += 1
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(number, done))

    def _end(self, number: UUID, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._busy[number] -= 1
        if not self._busy[number]:
            del self._busy[number]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("whatsapp sending failed", exc_info=error)

    async def _deliver(self, claimed: Claimed) -> None:
        """Send, and keep the place until the outcome is written down."""
        result = await self._performer.send(claimed)
        await self._recorder.record(Outcome(claimed.attempt, result, clock.now()))

    async def _mark(self, mark: reads.Mark) -> None:
        is_done = await reads.perform(mark)
        if is_done:
            with suppress(*AWAY):  # the mark is owed still, and harmless twice
                await self._in_thread(lambda: reads.forget(mark))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._claimer, work)
