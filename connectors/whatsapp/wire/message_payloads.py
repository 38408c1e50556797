"""One message of Meta's webhooks as typed structs: the common keys and one key per message type."""

from __future__ import annotations

from typing import Any

import msgspec

# What is typed `Any` is kept as it came, keys we do not know included.
# Meta writes ids, timestamps and amounts as text in one place and as a number in the next.
Scalar = str | int | None
Amount = str | int | float | None

# No callback has a key of this name; only the tolerant reading fills the field.
DROPPED = "(dropped)"


class Wire(msgspec.Struct, gc=False):
    """A JSON object of Meta's; instances hold no reference cycles."""


class Element(Wire):
    """An object that may be read alone; ``dropped`` names its keys that held the wrong type."""

    dropped: tuple[str, ...] = msgspec.field(default=(), name=DROPPED)


class ErrorData(Wire):
    details: str | None = None


class Error(Wire):
    code: Scalar = None
    title: str | None = None
    message: str | None = None
    error_data: ErrorData | None = None
    details: str | None = None


class Text(Wire):
    body: str | None = None


class File(Wire):
    id: Scalar = None
    mime_type: str | None = None
    sha256: str | None = None
    caption: str | None = None
    filename: str | None = None
    voice: bool | None = None
    animated: bool | None = None


class Location(Wire):
    latitude: Amount = None
    longitude: Amount = None
    name: str | None = None
    address: str | None = None
    url: str | None = None


class Reply(Wire):
    id: str | None = None
    title: str | None = None
    description: str | None = None


class FormReply(Wire):
    response_json: Any = None
    body: str | None = None
    name: str | None = None


class CallPermission(Wire):
    response: str | None = None
    is_permanent: bool | None = None
    expiration_timestamp: Scalar = None
    response_source: str | None = None


class Interactive(Wire):
    type: str | None = None
    button_reply: Reply | None = None
    list_reply: Reply | None = None
    nfm_reply: FormReply | None = None
    call_permission_reply: CallPermission | None = None


class Button(Wire):
    payload: str | None = None
    text: str | None = None


class Order(Wire):
    catalog_id: Any = None
    text: str | None = None
    product_items: Any = None


class Reaction(Wire):
    message_id: str | None = None
    emoji: str | None = None


class System(Wire):
    body: str | None = None
    type: str | None = None
    wa_id: Scalar = None
    new_wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    previous_user_id: str | None = None
    previous_parent_user_id: str | None = None


class Revoke(Wire):
    original_message_id: str | None = None


class Unsupported(Wire):
    type: str | None = None


class Context(Wire):
    id: str | None = None
    forwarded: bool | None = None
    frequently_forwarded: bool | None = None
    referred_product: Any = None


class HistoryContext(Wire):
    status: str | None = None


class Content(Wire):
    """What is said: the part that a message and an edit of it have in common."""

    type: str | None = None
    text: Text | None = None
    image: File | None = None
    video: File | None = None
    audio: File | None = None
    voice: File | None = None
    document: File | None = None
    sticker: File | None = None
    location: Location | None = None
    contacts: list[Any] | None = None
    interactive: Interactive | None = None
    button: Button | None = None
    order: Order | None = None
    reaction: Reaction | None = None
    system: System | None = None
    unsupported: Unsupported | None = None
    errors: list[Error | None] | None = None
    origin: str | None = None


class Edit(Wire):
    original_message_id: str | None = None
    message: Content | None = None


class Message(Content):
    dropped: tuple[str, ...] = msgspec.field(default=(), name=DROPPED)
    id: str | None = None
    timestamp: Scalar = None
    from_: Scalar = msgspec.field(default=None, name="from")
    from_user_id: str | None = None
    from_parent_user_id: str | None = None
    to: Scalar = None
    to_user_id: str | None = None
    to_parent_user_id: str | None = None
    group_id: str | None = None
    context: Context | None = None
    referral: dict[str, Any] | None = None
    edit: Edit | None = None
    revoke: Revoke | None = None
    history_context: HistoryContext | None = None
