"""Files of ours that a content names: whether they are there, and fit where they stand.

What the platform gets has a mark in place of its id of the file, which the sender knows by then
(:mod:`messaging.delivery.files`). Meta's own ids are digits, and go through as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from lib.sql import columns_of, select
from messaging import filetypes, uploads
from messaging.filetypes import MediaKind
from messaging.models import UploadState
from messaging.sending.content import is_ours, wire_id
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import (
    Content,
    InteractiveContent,
    MediaContent,
    TemplateContent,
)
from templates_wa.definitions import Card, Definition, Header, HeaderFormat
from templates_wa.parameters import HeaderValue, TemplateParameters

_GIF = "gif"


class NamedFile(NamedTuple):
    """A file of ours in a content: the field that names it, and as which kind it is sent there
    (empty: that is not known).
    """

    id: UUID
    field: str
    kind: str


class KnownFile(NamedTuple):
    """A file of ours that is there."""

    id: UUID
    tenant_id: UUID
    mime_type: str
    sealed_name: bytes | None


MISSING = (
    "Your tenant has no file with this id: it was never uploaded, or was removed, as after the "
    "retention window. Upload it again."
)
FIND = f"""
SELECT {columns_of(KnownFile)} FROM uploads
WHERE tenant_id = %s AND id = ANY(%s) AND state = '{UploadState.READY}'
"""  # noqa: S608 - names of ours


def named_in(content: Content, definition: Definition | None) -> Iterator[NamedFile]:
    """Yield the files of ours that a content names; of a template by its ``definition``."""
    if isinstance(content, MediaContent):
        yield from _named(content.id, "media.id", content.kind)
    elif isinstance(content, InteractiveContent):
        media = content.header and content.header.media
        if media:
            yield from _named(media.id, "interactive.header.media.id", media.kind)
    elif isinstance(content, TemplateContent):
        yield from _in_template(content.parameters, definition)


def _in_template(values: TemplateParameters, definition: Definition | None) -> Iterator[NamedFile]:
    places: list[tuple[str, HeaderValue | None, Card | Definition | None]] = [
        ("", values.header, definition)
    ]
    shapes = definition.cards if definition else ()
    for index, card in enumerate(values.cards):
        of_card = shapes[index] if index < len(shapes) else None
        places.append((f"cards[{index}].", card.header, of_card))
    for place, value, shape in places:
        if value is not None and value.media is not None:
            wanted = shape.header.format if shape is not None and shape.header else ""
            field = f"template_parameters.{place}header.media.id"
            yield from _named(value.media.id, field, (value.media.kind or wanted).lower())


def _named(media_id: str | None, field: str, kind: str) -> Iterator[NamedFile]:
    if media_id is not None and is_ours(media_id):
        # What moves by itself is a film to Meta.
        yield NamedFile(UUID(media_id), field, MediaKind.VIDEO if kind == _GIF else kind)


def find(tenant_id: UUID, ids: Iterable[UUID]) -> dict[UUID, KnownFile]:
    """Return those of a tenant's files that are there."""
    wanted = list(ids)
    rows = select(KnownFile, FIND, [tenant_id, wanted]) if wanted else []
    return {row.id: row for row in rows}


def reason_against(named: NamedFile, known: KnownFile | None) -> UnableToSend | None:
    """Return why a file cannot stand where it is named."""
    if known is None:
        return UnableToSend(
            SendErrorCode.MEDIA_NOT_FOUND,
            named.field,
            MISSING,
        )
    if named.kind and not filetypes.fits(known.mime_type, named.kind):
        return UnableToSend(
            SendErrorCode.MEDIA_KIND,
            named.field,
            f"The file is {known.mime_type}, which cannot be sent as {named.kind}.",
        )
    return None


def remove(*, tenant_id: UUID, upload_id: UUID, now: datetime) -> None:
    """Remove a tenant's file.

    Raises:
        UnableToSend: there is none, or the time is not over in which a message that names it could
            be sent.
    """
    if uploads.discard(tenant_id=tenant_id, upload_id=upload_id, unless_used_since=now):
        return
    used_at = uploads.used_at(tenant_id=tenant_id, upload_id=upload_id)
    if used_at is None:
        raise UnableToSend(SendErrorCode.MEDIA_NOT_FOUND, "media_id", MISSING)
    raise UnableToSend(
        SendErrorCode.MEDIA_IN_USE,
        "media_id",
        f"The file is kept until {used_at:%Y-%m-%d %H:%M} UTC for messages that were accepted "
        "with it, whatever came of them since. Remove it after that time.",
    )


def with_name(content: MediaContent, known: Mapping[UUID, KnownFile]) -> MediaContent:
    """Return a document with the name that its file came with, unless it has another."""
    is_nameless = content.kind == MediaKind.DOCUMENT and content.filename is None
    if not is_nameless or content.id is None or not is_ours(content.id):
        return content
    return msgspec.structs.replace(content, filename=_name_of(known[UUID(content.id)]))


def with_names(
    values: TemplateParameters, definition: Definition, known: Mapping[UUID, KnownFile]
) -> TemplateParameters:
    """Return a template's values where a document in a header, also of a card, has the name that
    its file came with, unless it has another.
    """
    header = _named_document(values.header, definition.header, known)
    cards = tuple(
        msgspec.structs.replace(value, header=_named_document(value.header, card.header, known))
        for value, card in zip(values.cards, definition.cards, strict=False)
    )
    return msgspec.structs.replace(values, header=header, cards=cards)


def _named_document(
    value: HeaderValue | None, header: Header | None, known: Mapping[UUID, KnownFile]
) -> HeaderValue | None:
    media = value.media if value is not None else None
    is_document = header is not None and header.format == HeaderFormat.DOCUMENT
    if value is None or media is None or media.filename is not None or not is_document:
        return value
    if media.id is None or not is_ours(media.id):
        return value
    name = _name_of(known[UUID(media.id)])
    media = msgspec.structs.replace(media, filename=name)
    return msgspec.structs.replace(value, media=media)


def _name_of(file: KnownFile) -> str | None:
    return uploads.opened_name(file.tenant_id, file.id, file.sealed_name) or None


def marked(values: TemplateParameters) -> TemplateParameters:
    """Return a template's values with marks in place of ids of ours."""
    cards = tuple(msgspec.structs.replace(c, header=_marked(c.header)) for c in values.cards)
    return msgspec.structs.replace(values, header=_marked(values.header), cards=cards)


def _marked(value: HeaderValue | None) -> HeaderValue | None:
    if value is None or value.media is None:
        return value
    media = msgspec.structs.replace(value.media, id=wire_id(value.media.id))
    return msgspec.structs.replace(value, media=media)
