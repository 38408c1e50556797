"""What a caller wants sent: the same values for GraphQL, REST and broadcasts.

Identities are in plaintext here and live in memory only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from messaging.filetypes import MediaKind
from templates_wa.parameters import TemplateParameters


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Common to all: unknown keys are refused, absent and default are the same."""


class Recipient(_Value, frozen=True):
    """Whom to write to: a phone number or a business-scoped user id (BSUID), one of the two; or,
    without knowing either, a conversation of the workspace or a contact.
    """

    phone: str | None = None
    user_id: str | None = None
    conversation_id: UUID | None = None
    contact_id: UUID | None = None

    def __repr__(self) -> str:
        return "Recipient(…)"


class TemplateContent(_Value, frozen=True):
    """An approved template. Without a language it is the only sendable one, or English."""

    name: str
    language: str | None = None
    parameters: TemplateParameters = TemplateParameters()


class TextContent(_Value, frozen=True):
    """A text; ``preview_url`` shows the first link in it as a card."""

    body: str
    preview_url: bool = False


class MediaContent(_Value, frozen=True):
    """A file at the platform (``id``) or on the web (``link``), one of the two. ``voice`` makes an
    audio file a voice note.
    """

    kind: MediaKind
    id: str | None = None
    link: str | None = None
    caption: str | None = None
    filename: str | None = None
    voice: bool = False


class Choice(_Value, frozen=True):
    """A reply button; ``id`` comes back when it is pressed."""

    id: str
    title: str


class Row(_Value, frozen=True):
    """A row of a list; ``id`` comes back when it is chosen."""

    id: str
    title: str
    description: str | None = None


class Section(_Value, frozen=True):
    """Rows under a title, which is needed where there are several sections."""

    rows: tuple[Row, ...]
    title: str | None = None


class ChoiceList(_Value, frozen=True):
    """A list that opens behind a button with this label."""

    button: str
    sections: tuple[Section, ...]


class CallToAction(_Value, frozen=True):
    """A button that opens a web page."""

    display_text: str
    url: str


class InteractiveHeader(_Value, frozen=True):
    """What stands above the body: a text, or a file of one kind; lists take a text only."""

    text: str | None = None
    media: MediaContent | None = None


class InteractiveContent(_Value, frozen=True):
    """Something to press: exactly one of ``buttons``, ``list``, ``cta_url``, ``location_request``
    and ``raw`` (Meta's ``interactive`` object for the kinds that have no words here).
    """

    body: str | None = None
    header: InteractiveHeader | None = None
    footer: str | None = None
    buttons: tuple[Choice, ...] = ()
    list: ChoiceList | None = None
    cta_url: CallToAction | None = None
    location_request: bool = False
    raw: dict[str, Any] | None = None


class ReactionContent(_Value, frozen=True):
    """An emoji on a message (our id) of the same conversation; without one it is taken back."""

    message_id: UUID
    emoji: str | None = None


class LocationContent(_Value, frozen=True):
    """A place; degrees, north and east are positive."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class CardName(_Value, frozen=True):
    """A person's name; Meta wants ``formatted_name`` and one of the others."""

    formatted_name: str
    first_name: str | None = None
    last_name: str | None = None
    middle_name: str | None = None
    prefix: str | None = None
    suffix: str | None = None


class CardPhone(_Value, frozen=True):
    """A number on a card; with ``wa_id`` the card offers to write to it."""

    phone: str
    type: str | None = None
    wa_id: str | None = None


class CardEmail(_Value, frozen=True):
    """An e-mail address on a card."""

    email: str
    type: str | None = None


class CardUrl(_Value, frozen=True):
    """A web address on a card."""

    url: str
    type: str | None = None


class CardAddress(_Value, frozen=True):
    """A postal address on a card."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    country_code: str | None = None
    type: str | None = None


class CardCompany(_Value, frozen=True):
    """Where the person works."""

    company: str | None = None
    department: str | None = None
    title: str | None = None


class ContactCard(_Value, frozen=True):
    """A contact card, in Meta's words."""

    name: CardName
    phones: tuple[CardPhone, ...] = ()
    emails: tuple[CardEmail, ...] = ()
    urls: tuple[CardUrl, ...] = ()
    addresses: tuple[CardAddress, ...] = ()
    org: CardCompany | None = None
    birthday: str | None = None


class ContactsContent(_Value, frozen=True):
    """Contact cards."""

    contacts: tuple[ContactCard, ...]


Content = (
    TemplateContent
    | TextContent
    | MediaContent
    | InteractiveContent
    | ReactionContent
    | LocationContent
    | ContactsContent
)


class SendRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one person.

    ``reply_to`` is our id of the message it answers. ``idempotency_key`` makes a repeated request
    have its effect once. ``force`` leaves the judgement of a template to the platform.
    """

    workspace_id: UUID
    recipient: Recipient
    content: Content
    reply_to: UUID | None = None
    idempotency_key: str | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    broadcast_id: UUID | None = None
    force: bool = False
