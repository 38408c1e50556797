"""What a message says, per type: its text, its structured rest, its file and what it refers to.

``content`` never holds a phone number or a message id: contact cards keep names and counts, forms
and errors are masked here, and the caller conceals what is left. ``own`` is the other end's number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

from connectors.cloud_api.decoding import NotAnEnvelope, load_embedded
from connectors.cloud_api.facts import Json, compact
from connectors.cloud_api.message_payloads import (
    CallPermission,
    Card,
    Content,
    File,
    FormReply,
    OrderItem,
    Reply,
    Scalar,
)
from connectors.cloud_api.updates import moment
from messaging.events import MediaItem
from workspaces.masking import conceal, mask, mask_tree, person_name, word

_NOTHING: Mapping[str, object] = MappingProxyType({})


class Said(NamedTuple):
    """The parts of a message that depend on its type."""

    text: str | None = None
    content: Mapping[str, object] = _NOTHING
    media: MediaItem | None = None
    reply_to: str | None = None


def said_in(kind: str, message: Content, own: str | None) -> Said:
    """Return what ``message`` of type ``kind`` says; an unknown type says nothing."""
    reader = _READERS.get(kind)
    return reader(message, own) if reader is not None else Said()


def present_type(message: Content) -> str | None:
    """Return the type of a message that does not say it, from the key that it has."""
    for kind in TYPES_WITH_A_BODY:
        if getattr(message, kind, None) is not None:
            return kind
    return None


def _text(message: Content, _own: str | None) -> Said:
    return Said(message.text.body if message.text else None)


def _file(kind: str) -> Callable[[Content, str | None], Said]:
    def read(message: Content, own: str | None) -> Said:
        file: File | None = getattr(message, kind)
        if file is None:
            return Said()
        return Said(file.caption, {}, _media(file, kind, own))

    return read


def _media(file: File, kind: str, own: str | None) -> MediaItem | None:
    if not file.id:
        return None
    return MediaItem(
        platform_media_id=file.id,
        mime_type=file.mime_type,
        sha256=file.sha256,
        filename=conceal(file.filename, own) if file.filename else None,
        voice=bool(file.voice) or kind == "voice",
        animated=bool(file.animated),
    )


def _location(message: Content, own: str | None) -> Said:
    place = message.location
    if place is None:
        return Said()
    text = ", ".join(part for part in (place.name, place.address) if part)
    return Said(
        conceal(text, own) or None,
        compact(
            latitude=place.latitude,
            longitude=place.longitude,
            name=place.name,
            address=place.address,
            url=place.url,
        ),
    )


def _contacts(message: Content, own: str | None) -> Said:
    cards = [_card(card, own) for card in message.contacts or () if card is not None]
    origin = message.origin or next(
        (card.origin for card in message.contacts or () if card and card.origin), None
    )
    return Said(None, compact(contacts=cards, origin=word(origin) or None))


def _card(card: Card, own: str | None) -> Json:
    name, work = card.name, card.org
    return compact(
        name=person_name(name.formatted_name, own) if name else None,
        first_name=person_name(name.first_name, own) if name else None,
        last_name=person_name(name.last_name, own) if name else None,
        company=_masked(work.company) if work else None,
        department=_masked(work.department) if work else None,
        title=_masked(work.title) if work else None,
        phones=len(card.phones or ()),
        emails=len(card.emails or ()),
        addresses=len(card.addresses or ()),
        urls=len(card.urls or ()),
    )


def _interactive(message: Content, _own: str | None) -> Said:
    answer = message.interactive
    if answer is None:
        return Said()
    if answer.button_reply is not None:
        return _choice("button_reply", answer.button_reply)
    if answer.list_reply is not None:
        return _choice("list_reply", answer.list_reply)
    if answer.nfm_reply is not None:
        return _form(answer.nfm_reply)
    if answer.call_permission_reply is not None:
        return Said(None, _call_permission(answer.call_permission_reply))
    return Said(None, {"interactive": word(answer.type)})


def _choice(kind: str, reply: Reply) -> Said:
    content = compact(
        interactive=kind,
        id=reply.id,
        title=reply.title,
        description=reply.description,
    )
    return Said(reply.title, content)


def _form(reply: FormReply) -> Said:
    """Read a form's answer: JSON text as a rule, but any JSON value and broken text occur."""
    content = compact(interactive="nfm_reply", name=_masked(reply.name))
    answer = reply.response_json
    try:
        content["response"] = mask_tree(
            load_embedded(answer) if isinstance(answer, str) else answer
        )
    except (NotAnEnvelope, RecursionError):
        content["response_is_invalid"] = True
    return Said(reply.body, content)


def _call_permission(reply: CallPermission) -> Json:
    expires_at = moment(reply.expiration_timestamp, _NEVER)
    return compact(
        interactive="call_permission_reply",
        response=word(reply.response),
        is_permanent=reply.is_permanent,
        expires_at=None if expires_at is _NEVER else expires_at.isoformat(),
        response_source=word(reply.response_source) or None,
    )


def _button(message: Content, _own: str | None) -> Said:
    button = message.button
    if button is None:
        return Said()
    return Said(button.text, compact(payload=button.payload))


def _order(message: Content, _own: str | None) -> Said:
    order = message.order
    if order is None:
        return Said()
    items = [_order_item(item) for item in order.product_items or () if item is not None]
    return Said(
        order.text or None, compact(catalog_id=_code(order.catalog_id), product_items=items)
    )


def _order_item(item: OrderItem) -> Json:
    return compact(
        product_retailer_id=_code(item.product_retailer_id),
        quantity=item.quantity,
        item_price=item.item_price,
        currency=item.currency,
    )


def _reaction(message: Content, _own: str | None) -> Said:
    reaction = message.reaction
    if reaction is None:
        return Said()
    emoji = reaction.emoji or None
    content: Json = {"emoji": emoji} if emoji else {"removed": True}
    return Said(emoji, content, None, reaction.message_id)


def _system(message: Content, _own: str | None) -> Said:
    system = message.system
    if system is None:
        return Said()
    return Said(_masked(system.body), compact(system=word(system.type) or None))


def _unsupported(message: Content, _own: str | None) -> Said:
    kind = word(message.unsupported.type) if message.unsupported else ""
    return Said(None, {"unsupported": kind} if kind else {})


def _masked(text: str | None) -> str | None:
    return mask(text) if text is not None else None


def _code(value: Scalar) -> str | None:
    return str(value) if value is not None else None


_NEVER = datetime.max.replace(tzinfo=UTC)
_FILES = ("image", "video", "audio", "voice", "document", "sticker")
_READERS: dict[str, Callable[[Content, str | None], Said]] = {
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
