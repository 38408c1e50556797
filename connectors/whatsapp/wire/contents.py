"""The contents of a message, per type: text, structured data, file, and what it refers to.

Everything is handed on as it came; what gives a phone number away is sealed where it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from connectors.whatsapp.wire.decoding import NotAnEnvelope, load_embedded
from connectors.whatsapp.wire.payloads import (
    Amount,
    CallPermission,
    Content,
    File,
    FormReply,
    Reply,
)
from connectors.whatsapp.wire.people import phone_digits
from connectors.whatsapp.wire.updates import Json, compact, moment
from lib.masking import as_it_came, word
from messaging.events import MediaItem, SharedCard

_NOTHING: Mapping[str, object] = MappingProxyType({})


class MessageParts(NamedTuple):
    """The parts of a message that depend on its type; ``numbers`` are digits of phone numbers that
    these parts may hold and that are nowhere else in the message.
    """

    text: str | None = None
    content: Mapping[str, object] = _NOTHING
    media: MediaItem | None = None
    reply_to: str | None = None
    numbers: tuple[str, ...] = ()


def parts_of(kind: str, message: Content) -> MessageParts:
    """Return the parts of ``message`` of type ``kind``; of an unknown type, none."""
    reader = _READERS.get(kind)
    return reader(message) if reader is not None else MessageParts()


def present_type(message: Content) -> str | None:
    """Return the type of a message that does not say it, from the key that it has."""
    for kind in TYPES_WITH_A_BODY:
        if getattr(message, kind, None) is not None:
            return kind
    return None


def _text(message: Content) -> MessageParts:
    return MessageParts(message.text.body if message.text else None)


def _file(kind: str) -> Callable[[Content], MessageParts]:
    def read(message: Content) -> MessageParts:
        file: File | None = getattr(message, kind)
        if file is None:
            return MessageParts()
        return MessageParts(file.caption, {}, _media(file, kind))

    return read


def _media(file: File, kind: str) -> MediaItem | None:
    if not file.id:
        return None
    return MediaItem(
        platform_media_id=str(file.id),
        mime_type=file.mime_type,
        sha256=file.sha256,
        filename=file.filename or None,
        voice=bool(file.voice) or kind == "voice",
        animated=bool(file.animated),
    )


def _location(message: Content) -> MessageParts:
    place = message.location
    if place is None:
        return MessageParts()
    text = ", ".join(part for part in (place.name, place.address) if part)
    return MessageParts(
        text or None,
        compact(
            latitude=_degrees(place.latitude),
            longitude=_degrees(place.longitude),
            name=place.name,
            address=place.address,
            url=place.url,
        ),
    )


def _degrees(value: Amount) -> float | None:
    """Return degrees as a number, also where they come as text; ``None``: these are none."""
    if isinstance(value, str):
        value = float(value) if _DECIMAL.fullmatch(value.strip()) else None
    return value if value is not None and abs(value) <= _MOST_DEGREES else None


def _contacts(message: Content) -> MessageParts:
    cards = [card for card in message.contacts or () if isinstance(card, dict)]
    origin = message.origin or next((card["origin"] for card in cards if card.get("origin")), None)
    shared = [SharedCard(as_it_came(card), tuple(_numbers_on(card))) for card in cards]
    return MessageParts(None, compact(contacts=shared, origin=word(origin) or None))


def _numbers_on(card: Mapping[str, Any]) -> Iterator[str]:
    phones = card.get("phones")
    for phone in phones if isinstance(phones, list) else ():
        for key in ("phone", "wa_id"):
            digits = phone_digits(phone.get(key)) if isinstance(phone, dict) else None
            if digits is not None:
                yield digits


def _interactive(message: Content) -> MessageParts:
    answer = message.interactive
    if answer is None:
        return MessageParts()
    if answer.button_reply is not None:
        return _choice("button_reply", answer.button_reply)
    if answer.list_reply is not None:
        return _choice("list_reply", answer.list_reply)
    if answer.nfm_reply is not None:
        return _form(answer.nfm_reply)
    if answer.call_permission_reply is not None:
        return MessageParts(None, _call_permission(answer.call_permission_reply))
    return MessageParts(None, {"interactive": word(answer.type)})


def _choice(kind: str, reply: Reply) -> MessageParts:
    content = compact(
        interactive=kind,
        id=reply.id,
        title=reply.title,
        description=reply.description,
    )
    return MessageParts(reply.title, content)


def _form(reply: FormReply) -> MessageParts:
    """Read a form's answer: JSON text as a rule, but any JSON value and broken text occur.

    The text is kept beside what it says: a database's JSON does not keep the order of keys.
    """
    answer = reply.response_json
    written = answer if isinstance(answer, str) else None
    content = compact(interactive="nfm_reply", name=reply.name, response_json=written)
    try:
        content["response"] = as_it_came(load_embedded(answer) if written is not None else answer)
    except (NotAnEnvelope, RecursionError):
        content["response_is_invalid"] = True
    return MessageParts(reply.body, content)


def _call_permission(reply: CallPermission) -> Json:
    expires_at = moment(reply.expiration_timestamp, _NEVER)
    return compact(
        interactive="call_permission_reply",
        response=word(reply.response),
        is_permanent=reply.is_permanent,
        expires_at=None if expires_at is _NEVER else expires_at.isoformat(),
        response_source=word(reply.response_source) or None,
    )


def _button(message: Content) -> MessageParts:
    button = message.button
    if button is None:
        return MessageParts()
    return MessageParts(button.text, compact(payload=button.payload))


def _order(message: Content) -> MessageParts:
    order = message.order
    if order is None:
        return MessageParts()
    items = as_it_came(order.product_items)
    return MessageParts(
        order.text or None,
        compact(catalog_id=as_it_came(order.catalog_id), product_items=items),
    )


def _reaction(message: Content) -> MessageParts:
    reaction = message.reaction
    if reaction is None:
        return MessageParts()
    emoji = reaction.emoji or None
    content: Json = {"emoji": emoji} if emoji else {"removed": True}
    return MessageParts(emoji, content, None, reaction.message_id)


def _system(message: Content) -> MessageParts:
    system = message.system
    if system is None:
        return MessageParts()
    # The old number and the new one, neither of which need stand anywhere else.
    numbers = [phone_digits(found) for found in _PHONE_LIKE.findall(system.body or "")]
    content = compact(system=word(system.type) or None)
    return MessageParts(system.body, content, numbers=tuple(number for number in numbers if number))


def _unsupported(message: Content) -> MessageParts:
    kind = word(message.unsupported.type) if message.unsupported else ""
    return MessageParts(None, {"unsupported": kind} if kind else {})


_NEVER = datetime.max.replace(tzinfo=UTC)
_MOST_DEGREES = 180
_DECIMAL = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,30})?")
_PHONE_LIKE = re.compile(r"[0-9][0-9\s().\-]{4,30}[0-9]")
_FILES = ("image", "video", "audio", "voice", "document", "sticker")
_READERS: dict[str, Callable[[Content], MessageParts]] = {
    "text": _text,
    "location": _location,
    "contacts": _contacts,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "reaction": _reaction,
    "system": _system,
    "unsupported": _unsupported,
    **{kind: _file(kind) for kind in _FILES},
}
TYPES_WITH_A_BODY = (*_READERS, "edit", "revoke")
