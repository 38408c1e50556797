"""Tell a worker that there is work. A wake-up may be lost: what is pending is a row, which a sweep
finds.

A key in the broker says that a task is on its way or running. The task removes the key *before* it
looks a last time, so work committed after that look finds no key and wakes the next one.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

logger = logging.getLogger("sigma.whatsapp.wakeups")

# A running task renews its key; a dead one's is gone after this long.
KEY_SECONDS = 5
# One event loop wakes a task at most this often; its last wake-up is never dropped.
PAUSE_SECONDS = 0.025


@cache
def broker() -> Redis:
    """Return this process's client of the broker, with short time-outs."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Calls ``task`` on ``queue`` unless it is coming or running already.

    A task that runs several times side by side has a key for each ``slot``, and takes its slot as
    an argument; without one it is called without arguments.
    """

    name: str
    task: str
    queue: str

    def key(self, slot: int = 0) -> str:
        """Return the name of a slot's key."""
        return f"sigma:{self.name}:{slot}"

    def notify(self, slot: int = 0) -> bool:
        """Call the task unless it is coming or running; return whether it was called.

        Never raises: a broker that is away is one warning, and the sweep calls again.
        """
        try:
            if not broker().set(self.key(slot), "1", nx=True, ex=KEY_SECONDS):
                return False
            kwargs = {"slot": slot} if slot else {}
            current_app.send_task(self.task, kwargs=kwargs, queue=self.queue, retry=False)
        except (RedisError, OperationalError, OSError) as error:
            extra = {"wake_up": self.name, "error": type(error).__name__}
            logger.warning("whatsapp wake-up not sent", extra=extra)
            return False
        return True

    def hold(self, slot: int = 0, *, seconds: float = KEY_SECONDS) -> None:
        """Keep others from being called for a while; a running task renews its key so."""
        with suppress(RedisError):
            broker().set(self.key(slot), "1", px=max(1, int(seconds * 1000)))

    def release(self, slot: int = 0) -> None:
        """Let another be called; otherwise the key expires by itself."""
        with suppress(RedisError):
            broker().delete(self.key(slot))


class AsyncWakeUp:
    """Wakes a task from an event loop without ever blocking it, once for many calls."""

    def __init__(self, wake_up: WakeUp) -> None:
        self._wake_up = wake_up
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="wakeups")
        self._notifying = self._again = False

    def notify(self) -> None:
        """Call the task soon; return at once."""
        if self._notifying:
            self._again = True
            return
        self._notifying = True
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._again = False
                await loop.run_in_executor(self._executor, self._wake_up.notify)
                await asyncio.sleep(PAUSE_SECONDS)
                if not self._again:
                    return
        finally:
            self._notifying = False

    def warm_up(self) -> None:
        """Open the broker connection now: the first task of a process takes 100 ms and more."""
        self._executor.submit(self._wake_up.notify)

    def close(self) -> None:
        """Call no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
