"""``/api/v1/media``: files to send."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from lib.graphql import NotFound
from messaging import upload_queries
from messaging.rest.intake import came_with, keep
from messaging.rest.openapi import Operations, answer
from messaging.rest.shapes import KeptFile
from messaging.rest.views import TenantView
from messaging.sending import files
from messaging.sending.files import MISSING
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.upload_queries import FileToSend
from workspaces.access import Scope

MEDIA_ID = OpenApiParameter(
    "media_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="What the upload answered."
)
MEDIA = Operations(
    tag="media",
    refusals={
        400: "The request is malformed: no file, a broken form, not the size or checksum it says.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such file.",
        409: "The file is kept for a message that names it.",
        413: "The file is larger than WhatsApp allows for its type.",
        415: "WhatsApp takes no files of this type.",
        422: "Refused; `code` says why.",
        503: "The database or the storage is away, or too many files are on their way; try again.",
    },
    always=(400, 401, 403, 503),
)
FORM = {
    "multipart/form-data": {
        "type": "object",
        "required": ["workspace_id", "file"],
        "properties": {
            "workspace_id": {"type": "string", "format": "uuid"},
            "file": {"type": "string", "format": "binary"},
            "size": {"type": "integer", "description": "Checked, where it is given."},
            "sha256": {"type": "string", "description": "In hex; checked, where it is given."},
        },
    },
    "application/octet-stream": {"type": "string", "format": "binary"},
}
OF_A_RAW_BODY = [
    OpenApiParameter("workspace_id", OpenApiTypes.UUID, description="With the file as the body."),
    OpenApiParameter("filename", str, description="With the file as the body: its name."),
    OpenApiParameter("size", int, description="With the file as the body; checked."),
    OpenApiParameter("sha256", str, description="With the file as the body: in hex; checked."),
]


class MediaFiles(TenantView):
    """Keep files to send."""

    @MEDIA.operation(
        "upload_media",
        "Brought a file to send",
        scope=Scope.MESSAGES_SEND,
        says="As a form with the part `file`, or as the body itself with its own `Content-Type`. "
        "The `media_id` is for any send of the tenant; the same file has the same.",
        takes=FORM,
        parameters=OF_A_RAW_BODY,
        answers={201: (KeptFile, "It is kept.")},
        refused=(413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        """Keep a file."""
        came = came_with(request)
        kept = keep(came, now=clock.now())
        file = came.file
        shown = KeptFile(str(kept.id), file.mime_type, file.size, file.sha256)
        return answer(shown, status=201)


class OneMediaFile(TenantView):
    """One file to send."""

    @MEDIA.operation(
        "read_media",
        "Read how far a file is on its way",
        scope=Scope.MESSAGES_SEND,
        says="For each number: whether the platform has it, how many bytes of it, and what is in "
        "the way.",
        parameters=[MEDIA_ID],
        answers={200: (FileToSend, "The file.")},
        refused=(404,),
    )
    def get(self, request: Request, media_id: UUID) -> FileToSend:
        """Read one."""
        now = clock.now()
        found: FileToSend | None = self.act(
            lambda tenant_id: upload_queries.read(tenant_id=tenant_id, upload_id=media_id, now=now)
        )
        if found is None:
            raise NotFound(MISSING)
        return found

    @MEDIA.operation(
        "delete_media",
        "Remove a file",
        scope=Scope.MESSAGES_SEND,
        says="The platform forgets what it was given of it after 30 days.",
        parameters=[MEDIA_ID],
        answers={204: (None, "It is gone.")},
        refused=(404, 409),
    )
    def delete(self, request: Request, media_id: UUID) -> Response:
        """Remove one."""
        now = clock.now()
        try:
            self.act(
                lambda tenant_id: files.remove(tenant_id=tenant_id, upload_id=media_id, now=now)
            )
        except UnableToSend as refusal:
            if refusal.code == SendErrorCode.MEDIA_NOT_FOUND:
                raise NotFound(str(refusal)) from None
            raise
        return Response(status=204)
