"""Canned replies: texts of a number that its people send again and again, by a shortcut."""

from __future__ import annotations

from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from messaging.desk import DeskErrorCode, UnableToHandle, reading
from messaging.labels import folded, go_alone, word
from messaging.models import CannedReply
from workspaces.models import Workspace

MOST = 500
LONGEST_SHORTCUT = 50
LONGEST_TEXT = 4096


class CannedReplyInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A canned reply to make."""

    workspace_id: Annotated[UUID, Meta(description="The workspace whose people use it.")]
    shortcut: Annotated[
        str, Meta(description="1 to 50 characters, in the workspace once, without case.")
    ]
    text: Annotated[str, Meta(description="1 to 4096 characters, as they are; {{name}} too.")]


class CannedReplyChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a canned reply; what is left out stays."""

    shortcut: Annotated[str | UnsetType, Meta(description="The new shortcut.")] = UNSET
    text: Annotated[str | UnsetType, Meta(description="The new text.")] = UNSET


class CannedReplyRow(NamedTuple):
    """What is shown of a canned reply."""

    id: UUID
    workspace_id: UUID
    shortcut: str
    text: str


def read_new(given: object) -> CannedReplyInput:
    """Return a canned reply to make.

    Raises:
        UnableToHandle: it is not of that form.
    """
    with reading():
        return msgspec.convert(given, CannedReplyInput)


def read_change(given: object) -> CannedReplyChange:
    """Return what to change of a canned reply.

    Raises:
        UnableToHandle: it is not of that form.
    """
    with reading():
        return msgspec.convert(given, CannedReplyChange)


def read_all(*, tenant_id: UUID, workspace_id: UUID) -> list[CannedReplyRow]:
    """Return the canned replies of a workspace, in the order of their shortcuts.

    Raises:
        UnableToHandle: the tenant has no such workspace.
    """
    _insist_on_workspace(tenant_id, workspace_id)
    rows = CannedReply.objects.filter(tenant_id=tenant_id, workspace_id=workspace_id)
    found = rows.order_by("folded").values_list(*CannedReplyRow._fields)
    return [CannedReplyRow(*row) for row in found]


def create(*, tenant_id: UUID, wanted: CannedReplyInput) -> CannedReplyRow:
    """Make a canned reply.

    Raises:
        UnableToHandle: no such workspace, not a shortcut or text, there is one with this shortcut,
            or there are too many.
    """
    shortcut, text = _shortcut(wanted.shortcut), _text(wanted.text)
    _insist_on_workspace(tenant_id, wanted.workspace_id)
    go_alone(f"canned_replies:{wanted.workspace_id}")
    rows = CannedReply.objects.filter(tenant_id=tenant_id, workspace_id=wanted.workspace_id)
    if rows.count() >= MOST:
        message = f"A workspace has at most {MOST} canned replies; delete one that nobody needs."
        raise UnableToHandle(DeskErrorCode.TOO_MANY, None, message)
    if rows.filter(folded=folded(shortcut)).exists():
        raise _taken()
    row = CannedReply.objects.create(
        tenant_id=tenant_id,
        workspace_id=wanted.workspace_id,
        shortcut=shortcut,
        folded=folded(shortcut),
        text=text,
    )
    return _shown(row)


def update(*, tenant_id: UUID, reply_id: UUID, wanted: CannedReplyChange) -> CannedReplyRow:
    """Change a canned reply.

    Raises:
        UnableToHandle: no such reply, not a shortcut or text, or there is one with this shortcut.
    """
    replies = CannedReply.objects.filter(tenant_id=tenant_id, id=reply_id)
    go_alone(f"canned_replies:{replies.values_list('workspace_id', flat=True).first()}")
    row = replies.first()
    if row is None:
        raise _missing()
    if not isinstance(wanted.shortcut, UnsetType):
        row.shortcut = _shortcut(wanted.shortcut)
        row.folded = folded(row.shortcut)
        same = CannedReply.objects.filter(
            tenant_id=tenant_id, workspace_id=row.workspace_id, folded=row.folded
        )
        if same.exclude(id=reply_id).exists():
            raise _taken()
    if not isinstance(wanted.text, UnsetType):
        row.text = _text(wanted.text)
    replies.update(shortcut=row.shortcut, folded=row.folded, text=row.text)
    return _shown(row)


def delete(*, tenant_id: UUID, reply_id: UUID) -> None:
    """Delete a canned reply.

    Raises:
        UnableToHandle: no such reply.
    """
    if not CannedReply.objects.filter(tenant_id=tenant_id, id=reply_id).delete()[0]:
        raise _missing()


def _shown(row: CannedReply) -> CannedReplyRow:
    return CannedReplyRow(row.id, row.workspace_id, row.shortcut, row.text)


def _shortcut(given: str) -> str:
    return word(given, field="shortcut", longest=LONGEST_SHORTCUT)


def _text(given: str) -> str:
    if not given.strip() or len(given) > LONGEST_TEXT or "\0" in given:
        message = f"A text has 1 to {LONGEST_TEXT} characters, and no NUL."
        raise UnableToHandle(DeskErrorCode.INVALID_INPUT, "text", message)
    return given


def _insist_on_workspace(tenant_id: UUID, workspace_id: UUID) -> None:
    if not Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).exists():
        message = "Your tenant has no workspace with this id."
        raise UnableToHandle(DeskErrorCode.WORKSPACE_NOT_FOUND, "workspace_id", message)


def _taken() -> UnableToHandle:
    message = "There is a canned reply with this shortcut; change that one, or choose another."
    return UnableToHandle(DeskErrorCode.DUPLICATE, "shortcut", message)


def _missing() -> UnableToHandle:
    message = "Your tenant has no canned reply with this id; list them with cannedReplies."
    return UnableToHandle(DeskErrorCode.CANNED_REPLY_NOT_FOUND, "reply_id", message)
