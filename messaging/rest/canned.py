"""``/api/v1/canned-replies``: texts that are kept to be sent again."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib.graphql import parse_id
from messaging import canned
from messaging.canned import CannedReplyChange, CannedReplyInput, CannedReplyRow
from messaging.rest.desk import DESK, DeskView
from messaging.rest.openapi import answer
from workspaces.access import Scope

WORKSPACE_ID = OpenApiParameter(
    "workspace_id", OpenApiTypes.UUID, required=True, description="The workspace's UUID."
)
REPLY_ID = OpenApiParameter(
    "reply_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The canned reply's UUID."
)


class CannedReplyShape(Struct, frozen=True, kw_only=True):
    """A text that is kept to be sent again."""

    id: Annotated[UUID, Meta(description="The canned reply's UUID.")]
    workspace_id: Annotated[UUID, Meta(description="The workspace whose people use it.")]
    shortcut: Annotated[str, Meta(description="What people type to find it.")]
    text: Annotated[str, Meta(description="The text, as it was written.")]


class CannedRepliesShape(Struct, frozen=True, kw_only=True):
    """All canned replies of a workspace."""

    nodes: Annotated[list[CannedReplyShape], Meta(description="In the order of their shortcuts.")]


class CannedReplies(DeskView):
    """The canned replies of a workspace."""

    @DESK.operation(
        "list_canned_replies",
        "List the canned replies of a workspace",
        scope=Scope.MESSAGES_READ,
        parameters=[WORKSPACE_ID],
        answers={200: (CannedRepliesShape, "All of them.")},
        refused=(404,),
    )
    def get(self, request: Request) -> CannedRepliesShape:
        """List them."""
        workspace_id = parse_id(request.query_params.get("workspace_id", ""), "workspace_id")
        rows: list[CannedReplyRow] = self.act(
            lambda tenant_id: canned.read_all(tenant_id=tenant_id, workspace_id=workspace_id)
        )
        return CannedRepliesShape(nodes=[CannedReplyShape(**row._asdict()) for row in rows])

    @DESK.operation(
        "create_canned_reply",
        "Keep a text to be sent again",
        scope=Scope.MESSAGES_SEND,
        takes=CannedReplyInput,
        answers={201: (CannedReplyShape, "It is kept.")},
        refused=(404, 409),
    )
    def post(self, request: Request) -> Response:
        """Keep a text."""
        wanted = canned.read_new(request.data)
        row = self.act(lambda tenant_id: canned.create(tenant_id=tenant_id, wanted=wanted))
        return answer(CannedReplyShape(**row._asdict()), status=201)


class OneCannedReply(DeskView):
    """One canned reply."""

    @DESK.operation(
        "update_canned_reply",
        "Change the shortcut or the text of a canned reply",
        scope=Scope.MESSAGES_SEND,
        takes=CannedReplyChange,
        parameters=[REPLY_ID],
        answers={200: (CannedReplyShape, "The canned reply as it is now.")},
        refused=(404, 409),
    )
    def patch(self, request: Request, reply_id: UUID) -> CannedReplyShape:
        """Change it."""
        wanted = canned.read_change(request.data)
        row: CannedReplyRow = self.act(
            lambda tenant_id: canned.update(tenant_id=tenant_id, reply_id=reply_id, wanted=wanted)
        )
        return CannedReplyShape(**row._asdict())

    @DESK.operation(
        "delete_canned_reply",
        "Delete a canned reply",
        scope=Scope.MESSAGES_SEND,
        parameters=[REPLY_ID],
        answers={204: (None, "It is gone.")},
        refused=(404,),
    )
    def delete(self, request: Request, reply_id: UUID) -> Response:
        """Delete it."""
        self.act(lambda tenant_id: canned.delete(tenant_id=tenant_id, reply_id=reply_id))
        return Response(status=204)
