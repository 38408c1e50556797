"""The Device port: a linked WhatsApp device, whatever library drives it, and what it reports about
its connection and of what people wrote. Pure.

``settings.SIGMA_DEVICES`` names the classes. A session's process makes one, which ends with that
process: the library may end it at any moment. The events are named by us, not by a library: any
library for WhatsApp's multi-device protocol can report them. Identities are not encrypted, and live
in memory only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LinkedAccount:
    """The account that is linked; empty: not known. ``number`` is E.164 digits, ``platform`` the
    phone's (``android``, ``iphone``, ``smba`` …).
    """

    number: str = field(default="", repr=False)
    push_name: str = field(default="", repr=False)
    platform: str = ""
    business_name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class QrShown:
    """A QR code to scan, good for ``seconds``; the next one replaces it."""

    code: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class PairingTimedOut:
    """No QR code was scanned, and no pairing code typed, in time."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A phone linked this device; a restart of the connection follows by itself."""

    account: LinkedAccount


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection is up and the account logged in."""

    account: LinkedAccount


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection was lost; the device reconnects by itself."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeptAlive:
    """The server answered a keep-alive."""


@dataclass(frozen=True, slots=True)
class KeepAliveMissed:
    """The server did not answer so many keep-alives in a row."""

    misses: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """Another client connected with the same keys: two of us would fight for the account."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The phone, or WhatsApp, removed this device; its keys are void."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class TemporarilyBanned:
    """WhatsApp banned the account for a time."""

    code: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RateLimited:
    """WhatsApp says ``429 rate-overlimit``: wait ``retry_after`` seconds (``None``: not named)."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ClientOutdated:
    """WhatsApp no longer takes this version of the library (405)."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """The server could not be reached, or refused for another reason."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChatMember:
    """A person in a chat: digits of the phone, or the LID (WhatsApp's hidden id) where that is all
    there is.
    """

    phone: str | None = None
    lid: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message of a person, or (``from_me``) one that the owner wrote on another of their devices.

    ``kind`` is Meta's word for such a message in the Cloud API (``text``, ``image``, ``audio``,
    ``reaction`` …; ``unsupported`` for the rest). ``chat`` is the person at the other end.
    """

    id: str
    chat: ChatMember = field(repr=False)
    sender: ChatMember = field(repr=False)
    at: datetime
    kind: str
    text: str | None = field(default=None, repr=False)
    from_me: bool = False
    group_id: str | None = field(default=None, repr=False)
    quoted_id: str | None = None
    mime_type: str | None = None
    emoji: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ReceiptArrived:
    """Messages of ours made progress: ``status`` is ``delivered``, ``read`` or ``played``."""

    ids: tuple[str, ...]
    chat: ChatMember = field(repr=False)
    status: str
    at: datetime


Content = MessageArrived | ReceiptArrived
Event = (
    QrShown
    | PairingTimedOut
    | Paired
    | Connected
    | Disconnected
    | KeptAlive
    | KeepAliveMissed
    | Replaced
    | LoggedOut
    | TemporarilyBanned
    | RateLimited
    | ClientOutdated
    | ConnectFailed
    | Content
)


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
