"""``/api/v1/media``: files to send."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from messaging.rest.intake import came_with, keep
from messaging.rest.openapi import Operations, answer
from messaging.rest.shapes import KeptFile
from messaging.rest.views import TenantView
from workspaces.access import Scope

MEDIA = Operations(
    tag="media",
    refusals={
        400: "The request is malformed: no file, a broken form, not the size or checksum it says.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
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
