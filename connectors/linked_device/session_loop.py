"""The loops of a session's process. The main one takes the device's events, reads what the operator
wants and writes the session's status; it has no clock and no threads of its own, so that a test can
play a day. The other one sends, in a thread: a send may block for 75 seconds while events go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import TypeVar

from django.db import connection

from connectors.linked_device.events import Event, RateLimited, SendText, Sent
from connectors.linked_device.leases import ExitCode, LeaseLost
from connectors.linked_device.machine import (
    Action,
    BareAction,
    ExitMode,
    Linked,
    Machine,
    MachineEvent,
    ShowPairing,
)
from connectors.linked_device.models import SessionState, Wanted
from connectors.linked_device.record import (
    PAUSE_SECONDS,
    DatabaseRetry,
    DesiredState,
    LastActivity,
    Record,
)
from connectors.linked_device.status import SessionStatus
from lib import clock
from lib.brake import DATABASE_AWAY
from workspaces.channel_errors import Throttled

logger = logging.getLogger("sigma.whatsapp.sender")

T = TypeVar("T")
LOOK_EVERY = timedelta(seconds=1)
ACTIVITY_EVERY = timedelta(seconds=10)
STOPPED = SessionStatus(SessionState.STOPPED, "Stopped.")
RESTARTING = SessionStatus(SessionState.WAITING, "Asked to restart; it starts again after a pause.")
HOST_STOPPED = SessionStatus(SessionState.WAITING, "Its host was stopped; it starts again with it.")
CODES = {ExitMode.RESTART: ExitCode.FAILED, ExitMode.FINAL: ExitCode.FINAL}
WRITES = {
    BareAction.FORGET_PAIRING: Record.forget_pairing,
    BareAction.GIVE_UP_PAIRING: Record.give_up_pairing,
    BareAction.UNLINK: Record.unlinked,
    BareAction.FORGET_FAILURES: Record.steady,
}
# The pause while nothing may be sent, and after an unexpected error.
IDLE_SECONDS, BROKEN_SECONDS = 0.1, 5.0
# A send takes 75 seconds at most, and the questions before it as long; a library that does not
# return by then never will.
HUNG_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """Why the loop ends. ``status`` is to be written once the device is disconnected."""

    code: int
    status: SessionStatus | None = None


class SessionLoop:
    """One session's events, desired state and time. ``events`` holds those that were not handled
    yet, ``first`` is what the operator wanted when the process began; ``ask_code`` begins to ask
    the device for a pairing code.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        record: Record,
        activity: LastActivity,
        events: SimpleQueue[MachineEvent],
        ask_code: Callable[[], object],
        retry: DatabaseRetry,
        first: DesiredState,
        is_asked_to_end: Callable[[], bool],
    ) -> None:
        self._machine, self._record = machine, record
        self._activity, self._events = activity, events
        self._ask_code, self._retry = ask_code, retry
        self._written_status: SessionStatus | None = None
        self._looked_at: datetime | None = None
        self._activity_written_at: datetime | None = None
        self._first, self._is_asked_to_end = first, is_asked_to_end

    def wait(self, seconds: float) -> MachineEvent | None:
        """Return the next event, or nothing after so many seconds."""
        try:
            return self._events.get(timeout=seconds)
        except Empty:
            return None

    def step(self, event: MachineEvent | None, *, now: datetime) -> SessionEnd | None:
        """Take an event (or none) and whatever else is due; return how it ends, once it does.

        While the database is away it blocks, if there is something that must be written down.

        Raises:
            leases.LeaseLost: another process has the session.
        """
        actions = self._machine.tick(now=now)
        if event is not None:
            actions += self._handle(event, now)
        for action in actions:
            self._do(action, now)
        self._write_status(now)
        if self._machine.exit_mode is not None:
            return SessionEnd(CODES[self._machine.exit_mode])
        self._write_activity(now)
        return self._asked_to_end(now)

    def _handle(self, event: MachineEvent, now: datetime) -> list[Action]:
        self._activity.last_event_at = now
        state, before = self._machine.status.state, self._machine.ignored.total()
        actions = self._machine.handle(event, now=now)
        if self._machine.ignored.total() > before:
            extra = {"event": type(event).__name__, "state": state.value}
            logger.info("whatsapp session ignored an event", extra=extra)
        return actions

    def _do(self, action: Action, now: datetime) -> None:
        match action:
            case BareAction.ASK_PAIR_CODE:
                self._ask_code()
            case BareAction():
                self._retry.run(lambda: WRITES[action](self._record))
            case ShowPairing():
                self._retry.run(lambda: self._record.show_pairing(action))
            case Linked():
                self._retry.run(lambda: self._record.linked(action.account, now=now))

    def _write_status(self, now: datetime) -> None:
        """Write the session's status, if that is new."""
        status = self._machine.status
        if status == self._written_status:
            return
        self._retry.run(lambda: self._record.write_status(status, now=now))
        self._written_status = status
        logger.info("whatsapp session %s", status.state.value, extra=self._record.ids)

    def _write_activity(self, now: datetime) -> None:
        """Write when the session was last active, the first time at once."""
        if (
            self._activity_written_at is not None
            and now - self._activity_written_at < ACTIVITY_EVERY
        ):
            return
        if taken := self._activity.take():
            self._activity_written_at = now
            self._try(lambda: self._record.write_activity(taken))

    def _asked_to_end(self, now: datetime) -> SessionEnd | None:
        must_end = self._is_asked_to_end()
        desired = self._desired_state(now, is_last=must_end) or self._first
        if desired.is_gone:
            return SessionEnd(ExitCode.FINAL)
        if desired.wanted == Wanted.STOPPED:
            return self._ending(STOPPED, now)
        if must_end:
            return self._ending(HOST_STOPPED, now)
        # A restart that was asked for before this process began is done by it.
        if desired.restart_asked_at not in (None, self._first.restart_asked_at):
            return self._ending(RESTARTING, now)
        return None

    def _ending(self, status: SessionStatus, now: datetime) -> SessionEnd:
        return SessionEnd(ExitCode.DONE, self._machine.stopped(status, now=now))

    def _desired_state(self, now: datetime, *, is_last: bool) -> DesiredState | None:
        """Return what the operator wants, once a second and before the end; ``None``: not now."""
        if not is_last and self._looked_at is not None and now - self._looked_at < LOOK_EVERY:
            return None
        self._looked_at = now
        return self._try(self._record.desired_state)

    def _try(self, work: Callable[[], T]) -> T | None:
        """Do what can also be done later, if the database answers; ``None``: it does not."""
        try:
            done = work()
        except DATABASE_AWAY as error:
            self._retry.failed(error)
            return None
        self._retry.succeeded()
        return done


def observed(
    send_text: SendText, *, listen: Callable[[Event], None], activity: LastActivity
) -> SendText:
    """Return a device's ``send_text`` as the session observes it: when a message left, and that
    WhatsApp asks to slow down.
    """

    def send(number: str, text: str) -> Sent:
        try:
            sent = send_text(number, text)
        except Throttled as error:
            listen(RateLimited(error.retry_after))
            raise
        activity.last_sent_at = clock.now()
        return sent

    return send


class Dispatch:
    """The work loop of sending, which runs while the session may send.

    ``send_next`` does at most one send and returns the seconds until the next call; ``settle``
    gives back what is reserved and writes what is known, and returns whether that is done.
    ``on_lost`` ends the process at once.
    """

    def __init__(
        self,
        send_next: Callable[[datetime], float],
        *,
        settle: Callable[[datetime], bool],
        may_send: Callable[[], bool],
        on_lost: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send_next, self._settle, self._clock = send_next, settle, clock
        self._began: float | None = None
        self._may_send, self._on_lost = may_send, on_lost
        self._ended = threading.Event()
        self._retry = DatabaseRetry("sending", wait=self._ended.wait)
        self._thread = threading.Thread(target=self._run, name="dispatch", daemon=True)

    @property
    def hangs(self) -> bool:
        """Whether a send never returns: nothing would be sent any more, and nothing would report
        that.
        """
        began = self._began
        return began is not None and self._clock() - began > HUNG_SECONDS

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Begin no other send, and wait until the one under way is written; return whether that
        was in time.
        """
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def step(self, now: datetime) -> float:
        """Send a message, if one may be sent; return the seconds until the next step."""
        if not self._may_send():
            return IDLE_SECONDS
        try:
            pause = self._send_next(now)
        except LeaseLost as lost:
            self._on_lost(f"whatsapp session lost its lease: {lost}")
            return IDLE_SECONDS
        except DATABASE_AWAY as error:
            self._retry.failed(error)
            return PAUSE_SECONDS
        self._retry.succeeded()
        return pause

    def _run(self) -> None:
        pause = 0.0
        try:
            while not self._ended.wait(pause):
                pause = self._guarded()
            while not self._settle(clock.now()):
                time.sleep(PAUSE_SECONDS)
        finally:
            connection.close()

    def _guarded(self) -> float:
        """Go on after an error of our own: it must not end the session's sending unnoticed."""
        self._began = self._clock()
        try:
            return self.step(clock.now())
        except Exception:
            logger.exception("whatsapp sending failed")
            return BROKEN_SECONDS
        finally:
            self._began = None
