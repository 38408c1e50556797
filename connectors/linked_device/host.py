"""The host of a machine's sessions: it starts their processes, sees how they end, and ends what
hangs. It never loads the library that talks to WhatsApp, nor holds a session itself.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom
from types import FrameType
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from connectors.linked_device import agenda, exits, keeper, lock, roster, stores
from connectors.linked_device.agenda import Facts, Wait
from connectors.linked_device.children import Argv, Child, session_argv, told
from connectors.models import Wanted

logger = logging.getLogger("sigma.whatsapp.sender")

AWAY = (OperationalError, InterfaceError)
LOCK, ALIVE = "host.lock", "host.alive"
# A send takes 75 seconds at most; a session that was asked to end waits 80 for it.
ENDING_SECONDS, DRAINING_SECONDS = 100.0, 90.0
# A process that never got its lease, or gave it back and does not end.
UNLEASED_SECONDS = 60.0
HELD_PAUSE_SECONDS = 10.0
CHORES_SECONDS = 60.0
ALIVE_SECONDS = 30.0


def run() -> int:
    """Host this machine's sessions until SIGTERM; return the exit code.

    Raises:
        StoreInUse: another host has these stores.
    """
    store = Path(settings.SIGMA_SENDER_STORE)
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock.hold(store, LOCK):
        host = Host(name=settings.SIGMA_SENDER_HOST, store=store)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, host.stop)
        return host.run()


def is_alive(store: Path | None = None, *, now: float | None = None) -> bool:
    """Tell whether a host looks after the sessions of this machine; ``now`` is Unix time."""
    try:
        seen = (Path(store or settings.SIGMA_SENDER_STORE) / ALIVE).stat().st_mtime
    except OSError:
        return False
    return (time.time() if now is None else now) - seen < ALIVE_SECONDS


class Host:
    """The sessions of one machine. Call it from the main thread only: their processes are tied to
    the thread that starts them.
    """

    def __init__(
        self,
        *,
        name: str,
        store: Path,
        argv: Argv = session_argv,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
        hung_after: float = keeper.PATIENCE_SECONDS,
        ending: float = ENDING_SECONDS,
    ) -> None:
        self.children: dict[UUID, Child] = {}
        self._name, self._store, self._argv, self._every = name[:128], store, argv, every
        self._clock, self._chance = clock, chance or SystemRandom()
        self._hung_after, self._ending = timedelta(seconds=hung_after), ending
        self._ended: list[tuple[Child, int]] = []
        self._not_before: dict[UUID, float] = {}
        self._waits: dict[UUID, Wait] = {}
        self._is_stopping = self._is_away = False
        self._chores_at = clock()

    def run(self) -> int:
        """Look after the sessions until told to stop, then end them in order."""
        logger.info("whatsapp session host started", extra={"host": self._name})
        while not self._is_stopping:
            self.step()
            time.sleep(self._every)
        self.drain()
        logger.info("whatsapp session host stopped", extra={"host": self._name})
        return exits.DONE

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Let the host end, after what its sessions are sending; also a handler of signals."""
        self._is_stopping = True
        for child in list(self.children.values()):
            child.ask()

    def step(self) -> None:
        """See how the sessions are, and do about it what is due.

        While the database is away the sessions go on: their keepers decide for how long.
        """
        self._beat()
        self._collect()
        try:
            self._work()
        except AWAY as error:
            if not self._is_away:
                facts = {"host": self._name, "error": type(error).__name__}
                logger.warning("whatsapp session host: the database is away", extra=facts)
            self._is_away = True
            connection.close()
        else:
            self._is_away = False

    def drain(self) -> None:
        """Ask all sessions to end, and return when the last one has."""
        self.stop()
        deadline = self._clock() + min(DRAINING_SECONDS, self._ending)
        while self.children:
            if self._clock() >= deadline:
                for child in self.children.values():
                    child.kill()
            self._beat()
            self._collect()
            time.sleep(min(self._every, 0.1))
        try:
            self._write_ends(roster.read(self._name, ())[1])
        except AWAY:  # the next host sees it by the leases
            logger.warning("whatsapp session host: the database is away")

    def _work(self) -> None:
        known, now = roster.read(self._name, self.children)
        if self._ended:
            self._write_ends(now)
            known, now = roster.read(self._name, self.children)
        for facts in known:
            self._attend(facts, now)
        for session_id in self.children.keys() - {facts.session_id for facts in known}:
            self._end(self.children[session_id], "it was removed")
        self._do_chores()

    def _attend(self, facts: Facts, now: datetime) -> None:
        child = self.children.get(facts.session_id)
        if child is not None:
            self._watch(child, facts, now)
        elif not self._is_stopping:
            self._consider(facts, now)

    def _consider(self, facts: Facts, now: datetime) -> None:
        """Start a session if it is time to."""
        if facts.home == self._name:
            roster.settle(facts, now=now)
        if self._clock() < self._not_before.get(facts.session_id, 0.0):
            return
        plan = agenda.plan(facts, host=self._name, now=now)
        if isinstance(plan, Wait) and plan != self._waits.get(facts.session_id):
            self._waits[facts.session_id] = plan
            extra = {"session": str(facts.session_id), "until": f"{plan.until:%m-%d %H:%M:%S}"}
            logger.info("whatsapp session waits: %s", plan.why, extra=extra)
        if isinstance(plan, agenda.Start) and roster.adopt(facts.session_id, self._name):
            self._start(facts)

    def _start(self, facts: Facts) -> None:
        try:
            child = Child(facts.session_id, self._argv(facts.session_id))
        except OSError as error:  # no memory, no more processes: the others go on
            self._not_before[facts.session_id] = self._clock() + HELD_PAUSE_SECONDS
            logger.error("whatsapp session process not started: %s", error)
            return
        self.children[facts.session_id] = child
        logger.info("whatsapp session process started", extra=_ids(child))
        if self._is_stopping:  # a signal came while the process was being made
            child.ask()

    def _watch(self, child: Child, facts: Facts, now: datetime) -> None:
        """End a process that hangs, or that has to end and does not."""
        if facts.is_held_by(self._name, child.pid) and facts.renewed_at is not None:
            child.leased_at = self._clock()
            if now - facts.renewed_at > self._hung_after:
                self._kill(child, "does not renew its lease")
        elif self._clock() - child.leased_at > UNLEASED_SECONDS:
            self._kill(child, "has no lease")
        if child.is_stuck(facts, at=self._clock()):
            self._kill(child, f"is stuck in {facts.state}")
        if (why := agenda.unwelcome(facts, host=self._name)) is not None:
            self._end(child, why)
        elif facts.wanted == Wanted.STOPPED:
            self._grant_time(child)
        else:
            child.asked_at = None

    def _end(self, child: Child, why: str) -> None:
        if child.asked_at is None:
            logger.info("whatsapp session process has to end: %s", why, extra=_ids(child))
            child.ask()
        self._grant_time(child)

    def _grant_time(self, child: Child) -> None:
        """Let a process end by itself, but not for ever."""
        if child.asked_at is None:
            child.asked_at = self._clock()
        elif self._clock() - child.asked_at > self._ending:
            self._kill(child, "does not end")

    def _kill(self, child: Child, why: str) -> None:
        logger.error("whatsapp session process killed: it %s", why, extra=_ids(child))
        child.kill()

    def _collect(self) -> None:
        for child in list(self.children.values()):
            code = child.ending()
            if code is not None:
                level = logging.INFO if code in roster.QUIET else logging.ERROR
                logger.log(level, "whatsapp session process %s", told(code), extra=_ids(child))
                del self.children[child.session_id]
                self._ended.append((child, code))
                if code == exits.HELD:  # perhaps by somebody without a lease: a backup
                    self._not_before[child.session_id] = self._clock() + HELD_PAUSE_SECONDS

    def _write_ends(self, now: datetime) -> None:
        while self._ended:
            child, code = self._ended[0]
            roster.end(
                child.session_id, host=self._name, pid=child.pid, code=code,
                jitter=self._chance.random(), now=now,
            )  # fmt: skip
            self._ended.pop(0)

    def _do_chores(self) -> None:
        if self._clock() >= self._chores_at:
            self._chores_at = self._clock() + CHORES_SECONDS
            roster.forget_pairings()
            stores.remove_erased()

    def _beat(self) -> None:
        with suppress(OSError):  # whoever looks at the file will see
            (self._store / ALIVE).touch(mode=0o600)


def _ids(child: Child) -> dict[str, object]:
    return {"session": str(child.session_id), "pid": child.pid}
