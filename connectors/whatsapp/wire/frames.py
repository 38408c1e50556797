"""What surrounds an update and is shared by all updates of its change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connectors.whatsapp.wire.decoding import fingerprint, load
from connectors.whatsapp.wire.payloads import Change, Entry, Value
from connectors.whatsapp.wire.people import ContactBook, phone_digits
from connectors.whatsapp.wire.updates import Path, locate
from lib.masking import word


class Source:
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


class Frame:
    """One change: its field, accounts and contacts, and when and in what body it arrived."""

    __slots__ = (
        "contacts",
        "dropped",
        "entry_time",
        "field",
        "phone_number_id",
        "received_at",
        "source",
        "value",
        "waba_id",
    )

    def __init__(self, source: Source, entry: Entry, change: Change, value: Value) -> None:
        self.source = source
        self.received_at = source.received_at
        self.value = value
        self.field = field_of(entry, change)
        self.waba_id = waba_of(entry, value)
        self.phone_number_id = _number_of(value)
        self.contacts = ContactBook(value.contacts)
        self.entry_time = entry.time
        self.dropped = entry.dropped + change.dropped + value.dropped

    def business_phone(self) -> str | None:
        """Return the digits of the business's own number, as far as the metadata says."""
        metadata = self.value.metadata
        return phone_digits(metadata.display_phone_number) if metadata is not None else None


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


# Known to be words already.
_USUAL_FIELDS = frozenset(("messages", "smb_message_echoes", "history"))
