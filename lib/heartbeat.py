"""Every process says every few seconds that it lives, and how wrong its host's clock is.

A row each in PostgreSQL, by its clock: it is there while the broker is not, and one host's clock
cannot hide another's silence.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connection

from lib.clock import host_ahead
from lib.sql import select

logger = logging.getLogger("sigma.whatsapp.heartbeat")

SECONDS = 10.0
# Not heard of for so long, a process is late; for a day, it is no part of the installation.
LATE_SECONDS = 45.0
FORGOTTEN = "interval '1 day'"
# How long a stop waits for a beat that is under way: a database that hangs holds no process up.
LAST_BEAT_SECONDS = 2.0
# Clocks of hosts that keep time differ by milliseconds.
MOST_AHEAD = 2.0
NOTE = """
INSERT INTO heartbeats (role, host, heard_at, clock_ahead) VALUES (%s, %s, clock_timestamp(), %s)
ON CONFLICT (role, host) DO UPDATE
SET heard_at = excluded.heard_at, clock_ahead = excluded.clock_ahead
"""
FORGET = f"DELETE FROM heartbeats WHERE heard_at < clock_timestamp() - {FORGOTTEN}"  # noqa: S608
HEARD = f"""
SELECT role, extract(epoch FROM clock_timestamp() - heard_at)::float8, clock_ahead
FROM heartbeats WHERE heard_at > clock_timestamp() - {FORGOTTEN} ORDER BY role, heard_at DESC
"""  # noqa: S608 - words of ours


class Heard(NamedTuple):
    """When a process was last heard of, and how far its host's clock was ahead; in seconds."""

    role: str
    seconds: float
    clock_ahead: float

    @property
    def is_late(self) -> bool:
        """Whether it should have said something since."""
        return self.seconds > LATE_SECONDS

    @property
    def is_wrong(self) -> bool:
        """Whether its host's clock is."""
        return abs(self.clock_ahead) > MOST_AHEAD


def heard() -> list[Heard]:
    """Return all processes of the last day, those of a role together, the latest first."""
    return select(Heard, HEARD, [])


class ProcessHeartbeat:
    """The heartbeat of one process, made by itself or by a thread."""

    def __init__(self, role: str) -> None:
        self.role, self._host = role, socket.gethostname()[:128]
        self._next = 0.0
        self._is_wrong = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def beat(self) -> None:
        """Say that the process lives, if it is time; never raises because the database is away."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SECONDS
        try:
            self._beat()
        except (DatabaseError, InterfaceError):  # whoever asks for health sees as much
            connection.close()

    def start(self) -> None:
        """Beat in a thread until the process ends or :meth:`stop` is called."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait until it has ended, but not for long."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(LAST_BEAT_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.beat()
            connection.close()  # it is not worth one that stands
            self._stopping.wait(SECONDS)

    def _beat(self) -> None:
        ahead = host_ahead()
        with connection.cursor() as cursor:
            cursor.execute(NOTE, [self.role, self._host, ahead])
            cursor.execute(FORGET)
        is_wrong = abs(ahead) > MOST_AHEAD
        if is_wrong and not self._is_wrong:
            logger.error(
                "whatsapp: the clocks of this host and of the database differ",
                extra={"role": self.role, "seconds": round(ahead, 1)},
            )
        self._is_wrong = is_wrong
