"""From one wire message to events: live, echoed from the Business app, or imported history."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from connectors.whatsapp.wire.contents import TYPES_WITH_A_BODY, Said, present_type, said_in
from connectors.whatsapp.wire.facts import Json, compact, error_facts
from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.identity_changes import identity_change, shared_number
from connectors.whatsapp.wire.message_payloads import Content, Context, Message
from connectors.whatsapp.wire.parties import Parties, parties_of
from connectors.whatsapp.wire.payloads import Thread
from connectors.whatsapp.wire.people import group_id
from connectors.whatsapp.wire.updates import Event, Path, counted, happened
from lib.masking import as_it_came, word
from messaging.events import MessageEvent

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


def read_message(
    frame: Frame, message: Message, path: Path, thread: Thread | None = None
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
    if kind == "contacts" and (told := shared_number(message, event)) is not None:
        return (told, event)
    if kind not in KNOWN_TYPES:
        return (event, counted(frame.field, kind))
    if kind == "interactive" and event.content.get("interactive") not in _INTERACTIVE:
        answer = event.content.get("interactive") or "empty"
        return (event, counted(frame.field, f"interactive:{answer}"))
    return (event,)


def _message_event(
    frame: Frame, message: Message, path: Path, parties: Parties, kind: str, thread: Thread | None
) -> MessageEvent:
    said = _edited(message) if kind == "edit" else said_in(kind, message)
    content = _content(message, said.content)
    own = frame.business_phone()
    business = own if content or kind not in _PLAIN else None
    return MessageEvent(
        phone_number_id=frame.phone_number_id or "",
        platform_message_id=message.id or frame.source.fingerprint(path),
        direction=parties.direction,
        source=parties.source,
        type=kind,
        timestamp=happened(message.timestamp, frame.received_at),
        sender=parties.sender,
        contact=parties.contact,
        text=said.text,
        content=content,
        media=said.media,
        reply_to=said.reply_to or _target(message),
        group_id=message.group_id or (group_id(thread.id) if thread else None),
        status=_status(message),
        is_to_self=own is not None and parties.sender.phone == parties.contact.phone == own,
        numbers=(*said.numbers, business) if business else said.numbers,
    )


def _with_identity_change(frame: Frame, message: Message, event: MessageEvent) -> tuple[Event, ...]:
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


def _status(message: Message) -> str | None:
    history = message.history_context
    return (word(history.status) or None) if history is not None else None


def _target(message: Message) -> str | None:
    if message.edit is not None and message.edit.original_message_id:
        return message.edit.original_message_id
    if message.revoke is not None and message.revoke.original_message_id:
        return message.revoke.original_message_id
    return (message.context.id or None) if message.context is not None else None


def _edited(message: Message) -> Said:
    inner = message.edit.message if message.edit is not None else None
    if inner is None:
        return Said()
    kind = _type_of(inner)
    said = said_in(kind, inner)
    return said._replace(content={**said.content, "edited_type": kind}, reply_to=None)


def _content(message: Message, said: Mapping[str, object]) -> Json:
    content = dict(said)
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
