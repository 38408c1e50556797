"""The labels of a tenant: words that may be put on its conversations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection
from msgspec import UNSET, Meta, Struct, UnsetType

from messaging.desk import DeskErrorCode, UnableToHandle, reading
from messaging.models import ConversationLabel

MOST = 200
LONGEST = 50
GREY = "#6b7280"
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
# Who counts and compares does so alone in the tenant.
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class LabelInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label to make."""

    name: Annotated[str, Meta(description="1 to 50 characters, in your tenant once, without case.")]
    colour: Annotated[str, Meta(description="As #rrggbb.")] = GREY


class LabelChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a label; what is left out stays."""

    name: Annotated[str | UnsetType, Meta(description="The new name.")] = UNSET
    colour: Annotated[str | UnsetType, Meta(description="The new colour, as #rrggbb.")] = UNSET


class LabelRow(NamedTuple):
    """What is shown of a label."""

    id: UUID
    name: str
    colour: str


def read_new(given: object) -> LabelInput:
    """Return a label to make.

    Raises:
        UnableToHandle: it is not of that form.
    """
    with reading():
        return msgspec.convert(given, LabelInput)


def read_change(given: object) -> LabelChange:
    """Return what to change of a label.

    Raises:
        UnableToHandle: it is not of that form.
    """
    with reading():
        return msgspec.convert(given, LabelChange)


def read_labels(*, tenant_id: UUID, ids: Collection[UUID] | None = None) -> list[LabelRow]:
    """Return a tenant's labels, or some of them, in the order of the alphabet."""
    rows = ConversationLabel.objects.filter(tenant_id=tenant_id)
    if ids is not None:
        rows = rows.filter(id__in=ids)
    return [LabelRow(*row) for row in rows.order_by("folded").values_list(*LabelRow._fields)]


def check(*, tenant_id: UUID, label_id: UUID) -> None:
    """Insist on a label of the tenant.

    Raises:
        UnableToHandle: there is none with this id.
    """
    if not ConversationLabel.objects.filter(tenant_id=tenant_id, id=label_id).exists():
        raise _missing()


def create(*, tenant_id: UUID, wanted: LabelInput) -> LabelRow:
    """Make a label.

    Raises:
        UnableToHandle: not a name or colour, there is one of that name, or there are too many.
    """
    name, colour = _name(wanted.name), _colour(wanted.colour)
    go_alone(f"labels:{tenant_id}")
    if ConversationLabel.objects.filter(tenant_id=tenant_id).count() >= MOST:
        message = f"A tenant has at most {MOST} labels; delete one that nobody needs."
        raise UnableToHandle(DeskErrorCode.TOO_MANY, None, message)
    _insist_on_new(tenant_id, name, but=None)
    row = ConversationLabel.objects.create(
        tenant_id=tenant_id, name=name, folded=folded(name), colour=colour
    )
    return LabelRow(row.id, row.name, row.colour)


def update(*, tenant_id: UUID, label_id: UUID, wanted: LabelChange) -> LabelRow:
    """Rename a label, or give it another colour.

    Raises:
        UnableToHandle: no such label, not a name or colour, or there is one of that name.
    """
    go_alone(f"labels:{tenant_id}")
    row = ConversationLabel.objects.filter(tenant_id=tenant_id, id=label_id).first()
    if row is None:
        raise _missing()
    if not isinstance(wanted.name, UnsetType):
        row.name = _name(wanted.name)
        row.folded = folded(row.name)
        _insist_on_new(tenant_id, row.name, but=label_id)
    if not isinstance(wanted.colour, UnsetType):
        row.colour = _colour(wanted.colour)
    ConversationLabel.objects.filter(tenant_id=tenant_id, id=label_id).update(
        name=row.name, folded=row.folded, colour=row.colour
    )
    return LabelRow(row.id, row.name, row.colour)


def delete(*, tenant_id: UUID, label_id: UUID) -> None:
    """Delete a label; conversations do not show it any more.

    Raises:
        UnableToHandle: no such label.
    """
    if not ConversationLabel.objects.filter(tenant_id=tenant_id, id=label_id).delete()[0]:
        raise _missing()


def folded(name: str) -> str:
    """Return a name as it is compared: without case."""
    return unicodedata.normalize("NFC", name.casefold())


def word(given: str, *, field: str, longest: int) -> str:
    """Return a word for people, without spaces around it.

    Raises:
        UnableToHandle: it is empty or too long, or holds characters that are not shown.
    """
    found = unicodedata.normalize("NFC", given.strip())
    if not 1 <= len(found) <= longest or not found.isprintable():
        message = f"It has 1 to {longest} characters, none of them a line break or the like."
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, field, message)
    return found


def _name(given: str) -> str:
    return word(given, field="name", longest=LONGEST)


def _colour(given: str) -> str:
    if not COLOUR.fullmatch(given):
        message = "A colour is written as #rrggbb, such as #e11d48."
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, "colour", message)
    return given.lower()


def go_alone(what: str) -> None:
    """Wait for others who count and compare the same things, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(ALONE, [what])


def _insist_on_new(tenant_id: UUID, name: str, *, but: UUID | None) -> None:
    same = ConversationLabel.objects.filter(tenant_id=tenant_id, folded=folded(name))
    if same.exclude(id=but).exists() if but else same.exists():
        message = "There is a label of this name; use that one, or choose another name."
        raise UnableToHandle(DeskErrorCode.DUPLICATE, "name", message)


def _missing() -> UnableToHandle:
    message = "Your tenant has no label with this id; list them with labels."
    return UnableToHandle(DeskErrorCode.LABEL_NOT_FOUND, "label_id", message)
