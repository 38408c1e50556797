"""The scheduler of Celery's beat: by a clock that nobody sets, and without a memory.

Everything is due when beat starts and then in equal steps of the monotonic clock, so that a host's
clock which was ahead and came back delays nothing. A task has no time at which it expires, for that
would compare two hosts' clocks; instead nothing is added to a queue where many wait.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from lib.heartbeat import ProcessHeartbeat
from lib.wakeups import broker

logger = logging.getLogger("sigma.whatsapp.beat")

# So many tasks in a queue say that nobody takes them; each would only look again.
MOST_WAITING = 50


class SteadyScheduler(Scheduler):
    """Sends what is due, and says that it lives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, float] = {}
        self._is_away = False
        self._heartbeat = ProcessHeartbeat("beat")
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Take the schedule from the settings, and nothing else."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *_: object, **__: object) -> float:
        """Send what is due; return the seconds until something else is."""
        now = time.monotonic()
        for name, entry in self.schedule.items():
            if self._due.get(name, now) <= now:
                self._due[name] = now + self.app.conf.beat_schedule[name]["schedule"]
                self._send(entry)
        self._heartbeat.beat()
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _send(self, entry: ScheduleEntry) -> None:
        """Send a task; a broker that is away or full is one line until that is over."""
        queue = self.app.amqp.router.route(dict(entry.options or {}), str(entry.task))["queue"].name
        try:
            if broker().llen(queue) < MOST_WAITING:
                self.apply_async(entry, producer=self.producer, advance=False)
        except (SchedulingError, RedisError, OperationalError, OSError) as error:
            if not self._is_away:
                cause = type(error.__cause__ or error).__name__
                logger.warning("whatsapp schedule: tasks are not sent", extra={"error": cause})
            self._is_away = True
        else:
            if self._is_away:
                logger.warning("whatsapp schedule: tasks are sent again")
            self._is_away = False
