"""The Device port: a linked WhatsApp device, whatever library drives it.

``settings.SIGMA_DEVICES`` names the classes. A session's process makes one, which ends with that
process: the library may end it at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.linked_device.events import Event, LinkedAccount


@dataclass(frozen=True, slots=True)
class Sent:
    """WhatsApp took a message under this id."""

    message_id: str


SendText = Callable[[str, str], Sent]


class Device(Protocol):
    """One linked device. All methods may be called from any thread; only ``start`` is called once.

    Sends raise the errors of :mod:`workspaces.channel_errors`.
    """

    @property
    def library(self) -> str:
        """Return name and version of what drives it, such as ``neonize 0.5.2``."""

    def start(self, store: Path, listen: Callable[[Event], None]) -> None:
        """Open or make the store (a file) and connect, in threads of its own; return at once.

        Every event is passed to ``listen``, from any thread, in order. A message counts as
        delivered once ``listen`` returned, as far as the library waits for that. An account that
        is not linked yet begins to show QR codes.

        Raises:
            OSError: the store cannot be opened.
        """

    def pair_code(self, number: str) -> str:
        """Ask for a code to type into the phone with this number (digits); call it after the first
        QR code was shown. Blocks for seconds.

        Raises:
            ChannelError: WhatsApp refused, or did not answer.
        """

    def send_text(self, number: str, text: str) -> Sent:
        """Send a text to a number (digits). Blocks until the server took it, 75 seconds at most.

        Raises:
            Unavailable: not connected; nothing left. Throttled: nothing was sent; slow down.
            Rejected: refused and not to be tried again, such as a number that is not on WhatsApp
            (131026). OutcomeUnknown: it may have been sent.
        """

    def account(self) -> LinkedAccount | None:
        """Return the linked account, as far as it is known."""

    def stop(self) -> None:
        """Disconnect; no event is reported after that. Blocks for a moment."""
