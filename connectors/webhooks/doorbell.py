"""Tell the workers that there is work. The bell may fail: what is owed is a row, and the sweep
finds it.

A key in the broker says that a drain is on its way or running. The drain removes the key *before*
it looks a last time, so a callback committed after that look finds no key and rings again.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

logger = logging.getLogger("sigma.whatsapp.webhooks")

DRAIN = "ingest.drain"
# A drain renews its key with every batch; a dead one's is gone after this long.
KEY_SECONDS = 5
# One process rings at most this often; the last ring is never dropped.
PAUSE_SECONDS = 0.025


@cache
def broker() -> Redis:
    """Return this process's client of the broker, with short time-outs."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def key(slot: int) -> str:
    """Return the name of a drain slot's key."""
    return f"sigma:drain:{slot}"


def ring(slot: int = 0) -> bool:
    """Call a drain unless one is coming or running; return whether a task was sent.

    Never raises: a broker that is away is one warning, and the sweep rings again.
    """
    try:
        if not broker().set(key(slot), "1", nx=True, ex=KEY_SECONDS):
            return False
        current_app.send_task(DRAIN, kwargs={"slot": slot}, queue="ingest", retry=False)
    except (RedisError, OperationalError, OSError) as error:
        logger.warning("whatsapp doorbell not rung", extra={"error": type(error).__name__})
        return False
    return True


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
