"""From what came in at a door (JSON values, ``snake_case``) to a request, or to what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from messaging.sending.refusals import Malformed, SendErrorCode, together
from messaging.sending.requests import (
    ContactCard,
    ContactsContent,
    Content,
    InteractiveContent,
    LocationContent,
    MediaContent,
    ReactionContent,
    Recipient,
    SendRequest,
    TemplateContent,
    TextContent,
)
from templates_wa.parameters import TemplateParameters

_PLACE = re.compile(r"^(.*?)(?: - at `\$\.?([^`]*)`)?$", re.DOTALL)
# What belongs to one kind of content, and to no other.
_BELONGINGS = {
    "template_params": "template_name",
    "template_parameters": "template_name",
    "language": "template_name",
    "preview_url": "text",
}


class SendInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input of a send, the same at every door; null and absent are the same."""

    workspace_id: UUID
    recipient_phone: str | None = None
    recipient_user_id: str | None = None
    conversation_id: UUID | None = None
    contact_id: UUID | None = None
    template_name: str | None = None
    template_params: tuple[str, ...] | None = None
    template_parameters: TemplateParameters | None = None
    language: str | None = None
    text: str | None = None
    preview_url: bool | None = None
    media: MediaContent | None = None
    interactive: InteractiveContent | None = None
    reaction: ReactionContent | None = None
    location: LocationContent | None = None
    contacts: tuple[ContactCard, ...] | None = None
    reply_to: UUID | None = None
    idempotency_key: str | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    force: bool | None = None


# The kinds of content, of which a message has exactly one.
KINDS = ("template_name", "text", "media", "interactive", "reaction", "location", "contacts")


def request_of(given: Mapping[str, Any]) -> SendRequest:
    """Return the request in an input.

    Raises:
        Malformed: a field is unknown, missing or of the wrong type, or there is not exactly one
            content.
    """
    try:
        read = msgspec.convert(_without_nulls(given), SendInput)
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    if faults := _faults(read):
        raise together(faults)
    return SendRequest(
        workspace_id=read.workspace_id,
        recipient=Recipient(
            read.recipient_phone, read.recipient_user_id, read.conversation_id, read.contact_id
        ),
        content=_content(read),
        reply_to=read.reply_to,
        idempotency_key=read.idempotency_key,
        scheduled_at=_utc(read.scheduled_at, "scheduled_at"),
        expires_at=_utc(read.expires_at, "expires_at"),
        force=bool(read.force),
    )


def id_of(given: str, field: str) -> UUID:
    """Return the id in a field.

    Raises:
        Malformed: not a UUID.
    """
    try:
        return UUID(given)
    except ValueError:
        raise _fault(field, "This must be a UUID.") from None


def _without_nulls(value: Any) -> Any:
    """Leave out what is null; what stands under ``raw`` and ``flow_data`` is Meta's and stays."""
    if isinstance(value, Mapping):
        return {
            key: item if key in ("raw", "flow_data") else _without_nulls(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def malformed(error: msgspec.ValidationError) -> Malformed:
    """Return what is wrong with an input, with the field that msgspec names."""
    found = _PLACE.match(str(error))
    message, field = found.groups() if found else (str(error), None)
    if field is None and (missing := re.search(r"field `(\w+)`", message)):
        field = missing[1]
    return Malformed(SendErrorCode.INVALID_INPUT, field, f"{message}.".replace("..", "."))


def _faults(read: SendInput) -> list[Malformed]:
    """Return what does not go together: more or less than one content, and what belongs to none."""
    faults = [
        _fault(field, f"This goes with {owner}, which was not given.")
        for field, owner in _BELONGINGS.items()
        if getattr(read, field) is not None and getattr(read, owner) is None
    ]
    kinds = [kind for kind in KINDS if getattr(read, kind) is not None]
    if len(kinds) != 1:
        came = " and ".join(kinds) or "none"
        reason = (
            "A message has exactly one of: a template, a text, media, interactive, a reaction, a "
            f"location, contacts. What came: {came}."
        )
        faults.insert(0, _fault(kinds[1] if kinds else "text", reason))
    detailed = read.template_parameters
    if read.template_params is not None and detailed and (detailed.positional or detailed.named):
        faults.append(_fault("template_params", "The body's parameters were given twice."))
    return faults


def _content(read: SendInput) -> Content:
    if read.template_name is not None:
        return TemplateContent(read.template_name, read.language, _parameters(read))
    if read.text is not None:
        return TextContent(read.text, bool(read.preview_url))
    if read.contacts is not None:
        return ContactsContent(read.contacts)
    content = read.media or read.interactive or read.reaction or read.location
    assert content is not None  # noqa: S101 - exactly one was counted
    return content


def _parameters(read: SendInput) -> TemplateParameters:
    detailed = read.template_parameters or TemplateParameters()
    if read.template_params is None:
        return detailed
    return msgspec.structs.replace(detailed, positional=read.template_params)


def _utc(value: datetime | None, field: str) -> datetime | None:
    """Return a time in UTC, which is what is meant by one without an offset."""
    if value is None:
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise _fault(field, "This is no time of our calendar.") from None


def _fault(field: str, message: str) -> Malformed:
    return Malformed(SendErrorCode.INVALID_INPUT, field, message)
