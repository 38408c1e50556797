"""What parsing hands out: one `Update` per element of a list, and where in the body it stood."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from connectors.whatsapp.wire.payloads import Scalar
from lib.masking import WORD_LENGTH
from messaging.events import (
    AddressBookName,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    StatusUpdate,
    Unhandled,
)
from templates_wa.events import TemplateEvent

Event = (
    MessageEvent
    | StatusUpdate
    | IdentityChange
    | MarketingPreference
    | AddressBookName
    | TemplateEvent
    | Unhandled
)

# The objects of envelopes: Meta's, and that of a linked device of ours in the same shape.
CLOUD_API, LINKED_DEVICE = "whatsapp_business_account", "linked_device"
# Stands for "the thing as a whole" where an element's position is expected.
WHOLE = -1
_END_OF_TIME = 253_402_300_800
# Two clocks that are looked after do not differ by more.
_SKEW_SECONDS = 60
# 2009-01-01: there was no WhatsApp before.
_FIRST = 1_230_768_000


class Path(NamedTuple):
    """The place of an update in its body.

    ``section`` is the list it stands in (``messages``, ``history``, ``standby.messages`` …), or
    ``value``, ``change``, ``changes``, ``entry``, ``envelope`` for an update that is all of it.
    In ``history``, ``index`` is the chunk and ``sub`` the thread and the message.
    """

    entry: int
    change: int
    section: str
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody needs here
    sub: tuple[int, ...] = ()


class Update(msgspec.Struct, frozen=True):
    """One update of a callback and what it means; ``problem`` says why it could not be read.

    ``waba_id`` and ``phone_number_id`` are what Meta says, for routing; never trusted by itself.
    ``object`` is what the envelope is about, as it says. ``position`` counts the updates of the
    body from 0.
    """

    path: Path
    field: str
    waba_id: str
    phone_number_id: str | None
    events: tuple[Event, ...]
    problem: str | None = None
    object: str = CLOUD_API
    position: int = 0


def counted(field: str, kind: str) -> Unhandled:
    """Return the count of an update of ``kind``, cut to the length of a word."""
    return Unhandled(field, kind[:WORD_LENGTH])


def moment(value: Scalar, otherwise: datetime) -> datetime:
    """Return Unix seconds (text or number) in UTC; ``otherwise`` if absent, bad or out of range."""
    if value is None or value == "":
        return otherwise
    try:
        seconds = int(value)
        if 0 < seconds < _END_OF_TIME:
            return datetime.fromtimestamp(seconds, UTC)
    except ValueError:
        pass
    return otherwise


def happened(value: Scalar, received_at: datetime) -> datetime:
    """Return when something happened, which is known by ``received_at``: Unix seconds in UTC, or
    milliseconds where only they make sense.

    What is absent, bad, before there was WhatsApp, or later than the arrival by more than clocks
    may differ is taken for the arrival: a time to come would keep a window open and a conversation
    on top for as long. What Meta said stays in Raw.
    """
    if value is None or value == "":
        return received_at
    try:
        number = int(value)
    except ValueError:
        return received_at
    for seconds in (number, number // 1000):
        if _FIRST <= seconds <= received_at.timestamp() + _SKEW_SECONDS:
            return datetime.fromtimestamp(seconds, UTC)
    return received_at


def locate(tree: Any, path: Path) -> Any:
    """Return the JSON object of the message at ``path`` of an untyped body."""
    element = tree["entry"][path.entry]["changes"][path.change]["value"][path.section][path.index]
    if path.sub:
        thread, message = path.sub
        return element["threads"][thread]["messages"][message]
    return element
