"""The lease of a session: one process may hold the connection to WhatsApp, by the database's clock.

Two connections with the same keys fight for the account, and a sender that was paused may wake up
long after another one took over. So each owner gets a higher fencing token than the one before, and
what an owner writes is written only while its token is the newest (:func:`require`,
:func:`connectors.linked_device.status.write`).

`LeaseKeeper` renews the lease while the process lives, and ends the process before the lease ends.
A library call, a database or the machine may hang for any time, so two threads share the work: one
renews, and may hang with the database; the other one only looks at the clock. The process ends at
once (``os._exit``): the next owner must not meet a connection that is still being closed.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any
from uuid import UUID

from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError

from connectors.linked_device.models import SenderSession
from lib.clock import host_ahead

TTL = timedelta(seconds=60)
RENEW_SECONDS = 10.0
# Clocks, sockets and WhatsApp's view of who is connected lag behind the lease.
GRACE = timedelta(seconds=30)
# Between the end of one connection and the start of the next, on any machine.
GAP = timedelta(seconds=30)
# The owner must have time left to act on the answer before the lease ends.
STATEMENT_SECONDS = 5
# An owner that is paused inside of a transaction would keep its lock, and with it the lease.
IDLE_SECONDS = 20

MAKE = """
INSERT INTO session_leases (session_id, tenant_id)
SELECT id, tenant_id FROM sender_sessions WHERE id = %(id)s FOR KEY SHARE
ON CONFLICT (tenant_id, session_id) DO NOTHING
"""
LOCK = "SELECT tenant_id FROM session_leases WHERE session_id = %(id)s FOR UPDATE"
# A statement of its own after the lock, so that it sees what the last owner wrote as it ended.
HELD_UNTIL = """
SELECT CASE WHEN l.owner IS NULL THEN '' ELSE l.host END, greatest(
    CASE WHEN l.owner IS NOT NULL THEN l.expires_at + %(grace)s END, s.stopped_at + %(gap)s
)
FROM session_leases l JOIN sender_sessions s ON s.id = l.session_id
WHERE l.session_id = %(id)s AND greatest(
    CASE WHEN l.owner IS NOT NULL THEN l.expires_at + %(grace)s END, s.stopped_at + %(gap)s
) > clock_timestamp()
"""
TAKE = """
UPDATE session_leases SET owner = %(owner)s, host = %(host)s, pid = %(pid)s,
    fencing_token = fencing_token + 1, acquired_at = clock_timestamp(),
    renewed_at = clock_timestamp(), expires_at = clock_timestamp() + %(ttl)s
WHERE session_id = %(id)s RETURNING fencing_token
"""
MINE = "session_id = %(id)s AND owner = %(owner)s AND fencing_token = %(token)s"
RENEW = f"""
UPDATE session_leases
SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + %(ttl)s
WHERE {MINE} AND expires_at > clock_timestamp() RETURNING 1
"""  # noqa: S608 - our own constant
RELEASE = f"""
WITH freed AS (
    UPDATE session_leases SET owner = NULL, pid = 0, expires_at = clock_timestamp()
    WHERE {MINE} RETURNING session_id
)
UPDATE sender_sessions s SET stopped_at = clock_timestamp(), updated_at = clock_timestamp()
FROM freed WHERE s.id = freed.session_id
"""  # noqa: S608
# Keeps the lease from being taken before the caller's transaction ends.
REQUIRE = f"""
SELECT 1 FROM session_leases WHERE {MINE} AND expires_at > clock_timestamp() FOR SHARE
"""  # noqa: S608
# Not a release: the successor waits for the lease's end too, however sure this machine is.
NOTE_END = """
UPDATE sender_sessions s SET stopped_at = clock_timestamp(), updated_at = clock_timestamp()
FROM session_leases l
WHERE s.id = %(id)s AND l.session_id = s.id AND l.owner IS NOT NULL
  AND l.host = %(host)s AND l.pid = %(pid)s
"""
logger = logging.getLogger("sigma.whatsapp.sender")

# Since the last renewal that succeeded; a quarter of the lease is left to end in.
PATIENCE_SECONDS = 45.0
RETRY_SECONDS, CHECK_SECONDS = 2.0, 0.25


class ExitCode(IntEnum):
    """How a session's process ends, as its supervisor reads it."""

    # It was asked to end, and did.
    DONE = 0
    # Another process has the session, or it stopped a moment ago: try later (EX_TEMPFAIL).
    HELD = 75
    # It lost its lease and ended at once, without writing anything down.
    LOST = 76
    # It wrote down why it must not start again by itself: replaced, logged out, outdated, banned.
    FINAL = 77
    # It wrote down what went wrong: start it again, after a pause that grows.
    FAILED = 78


class LeaseHeld(Exception):
    """A process has the session, or had it a moment ago: no other may have it before ``until``.

    ``host`` is the machine that has it, empty where only the gap after its last stop is missing.
    """

    def __init__(self, host: str, until: datetime) -> None:
        super().__init__(f"{host or 'Its last stop'} keeps the session until {until:%H:%M:%S}.")
        self.host, self.until = host, until


class LeaseLost(Exception):
    """The session is no longer ours: end at once, send nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one process (``owner``, made up at its start) to a session."""

    session_id: UUID
    tenant_id: UUID
    owner: UUID
    fencing_token: int


def acquire(session_id: UUID, *, owner: UUID, host: str, pid: int) -> Lease:
    """Take a session that no process has; the lease has to be renewed every ten seconds.

    Raises:
        LeaseHeld: a process has it, did not give it back and ended less than 30 seconds ago, or
            gave it back less than 30 seconds ago.
        SenderSession.DoesNotExist: there is no such session.
    """
    facts: dict[str, Any] = {"id": session_id, "owner": owner, "host": host[:128], "pid": pid}
    facts |= {"ttl": TTL, "grace": GRACE, "gap": GAP}
    with _bounded() as cursor:
        cursor.execute(MAKE, facts)
        cursor.execute(LOCK, facts)
        if (row := cursor.fetchone()) is None:
            raise SenderSession.DoesNotExist(f"There is no session {session_id}.")
        cursor.execute(HELD_UNTIL, facts)
        if (held := cursor.fetchone()) is not None:
            raise LeaseHeld(*held)
        cursor.execute(TAKE, facts)
        return Lease(session_id, row[0], owner, cursor.fetchone()[0])


def renew(lease: Lease) -> None:
    """Keep a session for another 60 seconds.

    Raises:
        LeaseLost: another process has it, or it ended before.
    """
    with _bounded() as cursor:
        cursor.execute(RENEW, _mine(lease) | {"ttl": TTL})
        if cursor.fetchone() is None:
            raise LeaseLost("The lease ended, or another process has it.")
        host_ahead()  # such a process has no heartbeat


def release(lease: Lease) -> None:
    """Give a session back, after its connection was closed; nothing where it is not ours."""
    with _bounded() as cursor:
        cursor.execute(RELEASE, _mine(lease))


def require(lease: Lease) -> None:
    """Let the caller's transaction go on only while the session is ours, until its commit.

    Raises:
        LeaseLost: it is not.
        TransactionManagementError: there is no transaction to protect.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("A lease is required inside of a transaction.")
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        cursor.execute(REQUIRE, _mine(lease))
        if cursor.fetchone() is None:
            raise LeaseLost("The lease ended, or another process has it.")


def record_end(session_id: UUID, *, host: str, pid: int) -> None:
    """Write that the process of this machine that has a session has ended.

    For one that was paused for so long that its lease is over: the gap begins with its end.
    """
    with _bounded() as cursor:
        cursor.execute(NOTE_END, {"id": session_id, "host": host[:128], "pid": pid})


def _mine(lease: Lease) -> dict[str, Any]:
    return {"id": lease.session_id, "owner": lease.owner, "token": lease.fencing_token}


@contextmanager
def _bounded() -> Iterator[CursorWrapper]:
    """Open a transaction whose statements give up after some seconds, locks included."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        yield cursor


def boot_clock() -> float:
    """Return the seconds since the boot, with those that the machine slept where the system counts
    them.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def exit_now(reason: str) -> None:
    """End the process now, without cleaning up; its log line gets 0.2 seconds."""
    logged = threading.Thread(target=logger.critical, args=(reason,), daemon=True)
    logged.start()
    logged.join(0.2)
    os._exit(ExitCode.LOST)


def kernel_alarm(seconds: float) -> None:
    """Let the kernel end the process (SIGALRM) after ``seconds``; 0: cancel that.

    For cases that the threads cannot see in time: a process that was paused and wakes up in the
    middle of a send, or a library that does not let Python run.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _no_alarm(seconds: float) -> None:
    """Set no alarm: the threads alone watch."""


class LeaseKeeper:
    """The lease of one process, renewed in one thread and watched in another.

    ``on_lost`` is called once, from either thread, with the reason.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        on_lost: Callable[[str], object] = exit_now,
        clock: Callable[[], float] = boot_clock,
        renew: Callable[[Lease], None] = renew,
        alarm: Callable[[float], object] = _no_alarm,
        every: float = RENEW_SECONDS,
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

    def check(self, now: float) -> None:
        """End the process if the last renewal is too long ago. Touches nothing that may hang."""
        if now - self._renewed_at >= self._patience:
            self._lose(f"not renewed for {now - self._renewed_at:.0f} s")

    def renew_if_due(self, now: float) -> float:
        """Renew the lease if it is due; return the seconds until it is due again."""
        if now < self._due_at:
            return self._due_at - now
        try:
            self._renew(self._lease)
        except LeaseLost as lost:
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
                pause = self.renew_if_due(self._clock())
        finally:
            connection.close()

    def _watch(self) -> None:
        while not self._ended.wait(min(CHECK_SECONDS, self._patience / 4)):
            self.check(self._clock())

    def _ids(self) -> dict[str, UUID]:
        return {"tenant": self._lease.tenant_id, "session": self._lease.session_id}
