"""Whether a message's body is one that Meta takes (templates: see ``template_checks``).

https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/message-api
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from connectors.simulator.meta.failures import GraphError
from connectors.simulator.meta.world import Json

Known: TypeAlias = Callable[[str], str | None]
MEDIA = ("image", "video", "audio", "document", "sticker")
CAPTIONED = ("image", "video", "document")
LONGEST_CALLBACK_DATA = 512
HEADERS = ("text", "image", "video", "document")
INTERACTIVE = (
    "button",
    "list",
    "cta_url",
    "location_request_message",
    "flow",
    "product",
    "product_list",
    "catalog_message",
    "order_details",
    "order_status",
    "address_message",
    "carousel",
    "voice_call",
    "call_permission_request",
    "request_contact_info",
)
GROUP_TYPES = ("text", *MEDIA, "template")


def check_envelope(body: Json) -> None:
    """Check what every message request has.

    Raises:
        GraphError: 100 or 131009 with the field in its details.
    """
    if body.get("messaging_product") != "whatsapp":
        raise GraphError(100, "The parameter messaging_product is required to be whatsapp.")
    data = body.get("biz_opaque_callback_data")
    if data is not None and (not isinstance(data, str) or len(data) > LONGEST_CALLBACK_DATA):
        raise GraphError(
            100, f"Param biz_opaque_callback_data must be at most {LONGEST_CALLBACK_DATA} long."
        )
    if body.get("recipient_type", "individual") not in ("individual", "group"):
        raise GraphError(100, "Param recipient_type must be one of {INDIVIDUAL, GROUP}.")


def check_body(kind: str, body: Json, media_type: Known) -> None:
    """Check the part of a request that is named after its type.

    ``media_type`` tells the MIME type of an uploaded file by its id.

    Raises:
        GraphError: 131051 for an unknown type, 131008, 131009 or 100 for what is wrong inside.
    """
    if kind not in CHECKS and kind not in MEDIA:
        raise GraphError(131051, f"Unsupported message type: {kind}")
    if body.get("recipient_type") == "group" and kind not in GROUP_TYPES:
        raise GraphError(131051, f"Message type {kind} is not supported for groups.")
    part = body.get(kind)
    if part is None:
        raise GraphError(131008, f"The parameter {kind} is required.")
    if kind in MEDIA:
        check_media(kind, _object(part, kind), media_type)
    else:
        CHECKS[kind](part)


def check_media(kind: str, part: Json, media_type: Known) -> None:
    """Check a reference to a file: exactly one of ``id`` and ``link``.

    Raises:
        GraphError: 100, 131008 or 131053.
    """
    media_id, link = part.get("id"), part.get("link")
    if (media_id is None) == (link is None):
        raise GraphError(131008, f"Param {kind} needs exactly one of id and link.")
    if link is not None and not str(link).startswith(("http://", "https://")):
        raise GraphError(100, f"Param {kind}['link'] is not a valid URL.")
    if media_id is not None:
        known = media_type(str(media_id))
        if known is None:
            raise GraphError(
                100,
                f"Param {kind}['id'] is not a valid whatsapp business account media attachment ID",
            )
        if kind != "document" and not known.startswith("image" if kind == "sticker" else kind):
            raise GraphError(131053, f"Media of type {known} cannot be sent as {kind}.")
    if "caption" in part and kind not in CAPTIONED:
        raise GraphError(100, f"Unexpected key caption on param {kind}.")


def _text(part: object) -> None:
    _string(_object(part, "text"), "text", "body", most=4096)


def _location(part: object) -> None:
    place = _object(part, "location")
    for name in ("latitude", "longitude"):
        try:
            float(str(place.get(name)))
        except ValueError:
            raise GraphError(131009, f"Param location['{name}'] must be a number.") from None


def _contacts(part: object) -> None:
    if not isinstance(part, list) or not part:
        raise GraphError(131009, "Param contacts must be a non-empty array.")
    for card in part:
        name = _object(_object(card, "contacts").get("name"), "contacts[].name")
        _string(name, "contacts[].name", "formatted_name", most=1024)


def _reaction(part: object) -> None:
    reaction = _object(part, "reaction")
    _string(reaction, "reaction", "message_id", most=512)
    if not isinstance(reaction.get("emoji"), str):
        raise GraphError(131008, "The parameter reaction['emoji'] is required.")


def _interactive(part: object) -> None:
    interactive = _object(part, "interactive")
    kind = interactive.get("type")
    if kind not in INTERACTIVE:
        raise GraphError(131009, f"Param interactive['type'] must be one of {INTERACTIVE}.")
    action = _object(interactive.get("action"), "interactive.action")
    if kind in ("button", "list"):
        most = 1024 if kind == "button" else 4096
        _string(_object(interactive.get("body"), "interactive.body"), "body", "text", most=most)
    if kind == "button":
        _reply_buttons(action)
    elif kind == "list":
        _rows(action)


def _reply_buttons(action: Json) -> None:
    buttons = action.get("buttons")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 3:
        raise GraphError(131009, "Param interactive.action['buttons'] must hold 1 to 3 buttons.")
    replies = [_object(_object(button, "buttons").get("reply"), "reply") for button in buttons]
    for reply in replies:
        _string(reply, "reply", "id", most=256)
        _string(reply, "reply", "title", most=20)
    if len({reply["title"] for reply in replies}) < len(replies):
        raise GraphError(131009, "Button titles must be unique.")


def _rows(action: Json) -> None:
    _string(action, "interactive.action", "button", most=20)
    sections = action.get("sections")
    if not isinstance(sections, list) or not 1 <= len(sections) <= 10:
        raise GraphError(131009, "Param interactive.action['sections'] must hold 1 to 10 sections.")
    rows = [row for section in sections for row in _array(section, "rows")]
    if not 1 <= len(rows) <= 10:
        raise GraphError(131009, "Total row count exceed max allowed count: 10")
    for row in rows:
        _string(_object(row, "rows"), "rows", "id", most=200)
        _string(_object(row, "rows"), "rows", "title", most=24)


def _array(part: object, name: str) -> list[object]:
    value = _object(part, name).get(name)
    return value if isinstance(value, list) else []


def _object(part: object, name: str) -> Json:
    if not isinstance(part, dict):
        raise GraphError(131009, f"Param {name} must be a JSON object.")
    return part


def _string(part: Json, owner: str, name: str, *, most: int) -> None:
    value = part.get(name)
    if not isinstance(value, str) or not value:
        raise GraphError(131008, f"The parameter {owner}['{name}'] is required.")
    if len(value) > most:
        raise GraphError(100, f"Param {owner}['{name}'] must be at most {most} characters long.")


CHECKS: dict[str, Callable[[object], None]] = {
    "text": _text,
    "location": _location,
    "contacts": _contacts,
    "reaction": _reaction,
    "interactive": _interactive,
    # The object itself is looked at with the template in hand.
    "template": lambda part: _string(_object(part, "template"), "template", "name", most=512),
}
