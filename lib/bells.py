"""Tell a worker that there is work. A bell may fail: what is owed is a row, and a sweep finds it.

A key in the broker says that a task is on its way or running. The task removes the key *before* it
looks a last time, so work committed after that look finds no key and rings again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

logger = logging.getLogger("sigma.whatsapp.bells")

# A running task renews its key; a dead one's is gone after this long.
KEY_SECONDS = 5


@cache
def broker() -> Redis:
    """Return this process's client of the broker, with short time-outs."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


@dataclass(frozen=True, slots=True)
class Bell:
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

    def ring(self, slot: int = 0) -> bool:
        """Call the task unless it is coming or running; return whether it was called.

        Never raises: a broker that is away is one warning, and the sweep rings again.
        """
        try:
            if not broker().set(self.key(slot), "1", nx=True, ex=KEY_SECONDS):
                return False
            kwargs = {"slot": slot} if slot else {}
            current_app.send_task(self.task, kwargs=kwargs, queue=self.queue, retry=False)
        except (RedisError, OperationalError, OSError) as error:
            extra = {"bell": self.name, "error": type(error).__name__}
            logger.warning("whatsapp bell not rung", extra=extra)
            return False
        return True

    def stay(self, slot: int = 0, *, seconds: float = KEY_SECONDS) -> None:
        """Renew the key of a task that goes on; without a key another may come beside it."""
        with suppress(RedisError):
            broker().set(self.key(slot), "1", px=max(1, int(seconds * 1000)))

    def release(self, slot: int = 0) -> None:
        """Remove the key of a task that is about to leave; otherwise it expires by itself."""
        with suppress(RedisError):
            broker().delete(self.key(slot))
