"""The words of messaging: what happened, independent of any platform's wire format.

Values hold identities in plaintext and live in memory only; storage digests or seals every one of
them. What comes by the thousand is a struct, which costs a fifth of a frozen dataclass to make.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import msgspec

from workspaces.channel_errors import Reach


class Direction(StrEnum):
    """Who spoke: a person (``INBOUND``) or the business (``OUTBOUND``)."""

    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"


class Source(StrEnum):
    """How we learned of a message. History never overwrites what was seen live."""

    LIVE = "LIVE"
    ECHO = "ECHO"
    HISTORY = "HISTORY"
    API = "API"


# Types of messages that change another one, which they mean by ``reply_to``.
AMENDING = frozenset({"edit", "revoke"})
# What a person types is content (ADR 9), and so are an emoji and the new text of an edit.
_TYPED = frozenset(
    ("text", "image", "video", "audio", "voice", "document", "sticker", "order", "reaction", "edit")
)


def is_typed(kind: str, source: str) -> bool:
    """Tell whether somebody typed the text of a message of this type, which is kept as it is."""
    return kind != "location" if source == Source.API else kind in _TYPED


class Person(msgspec.Struct, frozen=True):
    """A WhatsApp user by any identity we know: digits of the phone, BSUID, parent BSUID.

    Each may be ``None``; username users may have no phone at all. ``other_phone`` is a second way
    to write the number, where the platform uses two (Brazil, Mexico, Argentina). A name that gives
    a number away is `Private`.
    """

    phone: str | None = None
    user_id: str | None = None
    parent_user_id: str | None = None
    name: str | Private | None = None
    username: str | Private | None = None
    other_phone: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether at least one identity is present."""
        return bool(self.phone or self.user_id or self.parent_user_id)


@dataclass(frozen=True, slots=True)
class MediaItem:
    """Metadata of a media file; the bytes stay with the platform until somebody asks for them."""

    platform_media_id: str
    mime_type: str | None = None
    sha256: str | None = None
    filename: str | None = None
    voice: bool = False
    animated: bool = False


@dataclass(frozen=True, slots=True)
class SharedCard:
    """A contact card as somebody shared it; ``numbers`` are the digits of the numbers on it."""

    card: dict[str, object]
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Private:
    """A JSON value that is sealed whatever it holds."""

    value: object


class MessageEvent(msgspec.Struct, frozen=True):
    """One message, sent or received.

    ``platform_message_id`` is Meta's wamid in plaintext (or ``sha256:<hex>`` of the canonical
    update when Meta sent none). ``reply_to`` is the wamid that this message answers, reacts to,
    edits or revokes. ``contact`` is the person at the other end; ``sender`` the one who spoke.
    ``content`` holds the structured rest as it came: JSON values, and a `SharedCard` for each card.
    ``numbers`` are the digits of phone numbers that ``content`` may hold besides those of
    ``sender`` and ``contact``. ``status`` is set by history imports only. One that ``is_to_self``
    was sent by the business to its own number: what it wrote and what it got have one wamid.
    """

    phone_number_id: str
    platform_message_id: str
    direction: Direction
    source: Source
    type: str
    timestamp: datetime
    sender: Person
    contact: Person
    text: str | None = None
    content: dict[str, object] = {}  # each has its own
    media: MediaItem | None = None
    reply_to: str | None = None
    group_id: str | None = None
    status: str | None = None
    numbers: tuple[str, ...] = ()
    is_to_self: bool = False


class Stop(NamedTuple):
    """An error that is not about its message alone: everything within ``reach`` fails too, until
    somebody puts right what ``reason`` names. ``code`` is the platform's.
    """

    code: int
    reach: Reach
    reason: str


class StatusUpdate(msgspec.Struct, frozen=True):
    """Where an outbound message got to: ``sent``, ``delivered``, ``read``, ``played``, ``failed`` …

    ``participant`` distinguishes the receipts of a group message, which share one wamid (empty
    outside groups; ``payment:<timestamp>`` for payment statuses, several of which may be equal).
    ``group_id`` is the group that the message was sent to; then ``recipient`` is the participant.
    ``payment`` is what is reported of a payment, as it came: such a status is not the message's.
    ``errors`` are as they came; ``stop`` is the first that is not about this message alone.
    """

    phone_number_id: str
    platform_message_id: str
    status: str
    timestamp: datetime
    participant: str = ""
    recipient: Person = Person()
    errors: tuple[dict[str, object], ...] = ()
    pricing: dict[str, object] | None = None
    callback_data: str | None = None
    group_id: str | None = None
    payment: dict[str, object] | None = None
    stop: Stop | None = None


class IdentityChange(msgspec.Struct, frozen=True):
    """A user's phone number or BSUID changed, or is reported: both sides are the same person.

    Unless it ``takes_number``, a number that is somebody else's stays theirs.
    """

    phone_number_id: str
    before: Person
    after: Person
    timestamp: datetime
    takes_number: bool = True


class MarketingPreference(msgspec.Struct, frozen=True):
    """A user set on the platform whether they want marketing of this business."""

    phone_number_id: str
    person: Person
    is_wanted: bool
    timestamp: datetime


class AddressBookName(msgspec.Struct, frozen=True):
    """What the business calls a person in its own address book; empty: no longer in it."""

    phone_number_id: str
    person: Person
    name: str | Private
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Unhandled:
    """An update we keep (sealed, in Raw) and count, but do not model: ``field`` and ``kind`` say
    which. ``is_beside``: all updates of one change say the same, which is counted once.
    """

    field: str
    kind: str
    is_beside: bool = dataclasses.field(default=False, compare=False)


class Incoming(msgspec.Struct, frozen=True):
    """One event to be stored for one workspace, and the Raw callback it came with.

    ``received_at`` and ``position`` (of the update among those of its callback, from 0) are the
    order of arrival; ``delivery_id`` distinguishes callbacks that arrived at one moment.
    """

    tenant_id: UUID
    workspace_id: UUID
    delivery_id: int
    received_at: datetime
    event: MessageEvent | StatusUpdate | IdentityChange | MarketingPreference | AddressBookName
    position: int = 0

    @property
    def delivery_day(self) -> date:
        """The day whose key seals the callback."""
        return self.received_at.date()
