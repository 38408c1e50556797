"""Keep a session's lease while its process lives, and end the process before the lease ends.

A library call, a database or the machine may hang for any time, so two threads share the work: one
renews, and may hang with the database; the other one only looks at the clock. Ending means ending
at once (``os._exit``): whoever takes over must not meet a connection that is still being closed.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from uuid import UUID

from django.db import Error, connection

from connectors.linked_device import exits, leases
from connectors.linked_device.leases import Lease, Lost

logger = logging.getLogger("sigma.whatsapp.sender")

EXIT_LOST = exits.LOST
# Since the last renewal that succeeded; a quarter of the lease is left to end in.
PATIENCE_SECONDS = 45.0
RETRY_SECONDS, LOOK_SECONDS = 2.0, 0.25


def boot_clock() -> float:
    """Return seconds that go on while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def exit_hard(reason: str) -> None:
    """End the process now, without cleaning up; the line about it gets a moment, no more."""
    said = threading.Thread(target=_say, args=(reason,), daemon=True)
    said.start()
    said.join(0.2)
    os._exit(EXIT_LOST)


def kernel_alarm(seconds: float) -> None:
    """Let the kernel end the process (SIGALRM) after ``seconds``; 0: never mind.

    For what the threads cannot see in time: a process that was paused, and wakes up in the middle
    of a send, or a library that does not let Python run.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _no_alarm(seconds: float) -> None:
    """Leave it to the threads."""


class Keeper:
    """The lease of one process, renewed from a thread and watched from another.

    ``on_lost`` is called once, from either thread, with the reason.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        on_lost: Callable[[str], object] = exit_hard,
        clock: Callable[[], float] = boot_clock,
        renew: Callable[[Lease], None] = leases.renew,
        alarm: Callable[[float], object] = _no_alarm,
        every: float = leases.RENEW_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._lease, self._clock, self._renew, self._alarm = lease, clock, renew, alarm
        self._on_lost, self._every, self._patience = on_lost, every, patience
        self._renewed_at = self._due_at = clock()
        self._ended, self._confirmed = threading.Event(), threading.Event()
        self._ending, self._is_away = threading.Lock(), False
        self._threads = (
            threading.Thread(target=self._keep, name="lease", daemon=True),
            threading.Thread(target=self._watch, name="lease-watch", daemon=True),
        )

    def start(self) -> None:
        """Begin, and return after the first renewal: a pause since the lease was taken counts."""
        for thread in self._threads:
            thread.start()
        self._confirmed.wait()

    def stop(self) -> None:
        """Renew no more; the lease is still held. Blocks for a moment."""
        with self._ending:
            self._ended.set()
        self._alarm(0)
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(1.0)

    def tick(self, now: float) -> None:
        """Look whether too much time passed since the last renewal. Touches nothing that hangs."""
        if now - self._renewed_at >= self._patience:
            self._lose(f"not renewed for {now - self._renewed_at:.0f} s")

    def look(self) -> None:
        """Look now: for whoever is about to do what only an owner may."""
        self.tick(self._clock())

    def beat(self, now: float) -> float:
        """Renew if it is time to; return the seconds until it is time again."""
        if now < self._due_at:
            return self._due_at - now
        try:
            self._renew(self._lease)
        except Lost as lost:
            self._lose(str(lost))
        except Error as error:
            self._fail(error)
            self._due_at = now + min(RETRY_SECONDS, self._every)
        else:
            # The lease runs from a moment after ``now``: counting from ``now`` is on the safe side.
            self._renewed_at, self._due_at = now, now + self._every
            self._succeed()
        return max(self._due_at - now, 0.0)

    def _succeed(self) -> None:
        if self._is_away:
            logger.warning("whatsapp session lease renewed again", extra=self._ids())
        self._is_away = False
        with self._ending:  # or an alarm could be set after a stop
            if not self._ended.is_set():
                # Later than the watchdog, whose line says more; still before the lease ends.
                self._alarm(self._patience * 1.2)
        self._confirmed.set()

    def _fail(self, error: Error) -> None:
        if not self._is_away:
            ids = {**self._ids(), "error": type(error).__name__}
            logger.warning("whatsapp session lease not renewed", extra=ids)
        self._is_away = True
        connection.close()

    def _lose(self, reason: str) -> None:
        with self._ending:
            if self._ended.is_set():
                return
            self._ended.set()
        self._on_lost(f"whatsapp session {self._lease.session_id} lost its lease: {reason}")
        self._confirmed.set()

    def _keep(self) -> None:
        try:
            pause = 0.0
            while not self._ended.wait(pause):
                pause = self.beat(self._clock())
        finally:
            connection.close()

    def _watch(self) -> None:
        while not self._ended.wait(min(LOOK_SECONDS, self._patience / 4)):
            self.look()

    def _ids(self) -> dict[str, UUID]:
        return {"tenant": self._lease.tenant_id, "session": self._lease.session_id}


def _say(reason: str) -> None:
    logger.critical(reason)
