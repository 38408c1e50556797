"""What a session's process is made of, begun and closed in the order that loses nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

from connectors.linked_device import sessions
from connectors.linked_device.actions import CodeGiven, CodeRefused, Heard
from connectors.linked_device.delivering import Deliverer
from connectors.linked_device.device import Device
from connectors.linked_device.dispatch import Attended, Dispatch
from connectors.linked_device.events import ConnectFailed, Event, MessageArrived, ReceiptArrived
from connectors.linked_device.intake import Intake
from connectors.linked_device.keeper import exit_hard
from connectors.linked_device.leases import Lease
from connectors.linked_device.limits import Limit
from connectors.linked_device.machine import Machine
from connectors.linked_device.mailbox import Mailbox
from connectors.linked_device.persistence import Persistence
from connectors.linked_device.record import Record, Signs, Wishes
from connectors.linked_device.session_loop import Ending, SessionLoop
from connectors.models import PairBy, SenderSession, SessionState
from workspaces.channel_errors import ChannelError, Throttled

logger = logging.getLogger("sigma.whatsapp.sender")

# The longest send is 75 s, a connection attempt of the library 10 s.
SEND_SECONDS, STOP_SECONDS, INTAKE_SECONDS = 80.0, 15.0, 5.0
STEP_SECONDS = 0.25


class Parts:
    """One session at work: its device, the threads around it, and the loop that leads them."""

    def __init__(
        self,
        session: SenderSession,
        lease: Lease,
        device: Device,
        *,
        is_told_to_end: Callable[[], bool],
    ) -> None:
        self._inbox: SimpleQueue[Heard] = SimpleQueue()
        self._signs, self._is_begun = Signs(), False
        self._number = sessions.number_to_pair(session)
        self._device = Attended(device, listen=self._inbox.put, signs=self._signs)
        self._persistence = Persistence("session", wait=time.sleep)
        self.record = Record(session, lease)
        machine = _machine(session, now=datetime.now(UTC))
        mailbox = Mailbox(session=session)
        self._intake = Intake(lambda contents, now: mailbox.keep(contents, now=now))
        deliverer = Deliverer(session=session, lease=lease, device=self._device)
        self._dispatch = Dispatch(
            deliverer.turn, settle=deliverer.settle, may_send=lambda: machine.may_send,
            on_lost=exit_hard,
        )  # fmt: skip
        self.loop = SessionLoop(
            machine=machine, record=self.record, signs=self._signs, inbox=self._inbox,
            ask_code=self._ask_code, persistence=self._persistence,
            first=Wishes(session.wanted, session.restart_asked_at), is_told_to_end=is_told_to_end,
        )  # fmt: skip

    def lead(self, store: Path) -> Ending:
        """Connect, receive and send; return how the session ends, once it does.

        Raises:
            OSError: the store cannot be opened.
            leases.Lost: the session is somebody else's.
        """
        now = datetime.now(UTC)
        self._persistence.insist(lambda: self.record.started(self._device.library, now=now))
        if (ending := self.loop.step(None, now=now)) is not None:
            return ending  # before it connects: somebody changed his mind
        self._intake.start()
        self._is_begun = True
        self._device.start(store, self.listen)
        self._dispatch.start()
        while True:
            event = self.loop.wait(STEP_SECONDS) or self._hung()
            if (ending := self.loop.step(event, now=datetime.now(UTC))) is not None:
                return ending

    def _hung(self) -> Heard | None:
        """A library that is stuck says nothing: who sends has to tell."""
        return ConnectFailed("a send did not come back") if self._dispatch.hangs else None

    def listen(self, event: Event) -> None:
        """Take what the device tells; what people wrote is in the inbox when this returns."""
        if isinstance(event, MessageArrived | ReceiptArrived):
            self._intake.take(event)
            self._signs.last_event_at = datetime.now(UTC)
        else:
            self._inbox.put(event)

    def close(self) -> bool:
        """Wait for the send under way, disconnect, write what arrived until then; return whether
        the connection is certainly closed.
        """
        if not self._dispatch.stop(SEND_SECONDS):
            logger.warning("whatsapp session ends in the middle of a send", extra=self.record.ids)
        is_closed = self._disconnect()
        self._intake.stop(INTAKE_SECONDS)
        return is_closed

    def finish(self, ending: Ending) -> None:
        """Write down how the session ended, after it did.

        Raises:
            leases.Lost: it is somebody else's.
        """
        now, final = datetime.now(UTC), ending.standing
        self._persistence.insist(self.record.forget_pairing)
        if taken := self._signs.take():
            self._persistence.insist(lambda: self.record.signs(taken))
        if final is not None:
            self._persistence.insist(lambda: self.record.stands(final, now=now))
        # The database answers again, if it did not: what it kept waiting may be acknowledged.
        self._intake.stop(INTAKE_SECONDS)

    def _disconnect(self) -> bool:
        """Let the device go, which may hang; return whether it did."""
        if not self._is_begun:
            return True
        stopping = threading.Thread(target=self._device.stop, name="device-stop", daemon=True)
        stopping.start()
        stopping.join(STOP_SECONDS)
        return not stopping.is_alive()

    def _ask_code(self) -> None:
        threading.Thread(target=self._ask, name="pair-code", daemon=True).start()

    def _ask(self) -> None:
        """Ask the device, which blocks for seconds, and hear the answer as any other event."""
        try:
            answer: Heard = CodeGiven(self._device.pair_code(self._number or ""))
        except Throttled as error:
            answer = CodeRefused(error.message, is_limit=True, retry_after=error.retry_after)
        except ChannelError as error:
            answer = CodeRefused(error.message)
        except Exception:
            logger.exception("whatsapp pairing code not given")
            answer = CodeRefused("the library broke; see the log")
        self._inbox.put(answer)


def _machine(session: SenderSession, *, now: datetime) -> Machine:
    """A wait that WhatsApp asked for is not over because a process began."""
    limit = Limit()
    if session.state == SessionState.RATE_LIMITED and session.until is not None:
        limit = Limit(session.until, session.until - session.since)
    return Machine(
        is_paired=session.paired_at is not None, pair_by=PairBy(session.pair_by or PairBy.QR),
        limit=limit, now=now,
    )  # fmt: skip
