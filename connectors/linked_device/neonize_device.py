"""A linked device by neonize: the only module that drives it, in a session's own process.

What it may never do is in docs/sender.md, *What was verified, and what could not be*.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connectors.linked_device import neonize_library as library
from connectors.linked_device import neonize_translation as translation
from connectors.linked_device.events import (
    ClientOutdated,
    Connected,
    ConnectFailed,
    Disconnected,
    Event,
    LinkedAccount,
    LoggedOut,
    MessageArrived,
    Paired,
    QrShown,
    RateLimited,
    ReceiptArrived,
    Replaced,
    Sent,
    TemporarilyBanned,
)
from lib import clock
from workspaces.channel_errors import OutcomeUnknown, Unavailable

logger = logging.getLogger("sigma.whatsapp.sender")

FIRST_QR_SECONDS, NEXT_QR_SECONDS = 60.0, 20.0
# A dial that hangs takes ten seconds, and nothing shortens it.
STOP_SECONDS, AGAIN_SECONDS = 12.0, 1.0
DRAIN_SECONDS, QUIET_SECONDS = 2.0, 0.25
KNOWN_SECONDS = 86_400.0
# The rest of the port's 75 seconds is for the send itself.
LOOK_UP_SECONDS = 20.0
# The name beside the device on the phone, and the kind of browser it is drawn as.
SHOWN_AS, CHROME = "SIGMA", 1
EVENTS = ("Connected", "Message", "Receipt", *translation.TRANSLATIONS)

CONNECTION_ENDS = (
    Disconnected,
    Replaced,
    LoggedOut,
    TemporarilyBanned,
    ClientOutdated,
    ConnectFailed,
)


class NeonizeDevice:
    """The Device port over neonize; one in a process, and the process ends with it."""

    library = f"neonize {library.version}"

    def __init__(self) -> None:
        self._client: Any = None
        self._account: LinkedAccount | None = None
        self._codes = 0
        self._is_connected = self._is_ending = self._is_over = False
        self._last_report_at = time.monotonic()
        self._report_lock = threading.RLock()
        # The id that WhatsApp knows a number by (``None``: not there), and when it was asked.
        self._known: dict[str, tuple[Any, float]] = {}

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Open or make the store and connect, in threads of the library's and one of ours.

        Raises:
            OSError: the store cannot be opened.
        """
        library.require_database(store)
        self._listen = listen
        quiet = library.Quiet()
        quiet.on_limit = lambda: self._report(RateLimited())
        library.take_logs(quiet)
        library.close_standard_output()
        properties = library.registration.DeviceProps(os=SHOWN_AS, platformType=CHROME)
        self._client = client = library.client.NewClient(
            str(store), props=properties, uuid="session"
        )
        # Its clean-up at the interpreter's end may block.
        client._stop_finalizer.atexit = False
        client.event.qr(lambda _, code: self._guarded(self._show, code))
        # The library's own handler would print the word's address.
        client._NewClient__onLoginStatus = lambda _, word: self._guarded(self._log_in, word)
        for name in EVENTS:
            client.event(getattr(library.pb, name))(
                lambda _, event: self._guarded(self._handle, event)
            )
        self._thread = threading.Thread(target=self._connect, name="neonize", daemon=True)
        self._thread.start()

    def pair_code(self, number: str) -> str:
        """Ask for a pairing code, under a name such as WhatsApp takes: ``Chrome (Linux)``.

        Raises:
            ChannelError: no QR code was shown yet, or WhatsApp gave none.
        """
        if not self._codes or self._account is not None or self._is_ending:
            raise Unavailable("A pairing code can be asked for while QR codes are shown.")
        try:
            name, kind = SimpleNamespace(name="Linux"), SimpleNamespace(name="Chrome", value=CHROME)
            code = self._client.PairPhone(number, True, client_name=name, client_type=kind)
        except Exception as error:
            raise translation.pairing_error(str(error)) from None
        return str(code)

    def send_text(self, number: str, text: str) -> Sent:
        """Send a text, after asking once a day whether the number is on WhatsApp.

        Raises:
            ChannelError: as the port says.
        """
        began = time.monotonic()
        known = self._jid_of(number)
        if known is None:
            raise translation.not_on_whatsapp()
        if time.monotonic() - began > LOOK_UP_SECONDS:  # the next try knows the answer
            raise Unavailable("WhatsApp was slow to say whether the number is there.")
        self._require_connection()
        # Built here: a plain text would be searched for mentions, with questions to the server.
        content = library.e2e.Message(conversation=text)
        try:
            answer = self._client.send_message(known, content)
        except library.client.SendMessageError as error:
            raise translation.send_error(str(error)) from None
        except Exception:
            raise OutcomeUnknown("The library broke while it sent the message.") from None
        return Sent(str(answer.ID))

    def account(self) -> LinkedAccount | None:
        """Return the account as the library reported it; to ask the library may end the process."""
        return self._account

    def stop(self) -> None:
        """Disconnect, and take what was received until then. Blocks for twelve seconds at most,
        where a dial hangs.
        """
        was_connected, self._is_connected, self._is_ending = self._is_connected, False, True
        if self._client is None:
            return
        ends = time.monotonic() + STOP_SECONDS
        if was_connected:
            library.run_for(self._client.disconnect, ends - time.monotonic())
            self._drain(time.monotonic() + DRAIN_SECONDS)
        while time.monotonic() < ends:
            # Again: one that comes before the library knows of its client does nothing.
            library.run_for(self._client.stop, ends - time.monotonic())
            self._thread.join(AGAIN_SECONDS)
            if not self._thread.is_alive() or self._codes:
                # After QR codes its thread never ends; the connection has.
                break
        self._is_over = True

    def _drain(self, ends: float) -> None:
        """Wait while the library still reports what it had received, and acknowledged, before."""
        while time.monotonic() < ends and time.monotonic() - self._last_report_at < QUIET_SECONDS:
            time.sleep(QUIET_SECONDS / 5)

    def _connect(self) -> None:
        try:
            self._client.connect()
            reason = "the library ended"
        except Exception as error:
            reason = library.redacted(str(error))
        self._is_connected = False
        self._report(ConnectFailed(reason))

    def _show(self, code: bytes) -> None:
        self._codes += 1
        seconds = FIRST_QR_SECONDS if self._codes == 1 else NEXT_QR_SECONDS
        self._report(QrShown(code.decode(), seconds))

    def _log_in(self, word: int) -> None:
        event = translation.login_event(ctypes.string_at(word).decode())
        if event is not None:
            self._report(event)

    def _handle(self, event: Any) -> None:
        name = event.DESCRIPTOR.name
        if name == "Message":
            ours: Event | None = translation.message(event)
        elif name == "Receipt":
            ours = translation.receipt(event)
        elif name == "Connected":
            ours = self._connected()
        else:
            ours = translation.connection_event(event, now=clock.now())
        if ours is not None:
            self._report(ours)

    def _connected(self) -> Event:
        # The library reported this itself before; to ask it is one of the calls that can end the
        # process.
        if self._client.me is not None:
            self._account = translation.account_of(self._client.me)
        self._account = self._account or LinkedAccount()
        self._is_connected = True
        return Connected(self._account)

    def _report(self, event: Event) -> None:
        if isinstance(event, Paired):
            self._account = event.account
        if isinstance(event, CONNECTION_ENDS):
            self._is_connected = False
        is_content = isinstance(event, MessageArrived | ReceiptArrived)
        with self._report_lock:
            if not self._is_over and (is_content or not self._is_ending):
                self._listen(event)
            self._last_report_at = time.monotonic()

    def _guarded(self, take: Callable[[Any], None], what: Any) -> None:
        """Call ``take``, and log what it raises: the library's threads would only print it."""
        try:
            take(what)
        except Exception:
            logger.exception("whatsapp device's event was not taken")

    def _jid_of(self, number: str) -> Any:
        known, asked = self._known.get(number, (None, -KNOWN_SECONDS))
        if time.monotonic() - asked < KNOWN_SECONDS:
            return known
        self._require_connection()
        try:
            answers = self._client.is_on_whatsapp(f"+{number}")
        except Exception as error:
            raise translation.look_up_error(str(error)) from None
        found = next((answer.JID for answer in answers if answer.IsIn), None)
        self._known[number] = (found, time.monotonic())
        return found

    def _require_connection(self) -> None:
        """Refuse calls to a library that has no client: some of them end the process."""
        if not self._is_connected:
            raise Unavailable("The account is not connected.")
