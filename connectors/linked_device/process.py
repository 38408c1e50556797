"""The process of one session: it alone holds the account's connection, and it ends with it.

The device's library is loaded here and nowhere else, for it may end the process at any moment and
does not survive a fork. What must not be done twice is guarded by the lease.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from connectors.linked_device import leases, reasons, sessions, status, stores
from connectors.linked_device.delivering import Deliverer
from connectors.linked_device.events import (
    ConnectFailed,
    Device,
    Event,
    MessageArrived,
    ReceiptArrived,
)
from connectors.linked_device.intake import DeviceInbox, Intake
from connectors.linked_device.leases import ExitCode, Lease, LeaseKeeper, exit_now, kernel_alarm
from connectors.linked_device.machine import (
    CodeGiven,
    CodeRefused,
    Machine,
    MachineEvent,
    RateLimitWait,
)
from connectors.linked_device.models import PairBy, SenderSession, SessionState
from connectors.linked_device.record import (
    PAUSE_SECONDS,
    DatabaseRetry,
    DesiredState,
    LastActivity,
    Record,
)
from connectors.linked_device.session_loop import Dispatch, SessionEnd, SessionLoop, observed
from connectors.linked_device.status import SessionStatus
from lib import clock, structs
from lib.brake import DATABASE_AWAY
from workspaces.channel_errors import ChannelError, Throttled

logger = logging.getLogger("sigma.whatsapp.sender")

RELEASE_SECONDS = 10.0
# The longest send is 75 s, a connection attempt of the library 10 s.
SEND_SECONDS, STOP_SECONDS, INTAKE_SECONDS = 80.0, 15.0, 5.0
STEP_SECONDS = 0.25


def run(session_id: UUID) -> int:
    """Hold a session until it ends; return its `ExitCode`.

    Where the lease is lost, or the library does not close the connection, the process ends inside.
    Call it once in a process, from its main thread.
    """
    os.umask(0o077)
    structs.warm()
    is_asked_to_end, extra = _listen_for_signals(), {"session": str(session_id)}
    try:
        return _guarded(session_id, is_asked_to_end)
    except (stores.StoreInUse, leases.LeaseHeld) as held:
        logger.warning("whatsapp session is held: %s", held, extra=extra)
    except DATABASE_AWAY as error:  # nothing has begun yet
        extra["error"] = type(error).__name__
        logger.warning("whatsapp session not started: the database is away", extra=extra)
    return ExitCode.HELD


def _guarded(session_id: UUID, is_asked_to_end: Callable[[], bool]) -> int:
    """Hold the session by its store, on this machine, then everywhere."""
    session = _session(session_id)
    if session is None:
        logger.warning("whatsapp session is not there", extra={"session": str(session_id)})
        return ExitCode.FINAL
    try:
        store = stores.prepare(session)
    except OSError as error:
        return _unable(session, None, str(error))
    with stores.hold(store.parent):
        return _own(session_id, store, is_asked_to_end)


def _own(session_id: UUID, store: Path, is_asked_to_end: Callable[[], bool]) -> int:
    """Hold the session by its lease."""
    host, pid = str(settings.SIGMA_SENDER_HOST), os.getpid()
    lease = leases.acquire(session_id, owner=uuid4(), host=host, pid=pid)
    keeper = LeaseKeeper(lease, on_lost=exit_now, alarm=kernel_alarm)
    keeper.start()
    try:
        code = _work(session_id, lease, store, is_asked_to_end)
    except leases.LeaseLost as lost:
        exit_now(f"whatsapp session {session_id} lost its lease: {lost}")
    keeper.stop()
    _release(lease)
    return code


def _work(session_id: UUID, lease: Lease, store: Path, is_asked_to_end: Callable[[], bool]) -> int:
    """Let the session work until it ends, and write how it ended."""
    retry = DatabaseRetry("start", wait=time.sleep)
    session = retry.run(lambda: _session(session_id))
    if session is None:
        return ExitCode.FINAL
    try:
        device = _device()
    except ImportError as error:
        return _unable(session, lease, reasons.with_detail(reasons.NO_LIBRARY, str(error)))
    work = retry.run(lambda: SessionWork(session, lease, device, is_asked_to_end=is_asked_to_end))
    ending = _run(work, store)
    is_closed = work.close()
    work.finish(ending)
    if not is_closed:
        # The lease is kept, and ends by itself: the next owner waits for that.
        logger.critical("whatsapp session %s would not disconnect", session_id)
        logging.shutdown()
        os._exit(ending.code)
    return ending.code


def _run(work: SessionWork, store: Path) -> SessionEnd:
    try:
        return work.run(store)
    except OSError as error:
        reason = reasons.with_detail(reasons.NO_STORE, error.strerror or str(error))
        return SessionEnd(ExitCode.FAILED, SessionStatus(SessionState.FAILED, reason))
    except leases.LeaseLost:
        raise
    except Exception:  # the process ends in order, whatever broke it
        logger.exception("whatsapp session broke")
        return SessionEnd(ExitCode.FAILED, SessionStatus(SessionState.FAILED, reasons.BROKE))


def _session(session_id: UUID) -> SenderSession | None:
    return SenderSession.objects.select_related("workspace").filter(pk=session_id).first()


def _device() -> Device:
    made: Device = import_string(settings.SIGMA_DEVICES[settings.SIGMA_SENDER_DEVICE])()
    return made


def _unable(session: SenderSession, lease: Lease | None, reason: str) -> int:
    """Write why the session did not begin; without a lease only where no process has one."""
    now, failed = clock.now(), SessionStatus(SessionState.FAILED, reason)
    if lease is not None:
        status.write(session.pk, failed, now=now, fencing_token=lease.fencing_token)
    elif not session.is_held(now):
        status.write(session.pk, failed, now=now)
    logger.error("whatsapp session not started: %s", reason, extra={"session": str(session.pk)})
    return ExitCode.FAILED


def _listen_for_signals() -> Callable[[], bool]:
    """Return a function that returns whether the process was asked to end (SIGTERM)."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: received.append(number))
    return lambda: bool(received)


def _release(lease: Lease) -> None:
    """Give the lease back; without that the next owner waits for its end: no harm, only time."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while time.monotonic() < deadline:
        try:
            leases.release(lease)
        except DATABASE_AWAY:
            connection.close()
            time.sleep(PAUSE_SECONDS)
        else:
            return
    logger.warning("whatsapp session lease not given back", extra={"session": lease.session_id})


class SessionWork:
    """One session at work: its device, the threads around it, and its main loop, begun and closed
    in the order that loses nothing.
    """

    def __init__(
        self,
        session: SenderSession,
        lease: Lease,
        device: Device,
        *,
        is_asked_to_end: Callable[[], bool],
    ) -> None:
        self._events: SimpleQueue[MachineEvent] = SimpleQueue()
        self._activity, self._is_begun = LastActivity(), False
        self._number = sessions.number_to_pair(session)
        self._device = device
        self._retry = DatabaseRetry("session", wait=time.sleep)
        self.record = Record(session, lease)
        machine = _machine(session, now=clock.now())
        self._intake = Intake(DeviceInbox(session=session).keep)
        send_text = observed(device.send_text, listen=self._events.put, activity=self._activity)
        deliverer = Deliverer(session=session, lease=lease, send_text=send_text)
        self._dispatch = Dispatch(
            deliverer.send_next,
            settle=deliverer.settle,
            may_send=lambda: machine.may_send,
            on_lost=exit_now,
        )
        self.loop = SessionLoop(
            machine=machine,
            record=self.record,
            activity=self._activity,
            events=self._events,
            ask_code=self._ask_code,
            retry=self._retry,
            first=DesiredState(session.wanted, session.restart_asked_at),
            is_asked_to_end=is_asked_to_end,
        )

    def run(self, store: Path) -> SessionEnd:
        """Connect, receive and send; return how the session ends, once it does.

        Raises:
            OSError: the store cannot be opened.
            leases.LeaseLost: another process has the session.
        """
        now = clock.now()
        self._retry.run(lambda: self.record.started(self._device.library, now=now))
        if (ending := self.loop.step(None, now=now)) is not None:
            return ending  # before it connects: the operator changed their mind
        self._intake.start()
        self._is_begun = True
        self._device.start(store, self.listen)
        self._dispatch.start()
        while True:
            event = self.loop.wait(STEP_SECONDS) or self._hung_send()
            if (ending := self.loop.step(event, now=clock.now())) is not None:
                return ending

    def _hung_send(self) -> MachineEvent | None:
        """Return a failure where a send never returns: a library that is stuck reports none."""
        return ConnectFailed("a send did not come back") if self._dispatch.hangs else None

    def listen(self, event: Event) -> None:
        """Take an event of the device; a message or receipt is in the inbox when this returns."""
        if isinstance(event, MessageArrived | ReceiptArrived):
            self._intake.take(event)
            self._activity.last_event_at = clock.now()
        else:
            self._events.put(event)

    def close(self) -> bool:
        """Wait for the send under way, disconnect, store what arrived until then; return whether
        the connection is certainly closed.
        """
        if not self._dispatch.stop(SEND_SECONDS):
            logger.warning("whatsapp session ends in the middle of a send", extra=self.record.ids)
        is_closed = self._disconnect()
        self._intake.stop(INTAKE_SECONDS)
        return is_closed

    def finish(self, ending: SessionEnd) -> None:
        """Write how the session ended, after it did.

        Raises:
            leases.LeaseLost: another process has it.
        """
        now, final = clock.now(), ending.status
        self._retry.run(self.record.forget_pairing)
        if taken := self._activity.take():
            self._retry.run(lambda: self.record.write_activity(taken))
        if final is not None:
            self._retry.run(lambda: self.record.write_status(final, now=now))
        # The database answers again, if it did not: what it kept waiting may be acknowledged.
        self._intake.stop(INTAKE_SECONDS)

    def _disconnect(self) -> bool:
        """Disconnect the device, which may hang; return whether it did disconnect."""
        if not self._is_begun:
            return True
        stopping = threading.Thread(target=self._device.stop, name="device-stop", daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)
        return not stopping.is_alive()

    def _ask_code(self) -> None:
        threading.Thread(target=self._ask, name="pair-code", daemon=True).start()

    def _ask(self) -> None:
        """Ask the device for a code, which blocks for seconds; the answer is an event like any
        other.
        """
        try:
            answer: MachineEvent = CodeGiven(self._device.pair_code(self._number or ""))
        except Throttled as error:
            answer = CodeRefused(error.message, is_limit=True, retry_after=error.retry_after)
        except ChannelError as error:
            answer = CodeRefused(error.message)
        except Exception:
            logger.exception("whatsapp pairing code not given")
            answer = CodeRefused("the library broke; see the log")
        self._events.put(answer)


def _machine(session: SenderSession, *, now: datetime) -> Machine:
    """Return the session's machine; a wait that WhatsApp asked for goes on in a new process."""
    limit = RateLimitWait()
    if session.state == SessionState.RATE_LIMITED and session.until is not None:
        limit = RateLimitWait(session.until, session.until - session.since)
    pair_by = PairBy(session.pair_by or PairBy.QR)
    return Machine(is_paired=session.paired_at is not None, pair_by=pair_by, limit=limit, now=now)
