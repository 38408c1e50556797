"""The work loop of everything that is pending in a table: claim, perform, record, until nothing is
due.

Celery starts a *turn* where a wake-up or a sweep called for it (:mod:`lib.wakeups`). A turn ends
when nothing has been due for a moment, and now and then, so that its worker can be stopped or
restarted. While the database is away, or everything fails alike (:mod:`lib.brake`), what is pending
stays so, and the sweep calls again.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from redis.exceptions import RedisError

from lib import metrics
from lib.brake import DATABASE_AWAY, Brake, Stopped
from lib.wakeups import WakeUp

TURN_SECONDS = 5.0
# A turn that stays for a moment, when nothing is due, saves the next item the way through the
# broker.
IDLE_WAIT_SECONDS = 1.0
# How often a turn that goes on renews its key, which lasts for ``wakeups.KEY_SECONDS``.
HOLD_SECONDS = 0.5
# For how long nobody is called after the database or the broker was away.
AWAY_SECONDS = 1.0
AWAY = (*DATABASE_AWAY, RedisError)


class TaskRefused(Exception):
    """A scheduled task declined to run, and says why."""


class Work(ABC):
    """One kind of pending work, as one process does it.

    ``what`` names it in logs. Up to ``slots`` turns may run side by side, in as many processes.
    A turn ends when nothing was due for ``idle_wait`` seconds.
    """

    what: str
    wake_up: WakeUp
    brake: Brake
    logger: logging.Logger
    slots: int = 1
    idle_wait: float = IDLE_WAIT_SECONDS

    @abstractmethod
    def step(self) -> int:
        """Claim what is due, perform it or begin to; return how many items that were.

        Raises:
            lib.brake.Stopped: everything fails alike; all of it stays pending.
            OperationalError, InterfaceError, RedisError: the database or the broker is away.
        """

    @abstractmethod
    def pause(self, count: int, spent: float) -> float:
        """Return the seconds until the next step, after one of so many items and seconds."""

    def under_way(self) -> int:
        """Return how many items were begun and have not ended."""
        return 0

    def is_behind(self, count: int, spent: float) -> bool:
        """Whether, after a step of so many items and seconds, another slot would find work too."""
        return False

    def end_turn(self) -> None:  # noqa: B027 - nothing to do for most
        """Finish what a turn began, where its end would cut that off."""


def run(work: Work, slot: int = 0) -> int:
    """Work for one turn; return how many items that were."""
    total = 0
    try:
        for count in _turn(work, slot):
            total += count
    except AWAY as error:
        metrics.DEFERRED.labels(work.brake.line).inc()
        extra = {"error": type(error).__name__}
        work.logger.warning("whatsapp %s deferred", work.what, extra=extra)
        connection.close()
        work.wake_up.hold(slot, seconds=AWAY_SECONDS)
    except Exception as error:
        stopped = error if isinstance(error, Stopped) else Stopped(error)
        # The key stays until the next trial: nobody is called before that.
        work.wake_up.hold(slot, seconds=work.brake.stop(stopped))
    return total


def _turn(work: Work, slot: int) -> Iterator[int]:
    """Yield the count of each step."""
    started = idle_since = time.monotonic()
    renewed = 0.0
    while (now := time.monotonic()) - started < TURN_SECONDS:
        if pause := work.brake.pause:
            work.wake_up.hold(slot, seconds=pause)
            return
        count = _step(work)
        yield count
        if count or work.under_way():
            idle_since = time.monotonic()
            if idle_since - renewed > HOLD_SECONDS:
                renewed = idle_since
                work.wake_up.hold(slot)
        elif slot > 0 or now - idle_since >= work.idle_wait:
            yield _end_idle(work, slot)
            return
        spent = time.monotonic() - now
        if slot + 1 < work.slots and work.is_behind(count, spent):
            work.wake_up.notify(slot + 1)
        time.sleep(work.pause(count, spent))
    work.end_turn()
    work.wake_up.release(slot)
    work.wake_up.notify(slot)


def _step(work: Work) -> int:
    began = time.monotonic()
    count = work.step()
    if count:
        metrics.ITEMS.labels(work.brake.line).inc(count)
        metrics.STEP_SECONDS.labels(work.brake.line).observe(time.monotonic() - began)
    return count


def _end_idle(work: Work, slot: int) -> int:
    """Remove the key, then look once more: who commits after that look calls another turn."""
    work.wake_up.release(slot)
    count = _step(work)
    if count:
        work.end_turn()
        work.wake_up.release(slot)  # which that may have renewed
        work.wake_up.notify(slot)
    return count


@contextmanager
def deferred_while_away(what: str, log: logging.Logger) -> Iterator[None]:
    """Leave scheduled work to its next time while the database is away, or where it is refused;
    one log line names ``what`` was deferred.
    """
    try:
        yield
    except TaskRefused as refusal:
        log.error("whatsapp %s refused", what, extra={"error": str(refusal)})
    except DATABASE_AWAY as error:
        log.warning("whatsapp %s deferred", what, extra={"error": type(error).__name__})
        connection.close()
