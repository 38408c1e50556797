"""What a user told WhatsApp about marketing of this business (Meta, "user_preferences webhook")."""

from __future__ import annotations

from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.parties import told_of
from connectors.whatsapp.wire.payloads import Preference
from connectors.whatsapp.wire.unhandled import read_unhandled
from connectors.whatsapp.wire.updates import Event, Path, happened
from messaging.events import MarketingPreference

_MARKETING = "marketing_messages"
_WANTED: dict[object, bool] = {"stop": False, "resume": True, "signup": True}


def read_preference(frame: Frame, item: Preference, path: Path) -> tuple[Event, ...]:
    """Return what ``item`` says; other categories, other words and nobody's wishes are counted."""
    person = told_of(frame, item, path)
    known = isinstance(item.value, str) and item.value in _WANTED
    if not known or item.category != _MARKETING or not person.is_known:
        return read_unhandled(frame, item, path)
    at = happened(item.timestamp, frame.received_at)
    wanted = _WANTED[item.value]
    return (MarketingPreference(frame.phone_number_id or "", person, wanted, at),)
