"""The thread of a session that sends: a send may block for 75 seconds while events go on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.db import connection

from connectors.linked_device.device import SendText, Sent
from connectors.linked_device.events import Event, RateLimited
from connectors.linked_device.leases import LeaseLost
from connectors.linked_device.record import PAUSE_SECONDS, DatabaseRetry, LastActivity
from lib.brake import DATABASE_AWAY
from workspaces.channel_errors import Throttled

logger = logging.getLogger("sigma.whatsapp.sender")

# The pause while nothing may be sent, and after an unexpected error.
IDLE_SECONDS, BROKEN_SECONDS = 0.1, 5.0
# A send takes 75 seconds at most, and the questions before it as long; a library that does not
# return by then never will.
HUNG_SECONDS = 300.0


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
        activity.last_sent_at = datetime.now(UTC)
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
            while not self._settle(datetime.now(UTC)):
                time.sleep(PAUSE_SECONDS)
        finally:
            connection.close()

    def _guarded(self) -> float:
        """Go on after an error of our own: it must not end the session's sending unnoticed."""
        self._began = self._clock()
        try:
            return self.step(datetime.now(UTC))
        except Exception:
            logger.exception("whatsapp sending failed")
            return BROKEN_SECONDS
        finally:
            self._began = None
