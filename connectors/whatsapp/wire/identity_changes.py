"""What says that a person has another number or BSUID now, or which number is theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.message_payloads import Message, Scalar, System
from connectors.whatsapp.wire.parties import told_of
from connectors.whatsapp.wire.payloads import Call, Group, Status, UpdatedId, UserIdUpdate
from connectors.whatsapp.wire.people import bsuid, identify, phone_digits
from connectors.whatsapp.wire.unhandled import read_unhandled
from connectors.whatsapp.wire.updates import Event, Path, happened
from messaging.events import Direction, IdentityChange, MessageEvent, Person

_TYPES = frozenset(("user_changed_number", "user_changed_user_id", "customer_changed_number"))
# At the end: before it stands a name, which may read the same.
_FROM_TO = re.compile(r"changed from (\+?\d[\d\s().\-]+\d) to (\+?\d[\d\s().\-]+\d)[\s.]*$")


def identity_change(frame: Frame, message: Message, timestamp: datetime) -> IdentityChange | None:
    """Return the change that a system message announces, or ``None`` if it announces none.

    Meta, "system messages webhook": ``from`` is the old number, ``wa_id`` the new one
    (``new_wa_id`` in old versions); any of them may be absent, so the sentence in ``body`` is the
    last resort.
    """
    system = message.system
    if system is None or system.type not in _TYPES:
        return None
    before, after = _before(message, system), _after(system)
    if not (before.is_known and after.is_known) or before == after:
        return None
    return IdentityChange(frame.phone_number_id or "", before, after, timestamp)


def shared_number(message: Message, event: MessageEvent) -> IdentityChange | None:
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


def told_together(frame: Frame, person: Person, at: datetime) -> Iterator[IdentityChange]:
    """Yield what joins a number with user ids that are told beside it (Meta, "Business-scoped user
    IDs"). None of this is said by the person: a number that is somebody else's stays theirs.
    """
    if person.phone and (person.user_id or person.parent_user_id):
        ids, number = replace(person, phone=None, other_phone=None), Person(person.phone)
        yield IdentityChange(frame.phone_number_id or "", ids, number, at, takes_number=False)


def read_update_of_id(frame: Frame, item: UserIdUpdate, path: Path) -> tuple[Event, ...]:
    """Return the change of a user id (Meta, "user_id_update webhook"; ``system`` messages tell the
    same).
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
    person = told_of(frame, item, path)
    at = happened(item.timestamp, frame.received_at)
    return (*told_together(frame, person, at), *read_unhandled(frame, item, path))


def read_group(frame: Frame, item: Group, path: Path) -> tuple[Event, ...]:
    """Return which ids are one person's of those who join, leave, or ask to join a group."""
    told: list[Event] = []
    at = happened(item.timestamp, frame.received_at)
    participants = (*(item.added_participants or ()), *(item.removed_participants or ()))
    for one in (item, *filter(None, participants)):
        person = identify(one.wa_id, one.user_id, one.parent_user_id)
        told += told_together(frame, person, at)
    return (*told, *read_unhandled(frame, item, path))


def _first_number(card: dict[str, Any]) -> str | None:
    numbers = card.get("phones")
    number = numbers[0] if isinstance(numbers, list) and numbers else None
    if not isinstance(number, dict):
        return None
    return phone_digits(_scalar(number.get("wa_id"))) or phone_digits(_scalar(number.get("phone")))


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int) else None


def _before(message: Message, system: System) -> Person:
    told = message.from_user_id
    return Person(
        phone_digits(message.from_) or _in_body(system, 1),
        system.previous_user_id
        or (told if told != system.user_id else None)
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
