"""Who talks to whom in a message: the sender, the person at the other end, the direction.

Three kinds of callback carry messages: live ones, echoes of what the business wrote in its app, and
history imported when a number is shared with that app.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.payloads import Call, Message, Preference, Status, Thread
from connectors.whatsapp.wire.people import identify, phone_digits, told_name
from connectors.whatsapp.wire.updates import Path
from lib.numbering import spellings
from messaging.events import Direction, Person, Source


class Parties(NamedTuple):
    """Who talks to whom, and how we learned of it."""

    direction: Direction
    source: Source
    sender: Person
    contact: Person


def parties_of(frame: Frame, message: Message, path: Path, thread: Thread | None) -> Parties:
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


def is_outbound(frame: Frame, message: Message, path: Path, thread: Thread | None) -> bool:
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


def contact_position(
    frame: Frame, item: Message | Status | Call | Preference, path: Path
) -> int | None:
    """Return where in ``contacts`` the other end of an element of a list in ``value`` stands."""
    if isinstance(item, Message):
        return _position(frame, _named(item, is_outbound(frame, item, path, None)), path)
    return frame.contacts.find(_meant(frame, item), path.index)


def told_of(frame: Frame, item: Status | Call | Preference, path: Path) -> Person:
    """Return whom an element beside messages is about, with what ``contacts`` adds."""
    return frame.contacts.join(_meant(frame, item), contact_position(frame, item, path))


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


def _position(frame: Frame, person: Person, path: Path) -> int | None:
    position = frame.contacts.find(person, path.index)
    if position is not None or frame.value.contacts is None:
        return position
    siblings = getattr(frame.value, path.section) or ()
    return frame.contacts.place(person, path.index, len(siblings))


def _source(frame: Frame, path: Path) -> Source:
    if frame.field == "history":
        return Source.HISTORY
    return Source.ECHO if path.section == "message_echoes" else Source.LIVE


def _named(message: Message, outbound: bool) -> Person:
    if outbound:
        return identify(message.to, message.to_user_id, message.to_parent_user_id)
    return identify(message.from_, message.from_user_id, message.from_parent_user_id)


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


def _of_thread(thread: Thread) -> Person:
    chat = identify(thread.id, None, None)
    context = thread.context
    if context is None:
        return chat
    told = identify(context.wa_id, context.user_id, context.parent_user_id)
    phone = chat.phone or told.phone
    return Person(
        phone,
        told.user_id or chat.user_id,
        told.parent_user_id or chat.parent_user_id,
        username=told_name((context.username or "").lstrip("@"), phone, told.phone),
        other_phone=told.phone if told.phone != phone else None,
    )
