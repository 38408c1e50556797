"""From one message, or one status of a message, to events.

A message is live, echoed from the Business app, or imported history; what it says, in text,
structured data and a file, depends on its type. A status says where a message of the business got
to. Everything is handed on as it came; what gives a phone number away is sealed where it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec.structs import replace

from connectors.whatsapp.wire.decoding import NotAnEnvelope, load_embedded
from connectors.whatsapp.wire.errors import rule_of
from connectors.whatsapp.wire.payloads import (
    Amount,
    CallPermission,
    Content,
    Context,
    File,
    FormReply,
    MessagePayload,
    Reply,
    Status,
    Thread,
)
from connectors.whatsapp.wire.people import (
    business_phone,
    group_id,
    identity_change,
    parties_of,
    person_of,
    phone_digits,
    shared_number,
)
from connectors.whatsapp.wire.updates import (
    Event,
    Frame,
    Json,
    Path,
    about_nobody_known,
    compact,
    counted,
    error_facts,
    happened,
    masked,
    moment,
)
from lib.masking import as_it_came, word
from messaging.events import MediaItem, MessageEvent, SharedCard, StatusUpdate, Stop

_NOTHING: Mapping[str, object] = MappingProxyType({})
# They hold nothing but what somebody typed.
_PLAIN = frozenset(("text", "image", "video", "audio", "voice", "sticker"))
_INTERACTIVE = frozenset(("button_reply", "list_reply", "nfm_reply", "call_permission_reply"))
KNOWN_STATUSES = frozenset(("sent", "delivered", "read", "played", "failed", "deleted", "warning"))


def read_message(
    frame: Frame, message: MessagePayload, path: Path, thread: Thread | None = None
) -> tuple[Event, ...]:
    """Return what ``message`` means: itself, and what else follows from it.

    ``thread`` is the chat of a history item. A type that we do not know is kept without its content
    and counted as unhandled as well.
    """
    kind = _type_of(message)
    if not message.id and not message.type and kind == "unknown":
        return (counted(frame.field, f"{path.section}:empty"),)
    event = _message_event(frame, message, path, kind, thread)
    if kind == "system":
        return _with_identity_change(frame, message, event)
    if kind == "contacts" and (number := shared_number(message, event)) is not None:
        return (number, event)
    if kind not in KNOWN_TYPES:
        return (event, counted(frame.field, kind))
    if kind == "interactive" and event.content.get("interactive") not in _INTERACTIVE:
        answer = event.content.get("interactive") or "empty"
        return (event, counted(frame.field, f"interactive:{answer}"))
    return (event,)


def _message_event(
    frame: Frame, message: MessagePayload, path: Path, kind: str, thread: Thread | None
) -> MessageEvent:
    parties = parties_of(frame, message, path, thread)
    parts = _edited(message) if kind == "edit" else parts_of(kind, message)
    content = _content(message, parts.content)
    own, history = business_phone(frame), message.history_context
    business = own if content or kind not in _PLAIN else None
    return MessageEvent(
        phone_number_id=frame.phone_number_id or "",
        platform_message_id=message.id or frame.body.fingerprint(path),
        direction=parties.direction,
        source=parties.source,
        type=kind,
        timestamp=happened(message.timestamp, frame.received_at),
        sender=parties.sender,
        contact=parties.contact,
        text=parts.text,
        content=content,
        media=parts.media,
        reply_to=parts.reply_to or _target(message),
        group_id=message.group_id or (group_id(thread.id) if thread else None),
        status=(word(history.status) or None) if history is not None else None,
        is_to_self=own is not None and parties.sender.phone == parties.contact.phone == own,
        numbers=(*parts.numbers, business) if business else parts.numbers,
    )


def _with_identity_change(
    frame: Frame, message: MessagePayload, event: MessageEvent
) -> tuple[Event, ...]:
    change = identity_change(frame, message, event.timestamp)
    if change is None:
        return (event,)
    if not event.contact.is_known:
        event = replace(event, sender=change.before, contact=change.before)
    return (change, event)


def _type_of(message: Content) -> str:
    if message.type in KNOWN_TYPES:
        return message.type
    if not message.type:
        return present_type(message) or "unknown"
    return word(message.type) or "unknown"


def _target(message: MessagePayload) -> str | None:
    if message.edit is not None and message.edit.original_message_id:
        return message.edit.original_message_id
    if message.revoke is not None and message.revoke.original_message_id:
        return message.revoke.original_message_id
    return (message.context.id or None) if message.context is not None else None


def _edited(message: MessagePayload) -> MessageParts:
    inner = message.edit.message if message.edit is not None else None
    if inner is None:
        return MessageParts()
    kind = _type_of(inner)
    parts = parts_of(kind, inner)
    return parts._replace(content={**parts.content, "edited_type": kind}, reply_to=None)


def _content(message: MessagePayload, typed: Mapping[str, object]) -> Json:
    content = dict(typed)
    if message.errors:
        content["errors"] = list(error_facts(message.errors))
    if message.context is not None:
        content |= _context_facts(message.context)
    if message.referral is not None:
        content["referral"] = as_it_came(message.referral)
    return content


def _context_facts(context: Context) -> Json:
    return compact(
        forwarded=context.forwarded or None,
        frequently_forwarded=context.frequently_forwarded or None,
        referred_product=as_it_came(context.referred_product),
    )


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
KNOWN_TYPES = frozenset(
    (
        *TYPES_WITH_A_BODY,
        "unknown",
        "ephemeral",
        "request_welcome",
        "hsm",
        "media_placeholder",
        "errors",
    )
)


def read_status(frame: Frame, status: Status, path: Path) -> tuple[Event, ...]:
    """Return what ``status`` means; one without message or word, or of a call, is only counted."""
    name = status.status if status.status in KNOWN_STATUSES else word(status.status)
    if not status.id or not name or status.type == "call":
        return (counted(frame.field, f"{word(status.type) or 'status'}:{name}"),)
    person = person_of(frame, status, path)
    errors = error_facts(status.errors) if status.errors else ()
    update = StatusUpdate(
        phone_number_id=frame.phone_number_id or "",
        platform_message_id=status.id,
        status=name,
        timestamp=happened(status.timestamp, frame.received_at),
        participant=_participant(status),
        recipient=person,
        errors=errors if person.phone else about_nobody_known(errors),
        pricing=_pricing(status),
        payment=as_it_came(status.payment or {}) if _is_payment(status) else None,
        callback_data=status.biz_opaque_callback_data,
        group_id=_group(status),
        stop=_stop(errors),
    )
    if name in KNOWN_STATUSES or update.payment is not None:
        return (update,)
    return (update, counted(frame.field, f"status:{name}"))


def _stop(errors: Iterable[Json]) -> Stop | None:
    """Return the first error that, as the answer to a send, would stop more than its message."""
    for error in errors:
        code = error.get("code")
        if not isinstance(code, int):
            continue
        rule = rule_of(code, message=str(error.get("message")))
        if rule is not None and rule.stops:
            return Stop(code, rule.reach, rule.reason(code))
    return None


def _group(status: Status) -> str | None:
    if status.recipient_type != "group" or status.recipient_id is None:
        return None
    return str(status.recipient_id) or None


def _participant(status: Status) -> str:
    """Return what tells apart the statuses that share an id: group receipts, payments."""
    if _is_payment(status):
        return f"payment:{status.timestamp if status.timestamp is not None else ''}"
    participant = (
        status.recipient_participant_id
        or status.participant_recipient_id
        or status.recipient_participant_user_id
    )
    return str(participant) if participant else ""


def _is_payment(status: Status) -> bool:
    """Tell whether it is about the payment that a message asked for, not about the message (Meta,
    "Payments API": type ``payment``; the amount is ``value`` divided by ``offset``).
    """
    return status.type == "payment" or status.payment is not None


def _pricing(status: Status) -> Json | None:
    """Return the price facts; a call for ``type`` and ``category``, as ``billable`` is to go."""
    conversation = status.conversation
    pricing = status.pricing or (conversation and conversation.pricing)
    origin = conversation.origin if conversation is not None else None
    if not pricing and origin is None:
        return None
    facts = compact(
        billable=pricing and pricing.billable,
        pricing_model=pricing and masked(pricing.pricing_model),
        type=pricing and masked(pricing.type),
        category=pricing and masked(pricing.category),
        origin=origin and masked(origin.type),
    )
    return facts or None
