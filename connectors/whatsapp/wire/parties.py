"""People in callbacks: who talks to whom in a message, and what else is learned about a person.

Messages come in three kinds of callback: live ones, echoes of what the business wrote in its app,
and history imported when a number is shared with that app. Other callbacks state which number and
user ids belong to one person, how an address book names them, and whether they want marketing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from connectors.whatsapp.wire.payloads import (
    Call,
    Group,
    MessagePayload,
    Preference,
    Scalar,
    StateSync,
    Status,
    System,
    Thread,
    UpdatedId,
    UserIdUpdate,
)
from connectors.whatsapp.wire.people import bsuid, identify, name_in, phone_digits
from connectors.whatsapp.wire.updates import Event, Frame, Path, happened, read_unhandled
from lib.numbering import spellings
from messaging.events import (
    AddressBookName,
    Direction,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    Person,
    Source,
)

_CHANGE_TYPES = frozenset(
    ("user_changed_number", "user_changed_user_id", "customer_changed_number")
)
# Only at the end: the name before it may read the same.
_FROM_TO = re.compile(r"changed from (\+?\d[\d\s().\-]+\d) to (\+?\d[\d\s().\-]+\d)[\s.]*$")
# An edit comes as another "add", says Meta; a remove has no names.
_NAMED_BY = frozenset(("add", "edit"))
_REMOVED = "remove"
_MARKETING_MESSAGES = "marketing_messages"
_CONSENT: dict[object, bool] = {"stop": False, "resume": True, "signup": True}


class Parties(NamedTuple):
    """Who talks to whom, and how we learned of it."""

    direction: Direction
    source: Source
    sender: Person
    contact: Person


def parties_of(frame: Frame, message: MessagePayload, path: Path, thread: Thread | None) -> Parties:
    """Return the parties of ``message``; ``thread`` is its chat if it is a history item."""
    outbound = is_outbound(frame, message, path, thread)
    source = _source(frame, path)
    if thread is None:
        person = _named(message, outbound)
        position = _position(frame, person, path)
    else:
        person = _joined(_of_thread(thread), _named(message, outbound))
        position = frame.contacts.find(person, 0)
    person = frame.contacts.join(person, position)
    if not outbound:
        return Parties(Direction.INBOUND, source, person, person)
    business = Person(phone_digits(message.from_) or frame.business_phone())
    return Parties(Direction.OUTBOUND, source, business, person)


def is_outbound(frame: Frame, message: MessagePayload, path: Path, thread: Thread | None) -> bool:
    """Return whether the business sent ``message``.

    In history that is so if ``from`` is the business's own number, or if there is a recipient:
    Meta, "history webhook", only messages of the business have one.
    """
    if path.section == "message_echoes":
        return True
    if frame.field != "history":
        return False
    sender = phone_digits(message.from_)
    if sender is not None:
        if sender == frame.business_phone():
            return True
        if thread is not None and sender == phone_digits(thread.id):
            return False
    return not message.from_user_id and bool(message.to or message.to_user_id)


def _source(frame: Frame, path: Path) -> Source:
    if frame.field == "history":
        return Source.HISTORY
    return Source.ECHO if path.section == "message_echoes" else Source.LIVE


def _of_thread(thread: Thread) -> Person:
    chat = identify(thread.id, None, None)
    context = thread.context
    if context is None:
        return chat
    stated = identify(context.wa_id, context.user_id, context.parent_user_id)
    phone = chat.phone or stated.phone
    return Person(
        phone,
        stated.user_id or chat.user_id,
        stated.parent_user_id or chat.parent_user_id,
        username=name_in((context.username or "").lstrip("@"), phone, stated.phone),
        other_phone=stated.phone if stated.phone != phone else None,
    )


def _joined(chat: Person, named: Person) -> Person:
    """Return whose chat it is with the user ids beside a message of it; of a group's chat the one
    who is named.
    """
    if not chat.is_known:
        return named
    if chat.phone and named.phone and named.phone not in spellings(chat.phone):
        return chat
    return replace(
        chat,
        phone=chat.phone or named.phone,
        user_id=chat.user_id or named.user_id,
        parent_user_id=chat.parent_user_id or named.parent_user_id,
    )


def _named(message: MessagePayload, outbound: bool) -> Person:
    if outbound:
        return identify(message.to, message.to_user_id, message.to_parent_user_id)
    return identify(message.from_, message.from_user_id, message.from_parent_user_id)


def person_of(frame: Frame, item: Status | Call | Preference, path: Path) -> Person:
    """Return whom an element beside messages is about, with what ``contacts`` adds."""
    return frame.contacts.join(_meant(frame, item), contact_position(frame, item, path))


def contact_position(
    frame: Frame, item: MessagePayload | Status | Call | Preference, path: Path
) -> int | None:
    """Return where in ``contacts`` the other end of an element of a list in ``value`` stands."""
    if isinstance(item, MessagePayload):
        return _position(frame, _named(item, is_outbound(frame, item, path, None)), path)
    return frame.contacts.find(_meant(frame, item), path.index)


def _position(frame: Frame, person: Person, path: Path) -> int | None:
    position = frame.contacts.find(person, path.index)
    if position is not None or frame.value.contacts is None:
        return position
    siblings = getattr(frame.value, path.section) or ()
    return frame.contacts.at(person, path.index, len(siblings))


def _meant(frame: Frame, item: Status | Call | Preference) -> Person:
    if isinstance(item, Status):
        return recipient_of(item)
    if isinstance(item, Preference):
        return identify(item.wa_id, item.user_id, item.parent_user_id)
    caller = identify(item.from_, item.from_user_id, item.from_parent_user_id)
    called = identify(item.to, item.to_user_id, item.to_parent_user_id)
    by_business = item.to_user_id or (caller.phone and caller.phone == frame.business_phone())
    return called if by_business else caller


def recipient_of(status: Status) -> Person:
    """Return whom a receipt is about; in a group that is the participant, not the group."""
    participant = status.recipient_participant_id or status.participant_recipient_id
    if participant or status.recipient_participant_user_id or status.recipient_type == "group":
        return identify(
            participant,
            status.recipient_participant_user_id,
            status.recipient_participant_parent_user_id,
        )
    return identify(
        status.recipient_id,
        status.recipient_user_id,
        status.recipient_parent_user_id or status.parent_recipient_user_id or status.parent_user_id,
    )


def identity_change(
    frame: Frame, message: MessagePayload, timestamp: datetime
) -> IdentityChange | None:
    """Return the change that a system message announces, or ``None`` if it announces none.

    Meta, "system messages webhook": ``from`` is the old number, ``wa_id`` the new one
    (``new_wa_id`` in old versions); any of them may be absent, so the sentence in ``body`` is the
    last resort.
    """
    system = message.system
    if system is None or system.type not in _CHANGE_TYPES:
        return None
    before, after = _before(message, system), _after(system)
    if not (before.is_known and after.is_known) or before == after:
        return None
    return IdentityChange(frame.phone_number_id or "", before, after, timestamp)


def _before(message: MessagePayload, system: System) -> Person:
    sender = message.from_user_id
    return Person(
        phone_digits(message.from_) or _in_body(system, 1),
        system.previous_user_id
        or (sender if sender != system.user_id else None)
        or bsuid(message.from_),
        system.previous_parent_user_id,
    )


def _after(system: System) -> Person:
    return Person(
        phone_digits(system.wa_id) or phone_digits(system.new_wa_id) or _in_body(system, 2),
        system.user_id or bsuid(system.wa_id),
        system.parent_user_id,
    )


def _in_body(system: System, side: int) -> str | None:
    found = _FROM_TO.search(system.body or "")
    return phone_digits(found[side]) if found else None


def shared_number(message: MessagePayload, event: MessageEvent) -> IdentityChange | None:
    """Return the number that somebody shared as their own when they were asked for it.

    Meta, "Business-scoped user IDs", request_contact_info: a card whose origin is
    ``contact_request`` holds the sender's own WhatsApp number; any other card may be anybody's.
    """
    card = next(iter(message.contacts or ()), None)
    person = event.contact
    if not isinstance(card, dict) or event.direction != Direction.INBOUND or person.phone:
        return None
    phone = _first_number(card)
    origin = card.get("origin") or message.origin
    if origin != "contact_request" or phone is None or not person.is_known:
        return None
    number, timestamp = Person(phone), event.timestamp
    return IdentityChange(event.phone_number_id, person, number, timestamp, takes_number=False)


def _first_number(card: dict[str, Any]) -> str | None:
    numbers = card.get("phones")
    number = numbers[0] if isinstance(numbers, list) and numbers else None
    if not isinstance(number, dict):
        return None
    return phone_digits(_scalar(number.get("wa_id"))) or phone_digits(_scalar(number.get("phone")))


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int) else None


def joined_ids(frame: Frame, person: Person, at: datetime) -> Iterator[IdentityChange]:
    """Yield what joins a number with the user ids stated beside it (Meta, "Business-scoped user
    IDs"). The person did not say it: a number that is somebody else's stays theirs.
    """
    if person.phone and (person.user_id or person.parent_user_id):
        ids, number = replace(person, phone=None, other_phone=None), Person(person.phone)
        yield IdentityChange(frame.phone_number_id or "", ids, number, at, takes_number=False)


def read_update_of_id(frame: Frame, item: UserIdUpdate, path: Path) -> tuple[Event, ...]:
    """Return the change of a user id (Meta, "user_id_update webhook"; ``system`` messages state
    the same).
    """
    user, parent = item.user_id or UpdatedId(), item.parent_user_id or UpdatedId()
    before = identify(item.wa_id, user.previous, parent.previous)
    after = Person(None, user.current, parent.current)
    if not (before.is_known and after.is_known):
        return read_unhandled(frame, item, path)
    number, at = frame.phone_number_id or "", happened(item.timestamp, frame.received_at)
    return (IdentityChange(number, before, after, at),)


def read_call(frame: Frame, item: Call | Status, path: Path) -> tuple[Event, ...]:
    """Return which ids are one person's who calls, is called, or answers a call."""
    person = person_of(frame, item, path)
    at = happened(item.timestamp, frame.received_at)
    return (*joined_ids(frame, person, at), *read_unhandled(frame, item, path))


def read_group(frame: Frame, item: Group, path: Path) -> tuple[Event, ...]:
    """Return which ids are one person's of those who join, leave, or ask to join a group."""
    changes: list[Event] = []
    at = happened(item.timestamp, frame.received_at)
    participants = (*(item.added_participants or ()), *(item.removed_participants or ()))
    for one in (item, *filter(None, participants)):
        person = identify(one.wa_id, one.user_id, one.parent_user_id)
        changes += joined_ids(frame, person, at)
    return (*changes, *read_unhandled(frame, item, path))


def read_address_book(frame: Frame, item: StateSync, path: Path) -> tuple[Event, ...]:
    """Return how the business names somebody (Meta, "smb_app_state_sync webhook"), and which of
    their ids belong together; entries of nobody, without a name, and other actions are counted.

    The names of its phone come when it is connected, and whenever one is added or removed.
    """
    entry = item.contact
    if entry is None or not isinstance(item.action, str):
        return read_unhandled(frame, item, path)
    known = identify(entry.phone_number, entry.user_id, entry.parent_user_id)
    at = happened(item.metadata.timestamp if item.metadata else None, frame.received_at)
    joined = () if item.action == _REMOVED else tuple(joined_ids(frame, known, at))
    name = name_in(entry.full_name, known.phone) or name_in(entry.first_name, known.phone)
    is_complete = item.action == _REMOVED or (item.action in _NAMED_BY and name)
    if not is_complete or not known.is_known:
        return (*joined, *read_unhandled(frame, item, path))
    username = name_in((entry.username or "").lstrip("@"), known.phone)
    # Whether a number beside user ids is theirs is for what joins them to decide.
    number = None if joined else known.phone
    person = Person(number, known.user_id, known.parent_user_id, username=username)
    named = name if item.action in _NAMED_BY else None
    return (*joined, AddressBookName(frame.phone_number_id or "", person, named or "", at))


def read_preference(frame: Frame, item: Preference, path: Path) -> tuple[Event, ...]:
    """Return whether a person consents to marketing of this business (Meta, "user_preferences
    webhook"); other categories, other words and those of nobody are counted.
    """
    person = person_of(frame, item, path)
    known = isinstance(item.value, str) and item.value in _CONSENT
    if not known or item.category != _MARKETING_MESSAGES or not person.is_known:
        return read_unhandled(frame, item, path)
    at = happened(item.timestamp, frame.received_at)
    consent = _CONSENT[item.value]
    return (MarketingPreference(frame.phone_number_id or "", person, consent, at),)
