"""What a linked device told, written down in the shape of Meta's callbacks, so that one processing
stores both. Pure.

The envelope's object tells them apart, and its entry's id is the ``seal`` that shows who wrote it.
A LID stands where Meta has the parent BSUID, as ``lid:<digits>``: it cannot be mistaken for a
number or a BSUID. It finds a person again whose number is not told, and where it is new the number
decides: the same person may write to a number of the Cloud API too, under a BSUID.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from connectors.linked_device.events import Content, MessageArrived, ReceiptArrived, Someone
from connectors.whatsapp.wire.updates import LINKED_DEVICE

Json = dict[str, Any]

FILES = frozenset({"image", "video", "audio", "voice", "document", "sticker"})
# What these refer to is part of their own body; with all others it is what they answer.
REFERRING = frozenset({"reaction", "edit", "revoke"})


def body_of(events: Sequence[Content], *, external_id: str, seal: str) -> bytes:
    """Return the body of an envelope with these events, each in a change of its own.

    A receipt of several messages is one update for each of them.
    """
    metadata = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": external_id}}
    changes = [
        {"field": field, "value": {**metadata, **value}}
        for field, value in (_change(event) for event in events)
    ]
    envelope = {"object": LINKED_DEVICE, "entry": [{"id": seal, "changes": changes}]}
    return json.dumps(envelope, separators=(",", ":")).encode()  # whatever stands in texts


def _change(event: Content) -> tuple[str, Json]:
    if isinstance(event, ReceiptArrived):
        return "messages", {"statuses": list(_statuses(event))}
    if event.from_me:
        message = _message(event) | _compact(**_ids("to", event.chat))
        return "smb_message_echoes", {"message_echoes": [message], **_contacts(event.chat)}
    return "messages", {"messages": [_message(event)], **_contacts(_writer(event))}


def _writer(event: MessageArrived) -> Someone:
    """Return who wrote a message: in a chat of two that is the other one, named either way."""
    if event.group_id is not None:
        return event.sender
    sender, chat = event.sender, event.chat
    return Someone(sender.phone or chat.phone, sender.lid or chat.lid, sender.name or chat.name)


def _message(event: MessageArrived) -> Json:
    author = event.sender if event.from_me else _writer(event)
    message = _compact(
        id=event.id, timestamp=_seconds(event.at), type=event.kind, group_id=event.group_id,
        **_ids("from", author),
    )  # fmt: skip
    if event.quoted_id and event.kind not in REFERRING:
        message["context"] = {"id": event.quoted_id}
    reader = _BODIES.get(event.kind)
    if event.kind in FILES:
        reader = _file
    # The type may be any word: one that is also the name of a key takes nothing from the message.
    return {**_said(reader, event), **message}


def _said(reader: Callable[[MessageArrived], object] | None, event: MessageArrived) -> Json:
    return {event.kind: reader(event)} if reader is not None else {}


def _file(event: MessageArrived) -> Json:
    """Return what is known of a file. Its id is of our making: nobody can be asked for it."""
    file_id = "device-" + sha256(event.id.encode("utf-8", "replace")).hexdigest()
    return _compact(id=file_id, mime_type=event.mime_type, caption=event.text)


def _statuses(event: ReceiptArrived) -> Iterator[Json]:
    for message_id in event.ids:
        yield _compact(
            id=message_id, status=event.status, timestamp=_seconds(event.at),
            recipient_id=event.chat.phone, recipient_parent_user_id=_lid(event.chat),
        )  # fmt: skip


def _contacts(someone: Someone) -> Json:
    if not (someone.phone or someone.lid):
        return {}
    profile = {"name": someone.name} if someone.name else None
    contact = _compact(wa_id=someone.phone, parent_user_id=_lid(someone), profile=profile)
    return {"contacts": [contact]}


def _ids(key: str, someone: Someone) -> Mapping[str, str | None]:
    return {key: someone.phone, f"{key}_parent_user_id": _lid(someone)}


def _lid(someone: Someone) -> str | None:
    return f"lid:{someone.lid}" if someone.lid else None


def _seconds(moment: datetime) -> str:
    return str(int(moment.timestamp()))


def _compact(**parts: object) -> Json:
    return {key: value for key, value in parts.items() if value is not None}


def _edited(event: MessageArrived) -> Json:
    inner = {"type": "text", "text": {"body": event.text}} if event.text is not None else None
    return _compact(original_message_id=event.quoted_id, message=inner)


_BODIES: Mapping[str, Callable[[MessageArrived], object]] = {
    "text": lambda event: _compact(body=event.text),
    "location": lambda event: _compact(name=event.text),
    "contacts": lambda event: [],
    "button": lambda event: _compact(text=event.text),
    "interactive": lambda event: {
        "type": "button_reply", "button_reply": _compact(title=event.text),
    },
    "reaction": lambda event: _compact(message_id=event.quoted_id, emoji=event.emoji),
    "edit": _edited,
    "revoke": lambda event: _compact(original_message_id=event.quoted_id),
}  # fmt: skip
