"""What a session's process does all day: hear its device, see what the operator wants, write down
where it stands. It has no clock and no threads of its own, so that a test can play a day.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from connectors.linked_device import exits
from connectors.linked_device.actions import (
    Action,
    AskPairCode,
    ForgetPairing,
    GiveUpPairing,
    Heard,
    Leaving,
    Linked,
    ShowPairing,
    Steady,
    Unlinked,
)
from connectors.linked_device.machine import Machine
from connectors.linked_device.persistence import AWAY, Persistence
from connectors.linked_device.record import Record, Signs, Wishes
from connectors.linked_device.standing import Standing
from connectors.models import SessionState, Wanted

logger = logging.getLogger("sigma.whatsapp.sender")

T = TypeVar("T")
WISHES_EVERY = timedelta(seconds=1)
SIGNS_EVERY = timedelta(seconds=10)
STOPPED = Standing(SessionState.STOPPED, "Stopped.")
RESTARTING = Standing(SessionState.WAITING, "Asked to restart; it starts again after a pause.")
HOST_STOPPED = Standing(SessionState.WAITING, "Its host was stopped; it starts again with it.")
CODES = {Leaving.AGAIN: exits.FAILED, Leaving.FINAL: exits.FINAL}


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the loop ends. ``standing`` is to be written down when the account was let go of."""

    code: int
    standing: Standing | None = None


class SessionLoop:
    """One session's events, wishes and time. ``inbox`` holds what was heard, ``first`` what the
    operator wanted when it began; ``ask_code`` begins to ask the device for a pairing code.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        record: Record,
        signs: Signs,
        inbox: SimpleQueue[Heard],
        ask_code: Callable[[], object],
        persistence: Persistence,
        first: Wishes,
        is_told_to_end: Callable[[], bool],
    ) -> None:
        self._machine, self._record, self._signs, self._inbox = machine, record, signs, inbox
        self._ask_code, self._persistence = ask_code, persistence
        self._written: Standing | None = None
        self._looked_at: datetime | None = None
        self._signed_at: datetime | None = None
        self._first, self._is_told_to_end = first, is_told_to_end

    def wait(self, seconds: float) -> Heard | None:
        """Return the next event, or nothing after so many seconds."""
        try:
            return self._inbox.get(timeout=seconds)
        except Empty:
            return None

    def step(self, event: Heard | None, *, now: datetime) -> Ending | None:
        """Take an event (or none) and whatever else is due; return how it ends, once it does.

        While the database is away it blocks, if there is something that must be written down.

        Raises:
            leases.Lost: the session is somebody else's.
        """
        actions = self._machine.tick(now=now)
        if event is not None:
            actions += self._hear(event, now)
        for action in actions:
            self._do(action, now)
        self._stand(now)
        if self._machine.leaving is not None:
            return Ending(CODES[self._machine.leaving])
        self._sign(now)
        return self._asked_to_end(now)

    def _hear(self, event: Heard, now: datetime) -> list[Action]:
        self._signs.last_event_at = now
        state, before = self._machine.standing.state, self._machine.ignored.total()
        actions = self._machine.hear(event, now=now)
        if self._machine.ignored.total() > before:
            extra = {"event": type(event).__name__, "state": state.value}
            logger.info("whatsapp session ignored an event", extra=extra)
        return actions

    def _do(self, action: Action, now: datetime) -> None:
        if isinstance(action, AskPairCode):
            self._ask_code()
        elif type(action) in WRITES:
            self._persistence.insist(lambda: WRITES[type(action)](self._record, action, now))

    def _stand(self, now: datetime) -> None:
        """Write down where the session stands, if that is new."""
        standing = self._machine.standing
        if standing == self._written:
            return
        self._persistence.insist(lambda: self._record.stands(standing, now=now))
        self._written = standing
        logger.info("whatsapp session %s", standing.state.value, extra=self._record.ids)

    def _sign(self, now: datetime) -> None:
        """Write down signs of life, the first at once."""
        if self._signed_at is not None and now - self._signed_at < SIGNS_EVERY:
            return
        if taken := self._signs.take():
            self._signed_at = now
            self._try(lambda: self._record.signs(taken))

    def _asked_to_end(self, now: datetime) -> Ending | None:
        is_told = self._is_told_to_end()
        wishes = self._wishes(now, is_told=is_told) or self._first
        if wishes.is_gone:
            return Ending(exits.FINAL)
        if wishes.wanted == Wanted.STOPPED:
            return self._ending(STOPPED, now)
        if is_told:
            return self._ending(HOST_STOPPED, now)
        # One that was asked for before is fulfilled by this process.
        if wishes.restart_asked_at not in (None, self._first.restart_asked_at):
            return self._ending(RESTARTING, now)
        return None

    def _ending(self, standing: Standing, now: datetime) -> Ending:
        return Ending(exits.DONE, self._machine.stopped(standing, now=now))

    def _wishes(self, now: datetime, *, is_told: bool) -> Wishes | None:
        """Return what the operator wants, once a second and before the end; ``None``: not now."""
        if not is_told and self._looked_at is not None and now - self._looked_at < WISHES_EVERY:
            return None
        self._looked_at = now
        return self._try(self._record.wishes)

    def _try(self, work: Callable[[], T]) -> T | None:
        """Do what can be done later as well, if the database answers."""
        try:
            done = work()
        except AWAY as error:
            self._persistence.missed(error)
            return None
        self._persistence.worked()
        return done


WRITES: Mapping[type, Callable[[Record, Any, datetime], None]] = {
    ShowPairing: lambda record, action, now: record.show_pairing(action),
    ForgetPairing: lambda record, action, now: record.forget_pairing(),
    GiveUpPairing: lambda record, action, now: record.give_up_pairing(),
    Linked: lambda record, action, now: record.linked(action.account, now=now),
    Unlinked: lambda record, action, now: record.unlinked(),
    Steady: lambda record, action, now: record.steady(),
}
