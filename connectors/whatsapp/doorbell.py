"""Tell the workers that callbacks wait. The bell may fail: what is owed is a row, and the sweep
finds it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from lib.bells import KEY_SECONDS, Bell, broker

__all__ = ["BELL", "KEY_SECONDS", "PAUSE_SECONDS", "AsyncDoorbell", "broker", "key", "ring"]

BELL = Bell(name="drain", task="ingest.drain", queue="ingest")
# One process rings at most this often; the last ring is never dropped.
PAUSE_SECONDS = 0.025


def key(slot: int) -> str:
    """Return the name of a drain slot's key."""
    return BELL.key(slot)


def ring(slot: int = 0) -> bool:
    """Call a drain unless one is coming or running; return whether a task was sent."""
    return BELL.ring(slot)


class AsyncDoorbell:
    """Ring from an event loop without ever blocking it, many commits to one ring."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="doorbell")
        self._ringing = self._again = False

    def press(self) -> None:
        """Ring soon; return at once."""
        if self._ringing:
            self._again = True
            return
        self._ringing = True
        asyncio.get_running_loop().create_task(self._ring())

    async def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._again = False
                await loop.run_in_executor(self._executor, ring)
                await asyncio.sleep(PAUSE_SECONDS)
                if not self._again:
                    return
        finally:
            self._ringing = False

    def warm_up(self) -> None:
        """Open the broker connection now: the first task of a process takes 100 ms and more."""
        self._executor.submit(ring)

    def close(self) -> None:
        """Stop ringing."""
        self._executor.shutdown(wait=False, cancel_futures=True)
