"""``/api/v1/conversations`` and ``/api/v1/labels``: who answers whom, when, and what is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from lib.cursors import Page
from lib.graphql import DEFAULT_PAGE, cursor_of, limit_of, page_info
from messaging import desk, labels
from messaging.desk import ConversationInput, DeskErrorCode, Note, NoteInput, UnableToHandle
from messaging.labels import LabelChange, LabelInput, LabelRow
from messaging.rest import failures
from messaging.rest.conversations import OneConversation, by_ids, number_of, place_of
from messaging.rest.openapi import Operations, answer
from messaging.rest.shapes import (
    ConversationShape,
    LabelShape,
    LabelsShape,
    NoteShape,
    NotesShape,
    PageShape,
)
from messaging.rest.views import CONVERSATION_ID, TenantView
from workspaces import members
from workspaces.access import Actor, Scope
from workspaces.members import MemberRow
from workspaces.models import Role

# What a refusal means over HTTP; the others are 422.
STATUSES = {
    DeskErrorCode.CONVERSATION_NOT_FOUND: 404,
    DeskErrorCode.LABEL_NOT_FOUND: 404,
    DeskErrorCode.NOTE_NOT_FOUND: 404,
    DeskErrorCode.WORKSPACE_NOT_FOUND: 404,
    DeskErrorCode.CANNED_REPLY_NOT_FOUND: 404,
    DeskErrorCode.DUPLICATE: 409,
}
DESK = Operations(
    tag="conversations",
    refusals={
        400: "The request is malformed: not JSON.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such thing.",
        409: "There is one of this name.",
        422: "Refused; `code` says why.",
        503: "The database is away; try again.",
    },
    always=(400, 401, 403, 422, 503),
)
FIRST = OpenApiParameter("first", int, description=f"How many; {DEFAULT_PAGE} unless given.")
AFTER = OpenApiParameter("after", str, description="Only what comes after this cursor.")


def _path(name: str, what: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.UUID, OpenApiParameter.PATH, description=what)


NOTE_ID = _path("note_id", "The note's UUID.")
LABEL_ID = _path("label_id", "The label's UUID.")


class DeskView(TenantView):
    """A view whose refusals are those of the desk."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return handle


class HandledConversation(OneConversation):
    """One conversation, and what is done with it."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return handle

    @DESK.operation(
        "update_conversation",
        "Open, snooze or close a conversation, assign it, put labels on it",
        scope=Scope.MESSAGES_SEND,
        takes=ConversationInput,
        parameters=[CONVERSATION_ID],
        answers={200: (ConversationShape, "The conversation as it is now.")},
        refused=(404,),
    )
    def patch(self, request: Request, conversation_id: UUID) -> ConversationShape:
        """Change a conversation."""
        wanted, now = desk.read_changes(request.data), clock.now()
        found: ConversationShape = self.act(
            lambda _: _changed(self.actor, conversation_id, wanted, now)
        )
        return found


class Notes(DeskView):
    """The notes about a conversation."""

    @DESK.operation(
        "list_conversation_notes",
        "Read the notes about a conversation",
        scope=Scope.MESSAGES_READ,
        parameters=[CONVERSATION_ID, FIRST, AFTER],
        answers={200: (NotesShape, "A page of them.")},
        refused=(404,),
    )
    def get(self, request: Request, conversation_id: UUID) -> NotesShape:
        """Read the notes about a conversation."""
        after = request.query_params.get("after")
        limit, place = limit_of(number_of(request.query_params.get("first"))), cursor_of(after)
        page: Page[Note] = self.act(
            lambda tenant_id: desk.read_notes(
                tenant_id=tenant_id, conversation_id=conversation_id, limit=limit, after=place
            )
        )
        info = page_info(page, desk.place_of, is_first=after is None)
        return NotesShape(nodes=[_note(one) for one in page.rows], page_info=place_of(info))

    @DESK.operation(
        "add_conversation_note",
        "Write something down about a conversation",
        scope=Scope.MESSAGES_SEND,
        says="No customer ever gets it.",
        takes=NoteInput,
        parameters=[CONVERSATION_ID],
        answers={201: (NoteShape, "It is kept.")},
        refused=(404,),
    )
    def post(self, request: Request, conversation_id: UUID) -> Response:
        """Write something down about a conversation."""
        wanted, now = desk.read_note(request.data), clock.now()
        note = self.act(lambda _: desk.add_note(self.actor, conversation_id, wanted, now=now))
        return answer(_note(note), status=201)


class OneNote(DeskView):
    """One note."""

    @DESK.operation(
        "delete_conversation_note",
        "Delete a note",
        scope=Scope.MESSAGES_SEND,
        parameters=[CONVERSATION_ID, NOTE_ID],
        answers={204: (None, "It is gone.")},
        refused=(404,),
    )
    def delete(self, request: Request, conversation_id: UUID, note_id: UUID) -> Response:
        """Delete a note."""
        self.act(
            lambda tenant_id: desk.delete_note(
                tenant_id=tenant_id, note_id=note_id, conversation_id=conversation_id
            )
        )
        return Response(status=204)


class MemberShape(Struct, frozen=True, kw_only=True):
    """A user who is a member of your tenant."""

    id: Annotated[int, Meta(description="The user's id, as in assignee_id and author_id.")]
    display_name: Annotated[
        str, Meta(description="The full name, or else the user name up to an @.")
    ]
    role: Annotated[Role, Meta(description="What they may do.")]
    is_active: Annotated[bool, Meta(description="Whether they may sign in.")]


class MembersShape(Struct, frozen=True, kw_only=True):
    """One page of members."""

    nodes: Annotated[
        list[MemberShape], Meta(description="The members, in the order in which they joined.")
    ]
    page_info: Annotated[PageShape, Meta(description="Whether there is more.")]


class Members(DeskView):
    """The members of a tenant."""

    @DESK.operation(
        "list_members",
        "List who may be assigned conversations",
        scope=Scope.MESSAGES_READ,
        parameters=[FIRST, AFTER],
        answers={200: (MembersShape, "A page of them.")},
    )
    def get(self, request: Request) -> MembersShape:
        """List members."""
        after = request.query_params.get("after")
        limit, place = limit_of(number_of(request.query_params.get("first"))), cursor_of(after)
        page: Page[MemberRow] = self.act(lambda _: members.read_members(limit=limit, after=place))
        nodes = [
            MemberShape(
                id=row.id,
                display_name=row.display_name,
                role=Role(row.role),
                is_active=row.is_active,
            )
            for row in page.rows
        ]
        info = page_info(page, members.cursor_of, is_first=after is None)
        return MembersShape(nodes=nodes, page_info=place_of(info))


class Labels(DeskView):
    """The labels of a tenant."""

    @DESK.operation(
        "list_labels",
        "List labels",
        scope=Scope.MESSAGES_READ,
        answers={200: (LabelsShape, "All of your tenant's.")},
    )
    def get(self, request: Request) -> LabelsShape:
        """List labels."""
        rows: list[LabelRow] = self.act(lambda tenant_id: labels.read_labels(tenant_id=tenant_id))
        return LabelsShape(nodes=[LabelShape(**row._asdict()) for row in rows])

    @DESK.operation(
        "create_label",
        "Make a label",
        scope=Scope.MESSAGES_SEND,
        takes=LabelInput,
        answers={201: (LabelShape, "It may be put on conversations.")},
        refused=(409,),
    )
    def post(self, request: Request) -> Response:
        """Make a label."""
        wanted = labels.read_new(request.data)
        row = self.act(lambda tenant_id: labels.create(tenant_id=tenant_id, wanted=wanted))
        return answer(LabelShape(**row._asdict()), status=201)


class OneLabel(DeskView):
    """One label."""

    @DESK.operation(
        "update_label",
        "Rename a label, or give it another colour",
        scope=Scope.MESSAGES_SEND,
        takes=LabelChange,
        parameters=[LABEL_ID],
        answers={200: (LabelShape, "The label as it is now.")},
        refused=(404, 409),
    )
    def patch(self, request: Request, label_id: UUID) -> LabelShape:
        """Change a label."""
        wanted = labels.read_change(request.data)
        row: LabelRow = self.act(
            lambda tenant_id: labels.update(tenant_id=tenant_id, label_id=label_id, wanted=wanted)
        )
        return LabelShape(**row._asdict())

    @DESK.operation(
        "delete_label",
        "Delete a label, and take it off all conversations",
        scope=Scope.MESSAGES_SEND,
        parameters=[LABEL_ID],
        answers={204: (None, "It is gone.")},
        refused=(404,),
    )
    def delete(self, request: Request, label_id: UUID) -> Response:
        """Delete a label."""
        self.act(lambda tenant_id: labels.delete(tenant_id=tenant_id, label_id=label_id))
        return Response(status=204)


def handle(error: Exception, context: object) -> Response:
    """Return the answer to a request that ended in ``error``."""
    if isinstance(error, UnableToHandle):
        why = failures.refusal(error.code.value, error.message, field=error.field)
        return failures.respond(STATUSES.get(error.code, 422), why)
    return failures.handle(error, context)


def _changed(
    actor: Actor, conversation_id: UUID, wanted: ConversationInput, now: datetime
) -> ConversationShape:
    row = desk.change(actor, conversation_id, wanted, now=now)
    return by_ids(actor, [row.id])[0]


def _note(note: Note) -> NoteShape:
    return NoteShape(**note._asdict() | {"author_key": note.author_key or None})
