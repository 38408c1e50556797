"""What stands inside each kind of message (Meta, "Webhooks: messages", one page per type)."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import TypeAlias

from connectors.simulator.people import phone

Json: TypeAlias = dict[str, object]

SENTENCES = (
    "Hello, is my order on its way?",
    "Thank you so much! 🙏",
    "Guten Tag, könnten Sie mir bitte die Rechnung noch einmal schicken?",
    "I would like to change my appointment from Tuesday to Thursday, any time after 14:00 is fine.",
    "¿Tienen esta camisa en talla M?",
    "ok",
    "The parcel arrived but the box was open, and one of three cups is broken. See the pictures.",
    "今日の営業時間を教えてください",
    "Line one\nLine two\n\nhttps://shop.example/orders/8841?ref=wa",
)
EMOJI = ("👍", "❤️", "😂", "🙏")


def sentence(rng: Random) -> str:
    """Return one of the things that customers write."""
    return rng.choice(SENTENCES)


def _media(rng: Random, mime_type: str, **more: object) -> Json:
    media_id = str(rng.randrange(10**14, 10**15))
    url = f"https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid={media_id}"
    sha256 = rng.randbytes(32).hex()
    return {"id": media_id, "mime_type": mime_type, "sha256": sha256, "url": url, **more}


def _location(rng: Random) -> Json:
    place = {"latitude": -33.9 + rng.random(), "longitude": 18.4 + rng.random()}
    return {"location": {**place, "name": "Harbour Café", "address": "1 Quay Street"}}


def _contacts(rng: Random) -> Json:
    digits = phone(rng)
    card = {
        "name": {"formatted_name": "Sam Example", "first_name": "Sam"},
        "phones": [{"phone": f"+{digits}", "wa_id": digits, "type": "CELL"}],
        "emails": [{"email": "sam@shop.example", "type": "WORK"}],
    }
    return {"contacts": [card]}


def _flow_reply(rng: Random) -> Json:
    answer = json.dumps({"flow_token": rng.randbytes(8).hex(), "rating": rng.randrange(1, 6)})
    reply = {"response_json": answer, "body": "Sent", "name": "flow"}
    return {"interactive": {"type": "nfm_reply", "nfm_reply": reply}}


def _button_reply(rng: Random) -> Json:
    reply = {"id": f"slot-{rng.randrange(9)}", "title": "Tuesday"}
    return {"interactive": {"type": "button_reply", "button_reply": reply}}


def _list_reply(rng: Random) -> Json:
    reply = {"id": f"row-{rng.randrange(9)}", "title": "Express", "description": "Next day"}
    return {"interactive": {"type": "list_reply", "list_reply": reply}}


def _call_permission(rng: Random) -> Json:
    reply = {"response": rng.choice(("accept", "reject")), "response_source": "user_action"}
    return {"interactive": {"type": "call_permission_reply", "call_permission_reply": reply}}


def _order(rng: Random) -> Json:
    # Meta sends quantity and price as numbers or as text, depending on the catalogue.
    items = [
        {"product_retailer_id": "cup-1", "quantity": 2, "item_price": 12.5, "currency": "ZAR"},
        {"product_retailer_id": "cup-2", "quantity": "1", "item_price": "8", "currency": "ZAR"},
    ]
    text = rng.choice(("", "Gift wrap, please"))
    return {"order": {"catalog_id": "194836987003835", "text": text, "product_items": items}}


def _system(rng: Random) -> Json:
    new = phone(rng)
    body = {"type": "user_changed_number", "wa_id": new, "body": "The number was changed"}
    return {"system": body}


def _unsupported(_: Random) -> Json:
    details = {"details": "Message type is currently not supported."}
    error = {"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}
    return {"errors": [{**error, "error_data": details}], "unsupported": {"type": "poll"}}


def _unknown(_: Random) -> Json:
    return {"hologram": {"id": "h-1", "depth": 3}}


# Kind of message → (its ``type`` on the wire, what fills it in).
BODIES: dict[str, tuple[str, Callable[[Random], Json]]] = {
    "text": ("text", lambda rng: {"text": {"body": sentence(rng)}}),
    "image": ("image", lambda rng: {"image": _media(rng, "image/jpeg", caption=sentence(rng))}),
    "video": ("video", lambda rng: {"video": _media(rng, "video/mp4")}),
    "audio": ("audio", lambda rng: {"audio": _media(rng, "audio/mpeg", voice=False)}),
    "voice": ("audio", lambda rng: {"audio": _media(rng, "audio/ogg; codecs=opus", voice=True)}),
    "document": (
        "document",
        lambda rng: {"document": _media(rng, "application/pdf", filename="Invoice 8841.pdf")},
    ),
    "sticker": ("sticker", lambda rng: {"sticker": _media(rng, "image/webp", animated=True)}),
    "location": ("location", _location),
    "contacts": ("contacts", _contacts),
    "button_reply": ("interactive", _button_reply),
    "list_reply": ("interactive", _list_reply),
    "flow_reply": ("interactive", _flow_reply),
    "call_permission": ("interactive", _call_permission),
    "button": ("button", lambda _: {"button": {"payload": "STOP", "text": "Stop promotions"}}),
    "order": ("order", _order),
    "system": ("system", _system),
    "unsupported": ("unsupported", _unsupported),
    "unknown": ("hologram", _unknown),
}


# The types of messages that come of a press, and so answer a message of the business.
PRESSED = frozenset({"button", "interactive"})

# These change an earlier message, whose id they are given.
AMENDMENTS: dict[str, Callable[[Random, str], Json]] = {
    "reaction": lambda rng, wamid: {"reaction": {"message_id": wamid, "emoji": rng.choice(EMOJI)}},
    "unreaction": lambda _, wamid: {"reaction": {"message_id": wamid}},
    "edit": lambda rng, wamid: {
        "edit": {
            "original_message_id": wamid,
            "message": {"type": "text", "text": {"body": sentence(rng)}},
        }
    },
    "revoke": lambda _, wamid: {"revoke": {"original_message_id": wamid}},
}
AMENDMENT_TYPES = {"unreaction": "reaction"}

MESSAGE_KINDS = (*BODIES, *AMENDMENTS)
