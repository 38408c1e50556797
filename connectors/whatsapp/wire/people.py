"""People in callbacks: who talks to whom in a message, and what else is learned about a person.

Meta, "Business-scoped user IDs": no identity is always there, a BSUID may stand where a number used
to be, and the contacts beside the messages say more of them. Messages come in three kinds of
callback: live ones, echoes of what the business wrote in its app, and history imported when a
number is shared with that app. Other callbacks state which number and user ids belong to one
person, how an address book names them, and whether they want marketing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import replace

from connectors.whatsapp.wire.payloads import (
    Call,
    ContactPayload,
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
from connectors.whatsapp.wire.updates import Event, Frame, Path, happened, read_unhandled
from lib.masking import has_digit, holds_number, mask, number_endings
from lib.numbering import spellings
from messaging.events import (
    AddressBookName,
    Direction,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    Person,
    Private,
    Source,
)

_BSUID = re.compile(r"u?[A-Za-z]{2}\.(ENT\.)?[A-Za-z0-9_-]{1,128}")
# A number may be written as WhatsApp's address of it; that of a group or a hidden id is no number.
_PHONE = re.compile(r"\+?[\d\s().\-]{5,40}(?:@(?:s\.whatsapp\.net|c\.us))?")
_GROUP = "@g.us"
_NOT_A_DIGIT = re.compile(r"[^0-9]+")
_LONGEST_PHONE = 20

# Brazil, Mexico and Argentina: `wa_id` may differ from `from` in a digit behind the country code.
_COMMON_TAIL = 8
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


def phone_digits(value: Scalar) -> str | None:
    """Return the digits of a phone number in any notation, or ``None`` for anything else."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    if not (text.isdecimal() and text.isascii()):
        if _PHONE.fullmatch(text) is None:
            return None
        text = _NOT_A_DIGIT.sub("", text)
    return text if 5 <= len(text) <= _LONGEST_PHONE else None


def bsuid(value: Scalar) -> str | None:
    """Return ``value`` if it is a business-scoped user id (``CC.…``), else ``None``."""
    if isinstance(value, str) and _BSUID.fullmatch(value) is not None:
        return value
    return None


def group_id(value: Scalar) -> str | None:
    """Return ``value`` if it is WhatsApp's address of a group, else ``None``."""
    return value if isinstance(value, str) and value.endswith(_GROUP) else None


def identify(key: Scalar, user_id: str | None, parent_user_id: str | None) -> Person:
    """Return the person of a phone-or-BSUID ``key`` (may be empty) and the two explicit ids."""
    phone = phone_digits(key)
    if phone is None and not user_id:
        user_id = bsuid(key)
        if user_id is not None and ".ENT." in user_id:
            user_id, parent_user_id = None, parent_user_id or user_id
    return Person(phone, user_id or None, parent_user_id or None)


def name_in(name: str | None, *phones: str | None) -> str | Private | None:
    """Return a profile name, a username, or what an address book says; blank: ``None``.

    One that holds an international number, or one of ``phones`` (the person's, digits), is private.
    Where none is known, so is one with any run of digits that may be the person's number.
    """
    if name is None or not (name := name.strip()):
        return None
    if not has_digit(name):
        return name
    is_private = holds_number(name, number_endings(phones))
    if not any(phones):
        is_private = is_private or mask(name) != name
    return Private(name) if is_private else name


def _find(frame: Frame, person: Person, index: int) -> int | None:
    """Return the position of the contact, beside the updates, that shares an identity with
    ``person``: by number, by BSUID.

    ``index``, the position of the update, is tried first; the answer does not depend on it unless
    two contacts share one identity.
    """
    contacts = frame.value.contacts
    if not contacts:
        return None
    nearest = contacts[index] if index < len(contacts) else None
    for field, key in (("wa_id", person.phone), ("user_id", person.user_id)):
        if not key:
            continue
        if nearest is not None and _key(nearest, field) == key:
            return index
        if frame.contacts is None:
            frame.contacts = _indexed(contacts)
        found = frame.contacts.get(f"{field}:{key}")
        if found is not None:
            return found
    return None


def _indexed(contacts: Sequence[ContactPayload | None]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for position, contact in enumerate(contacts):
        if contact is not None:
            for field in ("wa_id", "user_id"):
                if key := _key(contact, field):
                    positions.setdefault(f"{field}:{key}", position)
    return positions


def _join(frame: Frame, person: Person, position: int | None) -> Person:
    """Return ``person`` with what the contact at ``position`` adds: ids, name, username."""
    contact = (frame.value.contacts or ())[position] if position is not None else None
    if contact is None:
        return person
    wa_id = phone_digits(contact.wa_id)
    phone = person.phone or wa_id
    profile = contact.profile
    username = (profile.username if profile else None) or contact.username
    return Person(
        phone,
        person.user_id or contact.user_id or bsuid(contact.wa_id),
        person.parent_user_id or contact.parent_user_id or None,
        name_in(profile.name, phone, wa_id) if profile else None,
        name_in((username or "").lstrip("@"), phone, wa_id),
        wa_id if wa_id != phone else None,
    )


def _contradicts(person: Person, contact: ContactPayload) -> bool:
    """Return whether ``contact`` is certainly somebody else than ``person``."""
    if person.user_id and contact.user_id and person.user_id != contact.user_id:
        return True
    theirs = phone_digits(contact.wa_id)
    if person.phone is None or theirs is None:
        return False
    return person.phone[-_COMMON_TAIL:] != theirs[-_COMMON_TAIL:]


def _key(contact: ContactPayload, field: str) -> str | None:
    if field == "user_id":
        return contact.user_id or bsuid(contact.wa_id)
    return phone_digits(contact.wa_id)


def business_phone(frame: Frame) -> str | None:
    """Return the digits of the business's own number, as far as the metadata says."""
    metadata = frame.value.metadata
    return phone_digits(metadata.display_phone_number) if metadata is not None else None


class Parties(NamedTuple):
    """Who talks to whom, and how we learned of it."""

    direction: Direction
    source: Source
    sender: Person
    contact: Person


def parties_of(frame: Frame, message: MessagePayload, path: Path, thread: Thread | None) -> Parties:
    """Return the parties of ``message``; ``thread`` is its chat if it is a history item."""
    outbound = is_outbound(frame, message, path, thread)
    person = _named(message, outbound)
    if thread is None:
        position = _position(frame, person, path)
    else:
        person = _joined(_of_thread(thread), person)
        position = _find(frame, person, 0)
    source = Source.ECHO if path.section == "message_echoes" else Source.LIVE
    if frame.field == "history":
        source = Source.HISTORY
    person = _join(frame, person, position)
    if not outbound:
        return Parties(Direction.INBOUND, source, person, person)
    business = Person(phone_digits(message.from_) or business_phone(frame))
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
        if sender == business_phone(frame):
            return True
        if thread is not None and sender == phone_digits(thread.id):
            return False
    return not message.from_user_id and bool(message.to or message.to_user_id)


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
    return _join(frame, _meant(frame, item), contact_position(frame, item, path))


def contact_position(
    frame: Frame, item: MessagePayload | Status | Call | Preference, path: Path
) -> int | None:
    """Return where in ``contacts`` the other end of an element of a list in ``value`` stands."""
    if isinstance(item, MessagePayload):
        return _position(frame, _named(item, is_outbound(frame, item, path, None)), path)
    return _find(frame, _meant(frame, item), path.index)


def _position(frame: Frame, person: Person, path: Path) -> int | None:
    """Return where in ``contacts`` the person of a message stands: for want of a shared identity
    where the message stands itself, if there are as many contacts as messages and nothing
    contradicts.
    """
    contacts = frame.value.contacts
    position = _find(frame, person, path.index)
    if position is not None or contacts is None:
        return position
    siblings = getattr(frame.value, path.section) or ()
    if len(contacts) != len(siblings) or path.index >= len(siblings):
        return None
    contact = contacts[path.index]
    return None if contact is None or _contradicts(person, contact) else path.index


def _meant(frame: Frame, item: Status | Call | Preference) -> Person:
    if isinstance(item, Status):
        return recipient_of(item)
    if isinstance(item, Preference):
        return identify(item.wa_id, item.user_id, item.parent_user_id)
    caller = identify(item.from_, item.from_user_id, item.from_parent_user_id)
    called = identify(item.to, item.to_user_id, item.to_parent_user_id)
    by_business = item.to_user_id or (caller.phone and caller.phone == business_phone(frame))
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
