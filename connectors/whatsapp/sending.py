"""Sends and read marks: what goes out, and what Meta's answer to it says."""

from __future__ import annotations

import msgspec

from connectors.whatsapp.wire.answers import Json, members, text
from lib.masking import word
from workspaces.channel_errors import OutcomeUnknown
from workspaces.channel_facts import Accepted

MAX_ID = 512
MAX_PHONE = 20


def accepted_in(answer: Json) -> Accepted:
    """Return what a successful answer to a send says.

    Raises:
        workspaces.channel_errors.OutcomeUnknown: it names no message.
    """
    sent = next(iter(members(answer, "messages")), {})
    message_id = text(sent, "id")
    if not message_id or len(message_id) > MAX_ID:
        raise OutcomeUnknown("Meta's answer names no message.")
    to = next(iter(members(answer, "contacts")), {})
    phone = text(to, "wa_id").removeprefix("+")
    is_phone = phone.isascii() and phone.isdecimal() and len(phone) <= MAX_PHONE
    return Accepted(message_id, phone if is_phone else None, word(sent.get("message_status")))


def read_mark(platform_message_id: str, *, typing: bool) -> bytes:
    """Return the request that marks a person's message as read.

    https://developers.facebook.com/docs/whatsapp/cloud-api/typing-indicators
    """
    body: Json = {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": platform_message_id,
    }
    if typing:
        body["typing_indicator"] = {"type": "text"}
    return msgspec.json.encode(body)
