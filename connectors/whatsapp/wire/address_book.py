"""The names that a business gives people in its own address book (Meta, "smb_app_state_sync
webhook"): those of its phone come when it is connected, and whenever one is added or removed.
"""

from __future__ import annotations

from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.identity_changes import told_together
from connectors.whatsapp.wire.payloads import StateSync
from connectors.whatsapp.wire.people import identify, told_name
from connectors.whatsapp.wire.unhandled import read_unhandled
from connectors.whatsapp.wire.updates import Event, Path, happened
from messaging.events import AddressBookName, Person

# An edit comes as another "add", says Meta; a remove has no names.
_NAMED = frozenset(("add", "edit"))
_REMOVED = "remove"


def read_address_book(frame: Frame, item: StateSync, path: Path) -> tuple[Event, ...]:
    """Return how somebody is called and which of their ids belong together; entries of nobody,
    without a name, and other actions are counted.
    """
    entry = item.contact
    if entry is None or not isinstance(item.action, str):
        return read_unhandled(frame, item, path)
    known = identify(entry.phone_number, entry.user_id, entry.parent_user_id)
    at = happened(item.metadata.timestamp if item.metadata else None, frame.received_at)
    joined = () if item.action == _REMOVED else tuple(told_together(frame, known, at))
    name = told_name(entry.full_name, known.phone) or told_name(entry.first_name, known.phone)
    is_told = item.action == _REMOVED or (item.action in _NAMED and name)
    if not is_told or not known.is_known:
        return (*joined, *read_unhandled(frame, item, path))
    username = told_name((entry.username or "").lstrip("@"), known.phone)
    # Whether a number beside user ids is theirs is for what joins them to decide.
    number = None if joined else known.phone
    person = Person(number, known.user_id, known.parent_user_id, username=username)
    named = name if item.action in _NAMED else None
    return (*joined, AddressBookName(frame.phone_number_id or "", person, named or "", at))
