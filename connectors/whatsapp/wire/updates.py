"""One update of a callback: its place in the body, the change around it, and the events it means.

The readers of updates (`messages`, `people`, `template_changes`) share what follows: the fallback
that only counts, the rules for times, and facts in a form that may be logged and stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from connectors.whatsapp.wire.decoding import fingerprint, load
from connectors.whatsapp.wire.payloads import Change, Element, Entry, Error, Scalar, Status, Value
from lib.masking import WORD_LENGTH, mask, word
from messaging.events import (
    AddressBookName,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    Private,
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
Json = dict[str, object]
# The objects of envelopes: Meta's, and that of a linked device of ours in the same shape.
CLOUD_API, LINKED_DEVICE = "whatsapp_business_account", "linked_device"
# Stands for "the thing as a whole" where an element's position is expected.
WHOLE = -1
_END_OF_TIME = 253_402_300_800
# Two synchronised clocks do not differ by more.
_SKEW_SECONDS = 60
# 2009-01-01: there was no WhatsApp before.
_FIRST = 1_230_768_000
# Known to be words already.
_USUAL_FIELDS = frozenset(("messages", "smb_message_echoes", "history"))
# Meta's error codes have at most seven digits.
_CODES_END = 10_000_000
# Where an update that is not modelled says of which kind it is.
_KIND_KEYS = ("event", "event_name", "action_type", "action", "type", "status", "value")


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


class CallbackBody:
    """The body being read; its untyped tree is made once, and only if somebody needs it."""

    __slots__ = ("_body", "_tree", "object", "received_at")

    def __init__(self, body: bytes, received_at: datetime, kind: str) -> None:
        self.object = kind
        self._body = body
        self._tree: Any = None
        self.received_at = received_at

    def fingerprint(self, path: Path) -> str:
        """Return the substitute id of the message at ``path``, which has none of its own."""
        if self._tree is None:
            self._tree = load(self._body)
        return fingerprint(locate(self._tree, path))


def locate(tree: Any, path: Path) -> Any:
    """Return the JSON object of the message at ``path`` of an untyped body."""
    element = tree["entry"][path.entry]["changes"][path.change]["value"][path.section][path.index]
    if path.sub:
        thread, message = path.sub
        return element["threads"][thread]["messages"][message]
    return element


class Frame:
    """One change: its field, accounts and contacts, and when and in what body it arrived."""

    __slots__ = (
        "body",
        "contacts",
        "dropped",
        "entry_time",
        "field",
        "phone_number_id",
        "received_at",
        "value",
        "waba_id",
    )

    def __init__(self, body: CallbackBody, entry: Entry, change: Change, value: Value) -> None:
        self.body = body
        self.received_at = body.received_at
        self.value = value
        self.field = field_of(entry, change)
        self.waba_id = waba_of(entry, value)
        self.phone_number_id = _number_of(value)
        # Positions in ``value.contacts`` by identity, once somebody needs them.
        self.contacts: dict[str, int] | None = None
        self.entry_time = entry.time
        self.dropped = entry.dropped + change.dropped + value.dropped


def field_of(entry: Entry, change: Change | None) -> str:
    """Return the field of a change, also where Meta's samples misplace it; may be empty."""
    field = change.field if change is not None else None
    if field in _USUAL_FIELDS:
        return field
    if field is None and change is not None and change.value is not None:
        field = change.value.field
    return word(field or entry.field)


def waba_of(entry: Entry, value: Value | None = None) -> str:
    """Return the WhatsApp Business Account, or ``""``; partner events have it in ``waba_info``."""
    if value is not None and value.waba_info is not None and value.waba_info.waba_id:
        return str(value.waba_info.waba_id)
    return str(entry.id) if entry.id is not None else ""


def _number_of(value: Value) -> str | None:
    for place in (value.metadata, value.recipient, value.phone_number_settings):
        if place is not None and place.phone_number_id:
            return str(place.phone_number_id)
    return None


def counted(field: str, kind: str) -> Unhandled:
    """Return the count of an update of ``kind``, cut to the length of a word."""
    return Unhandled(field, kind[:WORD_LENGTH])


def read_unhandled(frame: Frame, item: Element, path: Path) -> tuple[Event, ...]:
    """Return the count of ``item``: its kind is a word of Meta's, or the list it stands in."""
    if path.section in ("errors", "history.errors"):
        return (counted(frame.field, f"error:{error_code(getattr(item, 'code', None))}"),)
    if isinstance(item, Status):  # of a call, or of another's: both words tell what it is
        kind = ":".join(filter(None, (word(item.type), word(item.status))))
    else:
        kind = _first_word(item, _KIND_KEYS)
    if path.section.startswith("standby."):
        kind = f"{path.section.removeprefix('standby.')}:{kind}"
    return (counted(frame.field, kind or path.section),)


def read_unhandled_value(frame: Frame, value: Value) -> tuple[Event, ...]:
    """Return the count of a change without lists; ``empty`` if we know none of its keys."""
    kind = _first_word(value, ("event", "decision", "type", "status", "alert_type"))
    if not kind and value.alert_info is not None:
        kind = word(value.alert_info.alert_type)
    return (counted(frame.field, kind or "empty"),)


def read_malformed(
    frame: Frame, dropped: tuple[str, ...], *, is_beside: bool = False
) -> tuple[Event, ...]:
    """Return one count for each key that held a value of the wrong type and was left out.

    ``is_beside``: the keys stand beside the updates of their change, each of which says so.
    """
    kinds = [f"malformed:{word(key)}"[:WORD_LENGTH] for key in dropped]
    return tuple(Unhandled(frame.field, kind, is_beside) for kind in kinds)


def _first_word(item: Element, keys: tuple[str, ...]) -> str:
    for key in keys:
        if found := word(getattr(item, key, None)):
            return found
    return ""


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


def compact(**facts: object) -> Json:
    """Return the facts that are there."""
    return {name: fact for name, fact in facts.items() if fact is not None}


def error_facts(errors: Iterable[Error | None] | None) -> tuple[Json, ...]:
    """Return the errors of a message or status; Meta advises to decide by ``code``."""
    return tuple(
        compact(
            code=error_code(error.code),
            title=error.title,
            message=error.message,
            details=(error.error_data and error.error_data.details) or error.details,
        )
        for error in errors or ()
        if error is not None
    )


def about_nobody_known(errors: Iterable[Json]) -> tuple[Json, ...]:
    """Return errors whose sentences are private if they hold any run of digits that may be the
    number of whom they are about.
    """
    return tuple(
        {
            name: Private(fact) if isinstance(fact, str) and mask(fact) != fact else fact
            for name, fact in error.items()
        }
        for error in errors
    )


def error_code(code: object) -> int | str | None:
    """Return Meta's error code, a number of at most 7 digits; anything else is masked."""
    if isinstance(code, int) and 0 <= code < _CODES_END:
        return code
    if isinstance(code, str) and code.isdecimal() and len(code) <= 7:
        return int(code)
    return word(code) or None


def masked(text: str | None) -> str | None:
    """Return ``text`` without phone numbers and message ids."""
    return mask(text) if text is not None else None
