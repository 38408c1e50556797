"""Mark messages as being sent, in the moment before they are: what a dead sender had claimed and
not marked cannot have left, and is simply due again. Many marks go into one transaction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.db import connection, connections, transaction

from lib.brake import Stopped, is_away
from messaging.delivery import writing
from messaging.delivery.attempts import Attempt
from messaging.delivery.queues import SENDS_BRAKE

logger = logging.getLogger("sigma.whatsapp.sending")

# A send takes 65 seconds at most; the rest is for what lies between the mark and the send.
LEASE_SECONDS = 90.0
# A moment for company: at a thousand sends a second a transaction holds a dozen marks.
PAUSE_SECONDS = 0.008
MOST = 500


class Marker:
    """Marks for one event loop, in a thread with a connection of its own."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Attempt, asyncio.Future[float | None]]] = []
        self._marking: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="marks")

    async def mark(self, attempt: Attempt) -> float | None:
        """Return when the lease ends (monotonic) once the mark is committed; ``None`` where it is
        not: the message is somebody else's by now, was cancelled, or the database is away.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[float | None] = loop.create_future()
        self._waiting.append((attempt, done))
        if self._marking is None:
            self._marking = loop.create_task(self._mark_all())
        return await done

    def close(self) -> None:
        """End the thread and its connection."""
        self._executor.submit(connections.close_all)
        self._executor.shutdown()

    async def _mark_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(PAUSE_SECONDS)
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            end = time.monotonic() + LEASE_SECONDS
            marked: set[UUID] = set()
            try:
                marked = await loop.run_in_executor(
                    self._executor, self._try, [attempt for attempt, _ in batch]
                )
            finally:
                for attempt, done in batch:
                    if not done.done():  # cancelled: the process ends
                        done.set_result(end if attempt.message_id in marked else None)
        self._marking = None

    def _try(self, attempts: Sequence[Attempt]) -> set[UUID]:
        try:
            with transaction.atomic():
                return writing.mark(
                    [(one.message_id, one.number) for one in attempts], seconds=LEASE_SECONDS
                )
        except Exception as error:
            # Marked or not, nobody sends it now: it is given back when the database is there again.
            logger.warning("whatsapp sends not marked", extra={"error": type(error).__name__})
            connection.close()
            if not is_away(error):
                SENDS_BRAKE.stop(Stopped(error))
            return set()
