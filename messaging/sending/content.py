"""From a content to Meta's JSON, and to what is kept of it. Pure.

Shapes: Meta, "Messages" API reference. What is kept has the shape of received messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from messaging.events import SharedCard
from messaging.filetypes import FILE_MARK, MediaKind
from messaging.sending.requests import (
    ContactCard,
    ContactsContent,
    Content,
    InteractiveContent,
    InteractiveHeader,
    LocationContent,
    MediaContent,
    ReactionContent,
    Recipient,
    TextContent,
)

Json = dict[str, Any]
_OURS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """One message as the platform wants it (``wire``, under its ``type``), and what is kept of it:
    ``text`` as the business wrote it, and ``kept``, the structured rest.
    """

    type: str
    wire: object
    text: str | None
    kept: Json = field(default_factory=dict)


def body_of(content: Content, target: str | None) -> Body:
    """Return the body of anything but a template; ``target`` is the wamid a reaction is to."""
    return _BODIES[type(content)](content, target)


def envelope(
    body: Body, recipient: Recipient, *, reference: str, quoted: str | None = None
) -> bytes:
    """Return the whole request. ``reference`` comes back with every status; ``quoted`` is the wamid
    of the message it answers.
    """
    to = {"to": f"+{recipient.phone}"} if recipient.phone else {"recipient": recipient.user_id}
    request: Json = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **to,
        "type": body.type,
        body.type: body.wire,
        "biz_opaque_callback_data": reference,
    }
    if quoted is not None:
        request["context"] = {"message_id": quoted}
    return msgspec.json.encode(request)


def is_ours(media_id: str | None) -> bool:
    """Whether an id is one of ours, whoever's file it is."""
    return media_id is not None and _OURS.fullmatch(media_id) is not None


def wire_id(media_id: str | None) -> str | None:
    """Return what stands for an id until it is sent: a mark, where the file is one of ours."""
    if media_id is None or not is_ours(media_id):
        return media_id
    return f"{FILE_MARK}{UUID(media_id)}"


def _text(content: TextContent, _: str | None) -> Body:
    wire = {"preview_url": content.preview_url, "body": content.body}
    return Body("text", wire, content.body)


def _media(content: MediaContent, _: str | None) -> Body:
    kept = _compact(filename=content.filename, voice=content.voice or None)
    return Body(content.kind.value, _file(content), content.caption, kept)


def _file(content: MediaContent) -> Json:
    return _compact(
        id=wire_id(content.id),
        link=content.link,
        caption=content.caption,
        filename=content.filename,
        voice=content.voice or None,
    )


def _reaction(content: ReactionContent, target: str | None) -> Body:
    emoji = content.emoji or ""
    wire = {"message_id": target, "emoji": emoji}
    return Body("reaction", wire, emoji or None, {"emoji": emoji} if emoji else {"removed": True})


def _location(content: LocationContent, _: str | None) -> Body:
    wire = msgspec.to_builtins(content)
    text = ", ".join(part for part in (content.name, content.address) if part)
    return Body("location", wire, text or None, dict(wire))


def _contacts(content: ContactsContent, _: str | None) -> Body:
    wire = msgspec.to_builtins(content.contacts)
    return Body("contacts", wire, None, {"contacts": [_shared(card) for card in content.contacts]})


def _shared(card: ContactCard) -> SharedCard:
    numbers = ["".join(filter(str.isdecimal, one.phone or "")) for one in card.phones]
    return SharedCard(msgspec.to_builtins(card), tuple(filter(None, numbers)))


def _interactive(content: InteractiveContent, _: str | None) -> Body:
    if content.raw is not None:
        said = content.raw.get("body")
        text = said.get("text") if isinstance(said, dict) else None
        said_text = text if isinstance(text, str) else None  # Meta judges what stands in raw
        return Body("interactive", content.raw, said_text, {"interactive": content.raw["type"]})
    kind, action = _action(content)
    wire: Json = {"type": kind, "body": {"text": content.body}, "action": action}
    if content.header is not None:
        wire["header"] = _header(content.header)
    if content.footer is not None:
        wire["footer"] = {"text": content.footer}
    kept = _compact(interactive=kind, footer=content.footer, **_offered(content))
    return Body("interactive", wire, content.body, kept)


def _action(content: InteractiveContent) -> tuple[str, Json]:
    if content.buttons:
        replies = [{"id": button.id, "title": button.title} for button in content.buttons]
        return "button", {"buttons": [{"type": "reply", "reply": reply} for reply in replies]}
    if content.list is not None:
        return "list", msgspec.to_builtins(content.list)
    if content.cta_url is not None:
        return "cta_url", {"name": "cta_url", "parameters": msgspec.to_builtins(content.cta_url)}
    return "location_request_message", {"name": "send_location"}


def _offered(content: InteractiveContent) -> Json:
    """Return what a person may press, by the names of the input."""
    if content.buttons:
        return {"buttons": msgspec.to_builtins(content.buttons)}
    if content.list is not None:
        return {"list": msgspec.to_builtins(content.list)}
    return {"cta_url": msgspec.to_builtins(content.cta_url)} if content.cta_url else {}


def _header(header: InteractiveHeader) -> Json:
    if header.media is None:
        return {"type": "text", "text": header.text}
    kind: MediaKind = header.media.kind
    return {"type": kind.value, kind.value: _file(header.media)}


def _compact(**parts: Any) -> Json:
    return {key: value for key, value in parts.items() if value is not None}


_BODIES: dict[type[Content], Callable[[Any, str | None], Body]] = {
    TextContent: _text,
    MediaContent: _media,
    InteractiveContent: _interactive,
    ReactionContent: _reaction,
    LocationContent: _location,
    ContactsContent: _contacts,
}
