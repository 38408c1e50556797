"""One process's sending: turns of the work loop claim, an event loop in a thread of its own sends,
and goes on with what was claimed when the turn is over.

The database is used by the turn's own thread, which claims, and by two beside the loop: one marks,
one records.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from random import SystemRandom
from threading import Lock, Thread
from uuid import UUID

import uvloop
from django.conf import settings
from django.db import connection, connections

from lib import clock, loops
from lib.work import AWAY, Work, run
from messaging.delivery import reads
from messaging.delivery.claims import Claimed, Claims
from messaging.delivery.performing import Marker, Performer
from messaging.delivery.queues import SENDS, SENDS_BRAKE
from messaging.delivery.recording import Outcome, Recorder
from messaging.delivery.uploading import Uploader

logger = logging.getLogger("sigma.whatsapp.sending")

# Between two claims: shorter than slots are given ahead, so that a number's row has no gaps.
PAUSE_SECONDS = 0.05
# How often a busy turn looks for read marks.
SELDOM_SECONDS = 0.5
# How long a process that ends waits for outcomes: a send takes 65 seconds at most. Shorter than
# what the processes' supervisors wait (``stop_grace_period``).
CLOSE_SECONDS = 75.0
# And then for statements under way: a database that hangs may never answer them.
THREADS_SECONDS = 5.0


class Sender(Work):
    """Sends for one process; make it after forking."""

    what = "sending"
    wake_up = SENDS
    brake = SENDS_BRAKE
    logger = logger

    def __init__(self) -> None:
        self.slots = int(settings.SIGMA_SEND_LOOPS)
        self._chance = SystemRandom()
        self._claims = Claims(chance=self._chance)
        self._marker = Marker()
        self._performer = Performer(self._marker)
        self._recorder = Recorder(chance=self._chance)
        self._uploader = Uploader(chance=self._chance)
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="reads")
        self._looked = 0.0
        # What was begun and has not ended, with its number; changed by the loop's thread, too.
        self._begun: dict[Future[None], UUID] = {}
        self._lock = Lock()
        self._loop = uvloop.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="sending", daemon=True)
        self._thread.start()

    def work(self, slot: int = 0) -> int:
        """Claim until nothing is due or the turn is over; return how many messages that was."""
        return run(self, slot)

    def settle(self, *, seconds: float | None = None) -> int:
        """Wait until everything that was claimed has an outcome, written down, but not for longer
        than ``seconds``; return how many messages and read marks have none.
        """
        with self._lock:
            begun = list(self._begun)
        return len(wait(begun, timeout=seconds).not_done)

    def close(self) -> None:
        """Settle, then end the threads and their connections.

        What cannot be written down is given up after a while: nothing more is posted, and what is
        marked as being sent is unknown when its lease is over. Threads that the database keeps are
        left behind; their transactions end, written or not, with the process at the latest.
        """
        self._uploader.close()
        if left := self.settle(seconds=CLOSE_SECONDS):
            self._in_loop(loops.cancel_others())
            logger.error("whatsapp sends left without an outcome", extra={"count": left})
        self._in_loop(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        ending = Thread(target=self._end_threads, name="ending", daemon=True)
        ending.start()
        ending.join(THREADS_SECONDS)

    def _end_threads(self) -> None:
        self._reads.submit(connections.close_all)
        self._reads.shutdown()
        self._marker.close()
        self._recorder.close()

    def _in_loop(self, work: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def under_way(self) -> int:
        """Return how many messages and read marks were claimed and have no outcome."""
        return len(self._begun)

    def is_behind(self, count: int, spent: float) -> bool:
        """Whether there were more messages than places."""
        return self._free() < count

    def pause(self, count: int, spent: float) -> float:
        """Claim again soon."""
        return max(0.0, PAUSE_SECONDS - spent)

    def end_turn(self) -> None:
        """Forget people and numbers that nothing was sent to lately."""
        self._loop.call_soon_threadsafe(self._performer.forget)

    def step(self) -> int:
        """Claim what is due, as far as there are places, and begin to send it."""
        places = self._free()
        if SENDS_BRAKE.is_on:  # one at a time, to see whether its outcome can be written
            places = 0 if self._begun else 1
        if places <= 0:
            return 0
        with self._lock:
            busy = Counter(self._begun.values())
        now, most = clock.now(), int(settings.SIGMA_SEND_CONCURRENCY)
        self._performer.check()
        claimed = self._claims.claim(places, busy, most=most, now=now)
        for one in claimed:
            self._begin(one.attempt.workspace_id, self._deliver(one))
        self._uploader.begin(self._claims.missing)
        read_marks: list[reads.ClaimedReadMark] = []
        if not claimed or time.monotonic() - self._looked > SELDOM_SECONDS:
            self._looked = time.monotonic()
            read_marks = self._claim_read_marks(now)
        for read_mark in read_marks:
            self._begin(read_mark.workspace_id, self._make(read_mark))
        return len(claimed) + len(read_marks)

    def _free(self) -> int:
        return int(settings.SIGMA_SEND_CONCURRENCY) - len(self._begun)

    def _claim_read_marks(self, now: datetime) -> list[reads.ClaimedReadMark]:
        """Claim read marks. Their trouble is not the messages', which are claimed already."""
        try:
            return reads.claim(self._claims.numbers, now=now)
        except Exception as error:
            extra = {"error": type(error).__name__}
            is_away = isinstance(error, AWAY)
            logger.warning("whatsapp read marks deferred", exc_info=not is_away, extra=extra)
            return []

    def _begin(self, number: UUID, work: Coroutine[object, object, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        with self._lock:
            self._begun[future] = number
        future.add_done_callback(self._end)

    def _end(self, future: Future[None]) -> None:
        with self._lock:
            del self._begun[future]
        if not future.cancelled() and (error := future.exception()) is not None:
            logger.error("whatsapp sending failed", exc_info=error)

    async def _deliver(self, claimed: Claimed) -> None:
        """Send, and keep the place until the outcome is written down."""
        result = await self._performer.send(claimed)
        await self._recorder.add(Outcome(claimed.attempt, result, clock.now(), claimed.files))

    async def _make(self, read_mark: reads.ClaimedReadMark) -> None:
        is_done = await reads.perform(read_mark)
        if is_done:
            await self._loop.run_in_executor(self._reads, _forget, read_mark)


def _forget(read_mark: reads.ClaimedReadMark) -> None:
    try:
        reads.forget(read_mark)
    except AWAY:
        connection.close()  # it is pending still, and harmless twice
