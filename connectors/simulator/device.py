"""A linked device that no phone ever linked: it plays a script, for the demo and the tests.

It fakes our own Device port, not WhatsApp's server, which nobody can: docs/sender.md, *Trying it
without a phone*.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from django.conf import settings

from connectors.linked_device.events import (
    Connected,
    Disconnected,
    Event,
    KeptAlive,
    LinkedAccount,
    LoggedOut,
    MessageArrived,
    Paired,
    PairingTimedOut,
    QrShown,
    ReceiptArrived,
    Replaced,
    Sent,
)
from connectors.simulator import device_events, device_script
from connectors.simulator.device_script import (
    InvalidScript,
    Script,
    ScriptStep,
    answer_to_pairing,
    result_of,
)
from connectors.simulator.device_store import DeviceStore
from workspaces.channel_errors import Unavailable

logger = logging.getLogger("sigma.whatsapp.sender")
PATIENCE = 1.0
Action = Callable[[], None]


class NotForTrying(Exception):
    """Linked devices are WhatsApp's here; a simulated one would send to nobody and say it had."""


class SimulatedDevice:
    """The Device port, played from a script (:mod:`connectors.simulator.device_script`).

    Like a real library it reports events from a thread of its own, keeps its account in its
    store, and goes on sending after it was replaced: nothing here hides a second owner.
    """

    library = "simulated 1"

    def __init__(self) -> None:
        if settings.SIGMA_SENDER_DEVICE != "simulated":
            raise NotForTrying("A simulated device needs SIGMA_SENDER_DEVICE=simulated.")
        self._id = secrets.token_hex(8)
        self._timeline = Timeline(self._look)
        self._account: LinkedAccount | None = None
        self._typed: str | None = None
        self._is_connected = False
        self._started = self._last_sign = time.monotonic()
        self._connected: float | None = None
        self._first_qr: float | None = None
        self._played: set[str] = set()

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Open the store and begin to play its script.

        Raises:
            OSError: the store cannot be opened.
            InvalidScript: the script cannot be understood.
        """
        self._store, self._listen = DeviceStore(store), listen
        self._script = device_script.read(store)
        self._account = self._store.account()
        self._started = time.monotonic()
        self._timeline.after(self._script.connect_after, self._begin)
        self._timeline.start()

    def pair_code(self, number: str) -> str:
        """Return a code to type into a phone that does not exist.

        Raises:
            ChannelError: no QR code was shown yet, or the script refuses.
        """
        if self._first_qr is None or self._account is not None:
            raise Unavailable("A pairing code can be asked for while QR codes are shown.")
        code = answer_to_pairing(self._script.pair_code)
        self._typed = number
        return code

    def send_text(self, number: str, text: str) -> Sent:
        """End as the script says that this send ends; what left is in the journal.

        Raises:
            ChannelError: as the port says.
        """
        if not self._is_connected:
            raise Unavailable("The account is not connected.")
        script = self._script = self._read()
        word, _, detail = self._store.next_outcome(script.sends).partition(":")
        result = result_of(word, detail)
        if word == "crash_before":
            crash()
        sent = Sent("3EB0" + secrets.token_hex(9).upper())
        if result.leaves:
            self._store.journal(sent.message_id, number, text)
        if word == "crash":
            crash()
        time.sleep(result.seconds)
        if result.error is not None:
            raise result.error
        self._answer(script, number, sent)
        return sent

    def account(self) -> LinkedAccount | None:
        """Return who is linked, by the store."""
        return self._account

    def stop(self) -> None:
        """End the script; wait for the event that is being reported."""
        self._timeline.stop()
        self._ends()

    def _begin(self) -> None:
        if self._account is not None or self._script.connect != "ok":
            self._connect()
        else:
            self._show(0)

    def _connect(self) -> None:
        if self._script.connect != "ok":
            self._report(device_events.refusal(self._script, now=_now()))
        elif self._account is not None:
            self._report(Connected(self._account))

    def _show(self, number: int) -> None:
        if self._account is not None:
            return
        if number >= len(self._script.qr_seconds):
            self._first_qr = None
            self._report(PairingTimedOut())
            return
        seconds = self._script.qr_seconds[number]
        self._report(QrShown(f"sigma-simulated:{secrets.token_urlsafe(24)}", seconds))
        self._first_qr = self._first_qr or time.monotonic()
        self._timeline.after(seconds, partial(self._show, number + 1))

    def _pair(self) -> None:
        account = {"number": self._typed or device_script.NUMBER, "platform": "android"}
        self._account = LinkedAccount(
            **{**account, "push_name": "Simulated", **self._script.account}
        )
        self._store.link(self._account)
        self._report(Paired(self._account))
        self._report(Disconnected("A restart follows pairing."))
        self._timeline.after(self._script.connect_after, self._connect)

    def _look(self) -> None:
        self._script = script = self._read()
        if _is_due(self._first_qr, script.paired_after) and self._account is None:
            self._pair()
        if self._is_connected and self._store.is_replaced(self._id):
            self._report(Replaced())
        if self._is_connected and _is_due(self._last_sign, script.keep_alive):
            self._report(KeptAlive())
        for step in script.steps():
            since = self._started if step.of_start else self._connected
            if step.key not in self._played and _is_due(since, step.after):
                self._played.add(step.key)
                self._happen(step)

    def _happen(self, step: ScriptStep) -> None:
        if step.event == "crash":
            crash()
        try:
            self._report(device_events.event_of(step, self._account or LinkedAccount(), now=_now()))
        except InvalidScript as error:
            logger.error("whatsapp simulated device's script: %s", error)

    def _report(self, event: Event) -> None:
        if isinstance(event, device_events.ENDS):
            self._ends()
        if isinstance(event, LoggedOut):
            self._store.unlink()
            self._account = None
        if isinstance(event, Connected):
            self._begins()
        self._last_sign = time.monotonic()
        try:
            self._listen(event)
        except Exception:
            logger.exception("whatsapp simulated device was not listened to")
            if isinstance(event, MessageArrived | ReceiptArrived):
                self._timeline.after(PATIENCE, partial(self._report, event))

    def _begins(self) -> None:
        self._store.connects(self._id)
        self._is_connected = True
        self._connected = self._connected or time.monotonic()

    def _ends(self) -> None:
        if self._is_connected:
            self._is_connected = False
            self._store.disconnects(self._id)

    def _answer(self, script: Script, number: str, sent: Sent) -> None:
        for status, seconds in script.receipts.items():
            self._timeline.after(
                seconds, partial(self._receive_receipt, number, sent.message_id, status)
            )
        if script.auto_reply is not None:
            reply = device_events.reply(script.auto_reply, number, to=sent.message_id, now=_now())
            self._timeline.after(script.auto_reply_after, partial(self._report, reply))

    def _receive_receipt(self, number: str, message_id: str, status: str) -> None:
        self._report(device_events.receipt(number, message_id, status, now=_now()))

    def _read(self) -> Script:
        try:
            return device_script.read(self._store.path)
        except InvalidScript:
            # Half written: the next look finds the rest.
            return self._script


def crash() -> None:
    """End this process as a bug in a library would: at once, nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def _is_due(since: float | None, seconds: float | None) -> bool:
    return since is not None and seconds is not None and time.monotonic() - since >= seconds


def _now() -> datetime:
    return datetime.now(UTC)


class Timeline:
    """Does what was put on it, and looks around (``look``) every ``every`` seconds meanwhile."""

    def __init__(self, look: Action, *, every: float = 0.05) -> None:
        self._look, self._every = look, every
        self._ahead: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="simulated-device", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def after(self, seconds: float, action: Action) -> None:
        """Let ``action`` happen so many seconds from now, after what is due before it."""
        with self._changed:
            heapq.heappush(self._ahead, (time.monotonic() + seconds, next(self._order), action))
            self._changed.notify()

    def stop(self, *, patience: float = 2.0) -> None:
        """End after the action that is under way; wait for it ``patience`` seconds at most."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(patience)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            action()

    def _next(self) -> Action | None:
        with self._changed:
            if self._is_over:
                return None
            now = time.monotonic()
            if not self._ahead or self._ahead[0][0] > now:
                wait = self._every if not self._ahead else self._ahead[0][0] - now
                self._changed.wait(min(wait, self._every))
            if self._is_over:
                return None
            if self._ahead and self._ahead[0][0] <= time.monotonic():
                return heapq.heappop(self._ahead)[2]
        return self._look
