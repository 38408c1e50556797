"""Meta's webhooks as typed structs: the message with one key per type, then all that surrounds it.

Every key is optional, since Meta omits any of them in some case, and unknown keys are ignored. A
list may hold ``None``, so that one bad element never costs its neighbours. What is typed ``Any`` is
kept as it came, unknown keys included.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

# Meta writes ids, timestamps and amounts as text in one place and as a number in the next.
Scalar = str | int | None
Amount = str | int | float | None

# No callback has a key of this name; only the tolerant reading fills the field.
DROPPED = "(dropped)"


class Payload(msgspec.Struct, gc=False):
    """A JSON object of Meta's; instances hold no reference cycles."""


class Element(Payload):
    """An object that may be read alone; ``dropped`` names its keys that held the wrong type."""

    dropped: tuple[str, ...] = msgspec.field(default=(), name=DROPPED)


class ErrorData(Payload):
    details: str | None = None


class Error(Payload):
    code: Scalar = None
    title: str | None = None
    message: str | None = None
    error_data: ErrorData | None = None
    details: str | None = None


class TextPayload(Payload):
    body: str | None = None


class File(Payload):
    id: Scalar = None
    mime_type: str | None = None
    sha256: str | None = None
    caption: str | None = None
    filename: str | None = None
    voice: bool | None = None
    animated: bool | None = None


class Location(Payload):
    latitude: Amount = None
    longitude: Amount = None
    name: str | None = None
    address: str | None = None
    url: str | None = None


class Reply(Payload):
    id: str | None = None
    title: str | None = None
    description: str | None = None


class FormReply(Payload):
    response_json: Any = None
    body: str | None = None
    name: str | None = None


class CallPermission(Payload):
    response: str | None = None
    is_permanent: bool | None = None
    expiration_timestamp: Scalar = None
    response_source: str | None = None


class Interactive(Payload):
    type: str | None = None
    button_reply: Reply | None = None
    list_reply: Reply | None = None
    nfm_reply: FormReply | None = None
    call_permission_reply: CallPermission | None = None


class ButtonPayload(Payload):
    payload: str | None = None
    text: str | None = None


class Order(Payload):
    catalog_id: Any = None
    text: str | None = None
    product_items: Any = None


class Reaction(Payload):
    message_id: str | None = None
    emoji: str | None = None


class System(Payload):
    body: str | None = None
    type: str | None = None
    wa_id: Scalar = None
    new_wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    previous_user_id: str | None = None
    previous_parent_user_id: str | None = None


class Revoke(Payload):
    original_message_id: str | None = None


class Unsupported(Payload):
    type: str | None = None


class Context(Payload):
    id: str | None = None
    forwarded: bool | None = None
    frequently_forwarded: bool | None = None
    referred_product: Any = None


class HistoryContext(Payload):
    status: str | None = None


class Content(Payload):
    """What is said: the part that a message and an edit of it have in common."""

    type: str | None = None
    text: TextPayload | None = None
    image: File | None = None
    video: File | None = None
    audio: File | None = None
    voice: File | None = None
    document: File | None = None
    sticker: File | None = None
    location: Location | None = None
    contacts: list[Any] | None = None
    interactive: Interactive | None = None
    button: ButtonPayload | None = None
    order: Order | None = None
    reaction: Reaction | None = None
    system: System | None = None
    unsupported: Unsupported | None = None
    errors: list[Error | None] | None = None
    origin: str | None = None


class Edit(Payload):
    original_message_id: str | None = None
    message: Content | None = None


class MessagePayload(Content):
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


class Profile(Payload):
    name: str | None = None
    username: str | None = None


class ContactPayload(Element):
    profile: Profile | None = None
    wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    username: str | None = None


class Metadata(Payload):
    display_phone_number: Scalar = None
    phone_number_id: Scalar = None


class Origin(Payload):
    type: str | None = None


class Pricing(Payload):
    billable: bool | None = None
    pricing_model: str | None = None
    type: str | None = None
    category: str | None = None


class ConversationPayload(Payload):
    origin: Origin | None = None
    # One of Meta's group samples has it here instead of beside the conversation.
    pricing: Pricing | None = None


class Status(Element):
    id: str | None = None
    status: str | None = None
    timestamp: Scalar = None
    type: str | None = None
    recipient_id: Scalar = None
    recipient_type: str | None = None
    recipient_user_id: str | None = None
    recipient_parent_user_id: str | None = None
    parent_recipient_user_id: str | None = None
    parent_user_id: str | None = None
    recipient_participant_id: Scalar = None
    participant_recipient_id: Scalar = None
    recipient_participant_user_id: str | None = None
    recipient_participant_parent_user_id: str | None = None
    biz_opaque_callback_data: str | None = None
    payment: dict[str, Any] | None = None
    conversation: ConversationPayload | None = None
    pricing: Pricing | None = None
    errors: list[Error | None] | None = None


class Item(Element):
    """An element that we only count: keys that name its kind, whatever their type."""

    type: Any = None
    event: Any = None
    event_name: Any = None
    action_type: Any = None
    action: Any = None
    status: Any = None
    value: Any = None
    code: Any = None


class Preference(Item):
    """What a user wants; ``category`` and ``value`` (from Item) are Meta's words."""

    wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    category: Any = None
    timestamp: Scalar = None


class BookContact(Payload):
    full_name: str | None = None
    first_name: str | None = None
    phone_number: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    username: str | None = None


class BookMetadata(Payload):
    timestamp: Scalar = None


class StateSync(Item):
    """An entry of the business's address book; ``action`` (from Item) is Meta's word."""

    contact: BookContact | None = None
    metadata: BookMetadata | None = None


class UpdatedId(Payload):
    previous: str | None = None
    current: str | None = None


class UserIdUpdate(Item):
    """A person's user id, before and now."""

    wa_id: Scalar = None
    user_id: UpdatedId | None = None
    parent_user_id: UpdatedId | None = None
    timestamp: Scalar = None


class Call(Item):
    from_: Scalar = msgspec.field(default=None, name="from")
    from_user_id: str | None = None
    from_parent_user_id: str | None = None
    to: Scalar = None
    to_user_id: str | None = None
    to_parent_user_id: str | None = None
    timestamp: Scalar = None


class Participant(Payload):
    wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None


class Group(Item):
    """What happened to a group; its own ids are those of who asks to join it."""

    wa_id: Scalar = None
    user_id: str | None = None
    parent_user_id: str | None = None
    added_participants: list[Participant | None] | None = None
    removed_participants: list[Participant | None] | None = None
    timestamp: Scalar = None


class Standby(Element):
    messages: list[Item | None] | None = None
    statuses: list[Item | None] | None = None
    message_echoes: list[Item | None] | None = None


class ThreadContext(Participant):
    username: str | None = None


class Thread(Element):
    id: Scalar = None
    context: ThreadContext | None = None
    messages: list[MessagePayload | None] | None = None


class Chunk(Element):
    threads: list[Thread | None] | None = None
    errors: list[Item | None] | None = None


class Account(Payload):
    waba_id: Scalar = None


class AlertInfo(Payload):
    alert_type: str | None = None


class DisableInfo(Payload):
    disable_date: Scalar = None


class OtherInfo(Payload):
    title: str | None = None
    description: str | None = None


class RejectionInfo(Payload):
    reason: str | None = None
    recommendation: str | None = None


class TemplateButton(Payload):
    message_template_button_type: str | None = None
    message_template_button_text: str | None = None
    message_template_button_url: str | None = None


class Value(Element):
    metadata: Metadata | None = None
    contacts: list[ContactPayload | None] | None = None
    messages: list[MessagePayload | None] | None = None
    statuses: list[Status | None] | None = None
    message_echoes: list[MessagePayload | None] | None = None
    history: list[Chunk | None] | None = None
    errors: list[Item | None] | None = None
    user_actions: list[Item | None] | None = None
    calls: list[Call | None] | None = None
    groups: list[Group | None] | None = None
    user_preferences: list[Preference | None] | None = None
    state_sync: list[StateSync | None] | None = None
    automatic_events: list[Item | None] | None = None
    user_id_update: list[UserIdUpdate | None] | None = None
    standby: Standby | None = None
    # Where the number or the account stands in the fields that have no metadata.
    recipient: Metadata | None = None
    phone_number_settings: Metadata | None = None
    waba_info: Account | None = None
    alert_info: AlertInfo | None = None
    field: str | None = None
    event: str | None = None
    type: str | None = None
    decision: str | None = None
    status: str | None = None
    alert_type: str | None = None
    message_template_id: Scalar = None
    message_template_name: str | None = None
    message_template_language: str | None = None
    message_template_category: str | None = None
    message_template_element: str | None = None
    message_template_title: str | None = None
    message_template_footer: str | None = None
    message_template_buttons: list[TemplateButton | None] | None = None
    previous_quality_score: str | None = None
    new_quality_score: str | None = None
    previous_category: str | None = None
    new_category: str | None = None
    correct_category: str | None = None
    category: str | None = None
    category_update_timestamp: Scalar = None
    reason: str | None = None
    disable_info: DisableInfo | None = None
    other_info: OtherInfo | None = None
    rejection_info: RejectionInfo | None = None


class Change(Element):
    field: str | None = None
    value: Value | None = None


class Entry(Element):
    id: Scalar = None
    time: Scalar = None
    # Some of Meta's samples have it one level too high.
    field: str | None = None
    changes: list[Change | None] | None = None


class Envelope(Element):
    object: str | None = None
    entry: list[Entry | None] | None = None


def exact(number: str) -> Decimal | None:
    """Return a JSON number with a fraction or an exponent in the form it came in.

    ``None`` if it is larger than any number that is meant (and than PostgreSQL could store).
    """
    try:
        value = Decimal(number)
    except ArithmeticError:
        return None
    return value if abs(value.adjusted()) < _MAX_EXPONENT else None


_MAX_EXPONENT = 400
ENVELOPE_DECODER: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope, float_hook=exact)
