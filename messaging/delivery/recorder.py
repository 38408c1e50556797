"""Collect outcomes and write them down together; keep them while the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from django.db import InterfaceError, OperationalError, connection, connections

from lib import clock
from lib.brake import Stopped
from messaging.delivery.attempts import GivenBack
from messaging.delivery.queues import SENDS_BRAKE
from messaging.delivery.recording import Outcome, record
from workspaces import keys
from workspaces.channel_errors import OutcomeUnknown

logger = logging.getLogger("sigma.whatsapp.sending")

# What a transaction costs whatever its size is a dozen round trips: wait a moment for company.
PAUSE_SECONDS = 0.03
MOST = 500
AWAY_SECONDS = 1.0


class Recorder:
    """Writes for one event loop, in a thread with a connection of its own."""

    def __init__(self, *, chance: Random) -> None:
        self._chance = chance
        self._waiting: list[tuple[Outcome, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="records")

    async def record(self, outcome: Outcome) -> None:
        """Return when the outcome is written down, or cannot be."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((outcome, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        await done

    def close(self) -> None:
        """End the thread and its connection."""
        self._executor.submit(connections.close_all)
        self._executor.shutdown()

    async def _write_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(PAUSE_SECONDS)
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                await self._write([outcome for outcome, _ in batch])
            finally:
                for _, done in batch:
                    if not done.done():  # cancelled: the process ends
                        done.set_result(None)
        self._writing = None

    async def _write(self, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes; they are kept while the database is away or everything fails alike. What
        fails alone, by its own fault, is left to the end of its lease.
        """
        loop = asyncio.get_running_loop()
        while pause := await loop.run_in_executor(self._executor, self._try, outcomes):
            await asyncio.sleep(pause)

    def _try(self, outcomes: Sequence[Outcome]) -> float:
        """Return after how many seconds to try again; 0 where there is nothing left to write."""
        try:
            failed = SENDS_BRAKE.sift(outcomes, self._record, step="record")
        except Stopped as stopped:
            return SENDS_BRAKE.stop(stopped)
        except (OperationalError, InterfaceError) as error:
            logger.warning("whatsapp outcomes kept", extra={"error": type(error).__name__})
            connection.close()
            return AWAY_SECONDS
        for outcome, bug in failed:
            extra = {"message_id": outcome.attempt.message_id}
            logger.error("whatsapp outcome not written", exc_info=bug, extra=extra)
        if len(failed) < len(outcomes) and any(_is_proof(outcome) for outcome in outcomes):
            SENDS_BRAKE.release()
        return 0.0

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        try:
            record(outcomes, now=clock.now(), chance=self._chance)
        except Exception:
            keys.forget()  # a key that was made in the transaction is gone with it
            raise


def _is_proof(outcome: Outcome) -> bool:
    """Whether it shows that sending works: the platform answered."""
    return not isinstance(outcome.result, (GivenBack, OutcomeUnknown))
