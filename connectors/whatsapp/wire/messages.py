"""From one message, or one status of a message, to events.

A message is live, echoed from the Business app, or imported history; a status says where a message
of the business got to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from connectors.whatsapp.wire.contents import (
    TYPES_WITH_A_BODY,
    MessageParts,
    parts_of,
    present_type,
)
from connectors.whatsapp.wire.errors import rule_of
from connectors.whatsapp.wire.parties import (
    Parties,
    identity_change,
    parties_of,
    person_of,
    shared_number,
)
from connectors.whatsapp.wire.payloads import Content, Context, MessagePayload, Status, Thread
from connectors.whatsapp.wire.people import group_id
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
)
from lib.masking import as_it_came, word
from messaging.events import MessageEvent, StatusUpdate, Stop

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
    parties = parties_of(frame, message, path, thread)
    event = _message_event(frame, message, path, parties, kind, thread)
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
    frame: Frame,
    message: MessagePayload,
    path: Path,
    parties: Parties,
    kind: str,
    thread: Thread | None,
) -> MessageEvent:
    parts = _edited(message) if kind == "edit" else parts_of(kind, message)
    content = _content(message, parts.content)
    own = frame.business_phone()
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
        status=_status(message),
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


def _status(message: MessagePayload) -> str | None:
    history = message.history_context
    return (word(history.status) or None) if history is not None else None


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
