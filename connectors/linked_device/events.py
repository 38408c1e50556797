"""What a linked device tells: about its connection, and what people wrote. Pure.

In our words, not the library's: any library that speaks WhatsApp's multi-device protocol can tell
these. Identities are in the clear and live in memory only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Account:
    """The account that is linked; empty: not told. ``number`` is E.164 digits, ``platform`` the
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
    """Nobody scanned a QR code or typed the pairing code in time."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A phone linked this device; a restart of the connection follows by itself."""

    account: Account


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection is up and the account logged in."""

    account: Account


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
    """WhatsApp says ``429 rate-overlimit``: wait ``retry_after`` seconds (``None``: not told)."""

    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ClientOutdated:
    """WhatsApp no longer takes this version of the library (405)."""


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """The server could not be reached, or refused for another reason."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Someone:
    """A person in a chat: digits of the phone, or the LID (WhatsApp's hidden id) where that is all
    there is.
    """

    phone: str | None = None
    lid: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message of a person, or (``from_me``) one that the owner wrote on another of his devices.

    ``kind`` is Meta's word for such a message in the Cloud API (``text``, ``image``, ``audio``,
    ``reaction`` …; ``unsupported`` for the rest). ``chat`` is the person at the other end.
    """

    id: str
    chat: Someone = field(repr=False)
    sender: Someone = field(repr=False)
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
    """Messages of ours got further: ``status`` is ``delivered``, ``read`` or ``played``."""

    ids: tuple[str, ...]
    chat: Someone = field(repr=False)
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
