"""The supervisor of a machine's sessions (``manage.py sender host``): it starts their processes,
watches them, and ends those that hang.

It never loads the library that talks to WhatsApp, and holds no session itself. What it plans by,
reads and writes is in :mod:`connectors.linked_device.registry`.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from types import FrameType
from uuid import UUID

from django.conf import settings
from django.db import connection

from connectors.linked_device import leases, registry, stores
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import PASSING, SenderSession, Wanted
from connectors.linked_device.registry import HeldBack, describe_exit
from lib.brake import DATABASE_AWAY
from lib.processes import GuardedProcess

logger = logging.getLogger("sigma.whatsapp.sender")

LOCK, ALIVE = "host.lock", "host.alive"
# A send takes 75 seconds at most; a session that was asked to end waits 80 for it.
ENDING_SECONDS, DRAINING_SECONDS = 100.0, 90.0
# A process that never got its lease, or gave it back and does not end.
UNLEASED_SECONDS = 60.0
# States that pass do so within three minutes, and an end in order takes less than two, unless the
# library never returns.
STUCK_SECONDS = 400.0
HELD_PAUSE_SECONDS = 10.0
HOUSEKEEPING_SECONDS = 60.0
ALIVE_SECONDS = 30.0
# A line of our own log holds nothing that it must not; other output (a library's last line) goes
# through the log's filter.
LOG_LINE = re.compile(rb'\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]|\{"time": ')
LONGEST_QUOTE = 500

Argv = Callable[[UUID], Sequence[str]]


def run() -> int:
    """Run this machine's sessions until SIGTERM; return the exit code.

    Raises:
        StoreInUse: another supervisor has these stores.
    """
    store = Path(settings.SIGMA_SENDER_STORE)
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stores.hold(store, LOCK):
        supervisor = SessionSupervisor(host=settings.SIGMA_SENDER_HOST, store=store)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, supervisor.stop)
        return supervisor.run()


def is_alive(store: Path | None = None, *, now: float | None = None) -> bool:
    """Return whether a supervisor runs the sessions of this machine; ``now`` is Unix time."""
    try:
        seen = (Path(store or settings.SIGMA_SENDER_STORE) / ALIVE).stat().st_mtime
    except OSError:
        return False
    return (time.time() if now is None else now) - seen < ALIVE_SECONDS


def session_argv(session_id: UUID) -> tuple[str, ...]:
    """Return the command line of a session's process."""
    manage_py = str(settings.BASE_DIR / "manage.py")
    return (sys.executable, manage_py, "sender", "session", str(session_id))


class SessionProcess(GuardedProcess):
    """One session's process. Times are of the monotonic clock, in seconds.

    ``leased_at`` is when it was last seen to have the session's lease, at first its start;
    ``must_end_since`` when it was first seen that it has to end.

    Raises:
        OSError: the machine starts no more processes.
    """

    def __init__(self, session_id: UUID, argv: Sequence[str]) -> None:
        self.session_id = session_id
        # Killed when the supervisor dies, not asked: the next one must find no session running.
        super().__init__(argv, on_line=self._forward, death_signal=signal.SIGKILL)
        self.leased_at = time.monotonic()
        self.must_end_since: float | None = None
        self._is_asked = False
        self._position: tuple[str, datetime | None] | None = None
        self._position_since = self.leased_at

    @property
    def ids(self) -> dict[str, object]:
        """What a line of the log says about it."""
        return {"session": str(self.session_id), "pid": self.pid}

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; ``None``: it runs, or its output is read.

        One that was asked to end, and was ended by that before it could do so in order, is done.
        """
        if not self.ended.done():
            return None
        code = self.ended.result()
        cut_short = self._is_asked and code in (-signal.SIGTERM, -signal.SIGKILL)
        return ExitCode.DONE if cut_short else code

    def is_stuck(self, session: SenderSession, *, at: float) -> bool:
        """Return whether its session never leaves the state it is in at a time: the lease is
        renewed by a thread of its own, even where all others hang.
        """
        position = (session.state, session.until)
        if position != self._position:
            self._position, self._position_since = position, at
        return session.state in PASSING and at - self._position_since > STUCK_SECONDS

    def ask_to_end(self) -> None:
        """Ask the process to end after the send that is under way."""
        self._is_asked = True
        self.send_signal(signal.SIGTERM)

    def _forward(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if LOG_LINE.match(line):
            with suppress(OSError, ValueError):
                print(text, file=sys.stderr, flush=True)  # noqa: T201 - a log line already
        elif text:
            extra = {"session": str(self.session_id)}
            logger.info("whatsapp session's output: %s", text[:LONGEST_QUOTE], extra=extra)


class SessionSupervisor:
    """The sessions of one machine, which the database knows as ``host``.

    Call it from the main thread only: the processes are tied to the thread that starts them.
    """

    def __init__(
        self,
        *,
        host: str,
        store: Path,
        argv: Argv = session_argv,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
        hung_after: float = leases.PATIENCE_SECONDS,
        ending: float = ENDING_SECONDS,
    ) -> None:
        self.processes: dict[UUID, SessionProcess] = {}
        self._host, self._store, self._argv, self._every = host[:128], store, argv, every
        self._clock, self._chance = clock, chance or SystemRandom()
        self._hung_after, self._ending = timedelta(seconds=hung_after), ending
        self._exits: list[tuple[SessionProcess, int]] = []
        self._not_before: dict[UUID, float] = {}
        self._waits: dict[UUID, HeldBack] = {}
        self._is_stopping = self._is_away = False
        self._housekeeping_at = clock()

    def run(self) -> int:
        """Run the sessions until asked to stop, then end them in order; return the exit code."""
        logger.info("whatsapp session host started", extra={"host": self._host})
        while not self._is_stopping:
            self.step()
            time.sleep(self._every)
        self.drain()
        logger.info("whatsapp session host stopped", extra={"host": self._host})
        return ExitCode.DONE

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Stop after what the sessions are sending; also a handler of signals."""
        self._is_stopping = True
        for process in list(self.processes.values()):
            process.ask_to_end()

    def step(self) -> None:
        """Look at all sessions once, and do what is due.

        While the database is away the sessions go on: their lease keepers decide for how long.
        """
        self._touch()
        self._collect_exits()
        try:
            self._work()
        except DATABASE_AWAY as error:
            if not self._is_away:
                facts = {"host": self._host, "error": type(error).__name__}
                logger.warning("whatsapp session host: the database is away", extra=facts)
            self._is_away = True
            connection.close()
        else:
            self._is_away = False

    def drain(self) -> None:
        """Ask all sessions to end, and return when the last one has."""
        self.stop()
        deadline = self._clock() + min(DRAINING_SECONDS, self._ending)
        while self.processes:
            if self._clock() >= deadline:
                for process in self.processes.values():
                    process.kill()
            self._touch()
            self._collect_exits()
            time.sleep(min(self._every, 0.1))
        try:
            self._write_exits(registry.read(self._host, ())[1])
        except DATABASE_AWAY:  # the next supervisor sees it by the leases
            logger.warning("whatsapp session host: the database is away")

    def _work(self) -> None:
        known, now = registry.read(self._host, self.processes)
        if self._exits:
            self._write_exits(now)
            known, now = registry.read(self._host, self.processes)
        for session in known:
            process = self.processes.get(session.pk)
            if process is not None:
                self._watch(process, session, now)
            elif not self._is_stopping:
                self._start_if_due(session, now)
        for session_id in self.processes.keys() - {session.pk for session in known}:
            self._end(self.processes[session_id], "it was removed")
        self._clean_up()

    def _start_if_due(self, session: SenderSession, now: datetime) -> None:
        if session.home == self._host:
            registry.correct(session, now=now)
        if self._clock() < self._not_before.get(session.pk, 0.0):
            return
        held_back = registry.held_back(session, host=self._host, now=now)
        if held_back is None:
            if registry.adopt(session.pk, self._host):
                self._start(session.pk)
        elif held_back.until is not None and held_back != self._waits.get(session.pk):
            self._waits[session.pk] = held_back
            extra = {"session": str(session.pk), "until": f"{held_back.until:%m-%d %H:%M:%S}"}
            logger.info("whatsapp session waits: %s", held_back.why, extra=extra)

    def _start(self, session_id: UUID) -> None:
        try:
            process = SessionProcess(session_id, self._argv(session_id))
        except OSError as error:  # no memory, no more processes: the others go on
            self._not_before[session_id] = self._clock() + HELD_PAUSE_SECONDS
            logger.error("whatsapp session process not started: %s", error)
            return
        self.processes[session_id] = process
        logger.info("whatsapp session process started", extra=process.ids)
        if self._is_stopping:  # a signal came while the process was being made
            process.ask_to_end()

    def _watch(self, process: SessionProcess, session: SenderSession, now: datetime) -> None:
        """End a process that hangs, or that has to end and does not."""
        lease = session.held_lease
        is_its_own = lease is not None and (lease.host, lease.pid) == (self._host, process.pid)
        if lease is not None and is_its_own and lease.renewed_at is not None:
            process.leased_at = self._clock()
            if now - lease.renewed_at > self._hung_after:
                self._kill(process, "does not renew its lease")
        elif self._clock() - process.leased_at > UNLEASED_SECONDS:
            self._kill(process, "has no lease")
        if process.is_stuck(session, at=self._clock()):
            self._kill(process, f"is stuck in {session.state}")
        if (why := registry.why_not_here(session, host=self._host)) is not None:
            self._end(process, why)
        elif session.wanted == Wanted.STOPPED:
            self._kill_if_late(process)
        else:
            process.must_end_since = None

    def _end(self, process: SessionProcess, why: str) -> None:
        if process.must_end_since is None:
            logger.info("whatsapp session process has to end: %s", why, extra=process.ids)
            process.ask_to_end()
        self._kill_if_late(process)

    def _kill_if_late(self, process: SessionProcess) -> None:
        """Let a process end by itself, but not for ever."""
        if process.must_end_since is None:
            process.must_end_since = self._clock()
        elif self._clock() - process.must_end_since > self._ending:
            self._kill(process, "does not end")

    def _kill(self, process: SessionProcess, why: str) -> None:
        logger.error("whatsapp session process killed: it %s", why, extra=process.ids)
        process.kill()

    def _collect_exits(self) -> None:
        for process in list(self.processes.values()):
            code = process.exit_code()
            if code is not None:
                level = logging.INFO if code in registry.EXPECTED_EXITS else logging.ERROR
                text = "whatsapp session process %s"
                logger.log(level, text, describe_exit(code), extra=process.ids)
                del self.processes[process.session_id]
                self._exits.append((process, code))
                if code == ExitCode.HELD:  # perhaps by a backup, which has no lease
                    self._not_before[process.session_id] = self._clock() + HELD_PAUSE_SECONDS

    def _write_exits(self, now: datetime) -> None:
        while self._exits:
            process, code = self._exits[0]
            registry.end(
                process.session_id,
                host=self._host,
                pid=process.pid,
                code=code,
                jitter=self._chance.random(),
                now=now,
            )
            self._exits.pop(0)

    def _clean_up(self) -> None:
        if self._clock() >= self._housekeeping_at:
            self._housekeeping_at = self._clock() + HOUSEKEEPING_SECONDS
            registry.forget_pairings()
            stores.remove_erased()

    def _touch(self) -> None:
        with suppress(OSError):  # what reads the file sees its age
            (self._store / ALIVE).touch(mode=0o600)
