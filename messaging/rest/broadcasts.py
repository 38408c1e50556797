"""``/api/v1/broadcasts``: a list goes in as CSV, what became of its rows comes out as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import sync_to_async
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import UNSET
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from lib import clock
from messaging.broadcasts import audience, lifecycle, outcomes, queries
from messaging.broadcasts.audience import ListReport, UnusableRows
from messaging.broadcasts.refusals import BroadcastErrorCode, UnableToBroadcast
from messaging.broadcasts.rows import ListedPerson, RowProblem, UnusableRow, make
from messaging.broadcasts.states import missing
from messaging.rest import failures
from messaging.rest.openapi import JSON, Operations, answer
from messaging.rest.shapes import (
    ListedInput,
    ListFailure,
    ListReportShape,
    RecipientsInput,
    Retried,
    RetryInput,
)
from messaging.rest.views import StrictParser, TenantView
from workspaces.access import Scope
from workspaces.acting import as_tenant

# What a refusal means over HTTP; the others are 422.
STATUSES = {
    BroadcastErrorCode.NOT_FOUND: 404,
    BroadcastErrorCode.WRONG_STATE: 409,
    BroadcastErrorCode.TOO_MANY_RECIPIENTS: 413,
}
HOW = "Send the file as the body (Content-Type: text/csv), or as the part file of a form; or JSON."
TRUE = frozenset({"1", "true", "yes"})


BROADCASTS = Operations(
    tag="broadcasts",
    refusals={
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such broadcast.",
        409: "The broadcast's state does not allow it: of a started one the list is frozen.",
        413: "The list is longer than allowed.",
        415: "Neither CSV, a form nor JSON.",
        422: "Refused; `code` says why.",
        503: "The database is away; try again.",
    },
    always=(401, 403, 404, 503),
)
BROADCAST_ID = OpenApiParameter(
    "broadcast_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The broadcast's UUID."
)
SKIP_INVALID = OpenApiParameter(
    "skip_invalid",
    bool,
    OpenApiParameter.QUERY,
    description="Leave lines out that cannot be taken, instead of refusing the file.",
)
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
    "required": ["file"],
}


class InMemory(MemoryFileUploadHandler):
    """Keeps an upload in memory whatever its size: Django's other handler would write the numbers
    into a file. The receiver bounds how much of bodies is in memory at a time.
    """

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        """Take every file."""
        self.activated = True


class CsvParser(BaseParser):
    """A body that is the file itself."""

    media_type = "text/csv"

    def parse(self, stream: Any, *args: Any, **kwargs: Any) -> bytes:
        """Return the bytes."""
        content: bytes = stream.read()
        return content


class CsvRenderer(BaseRenderer):
    """Lets a caller ask for text/csv; refusals are JSON all the same."""

    media_type, format, charset = "text/csv", "csv", "utf-8"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        """Return a refusal."""
        written: bytes = JSONRenderer().render(data)
        return written


class BroadcastView(TenantView):
    """A view of one broadcast."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return _handle


class Recipients(BroadcastView):
    """The list of a broadcast."""

    parser_classes = (CsvParser, MultiPartParser, StrictParser)

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Find out who asks before anything is parsed; a list may be large."""
        request._request.upload_handlers = [InMemory(request._request)]
        APIView.initial(self, request, *args, **kwargs)

    @BROADCASTS.operation(
        "upload_recipients",
        "Make a CSV file the list of a broadcast",
        scope=Scope.BROADCASTS_WRITE,
        says="Only before the broadcast is started. The file replaces the list. UTF-8, with a "
        "header: `phone` or `user_id`, `reference`, and the template's values. JSON adds up to "
        "1,000 people behind those that the list has.",
        takes={"text/csv": str, "multipart/form-data": FORM, JSON: RecipientsInput},
        parameters=[BROADCAST_ID, SKIP_INVALID],
        answers={
            200: (ListReportShape, "The file is the list now."),
            422: (
                ListFailure,
                "The list cannot be taken; `report` says which lines, and nothing was stored.",
            ),
        },
        refused=(409, 413, 415),
    )
    def post(self, request: Request, broadcast_id: UUID) -> ListReportShape:
        """Make a CSV file the list of a broadcast, or add the people of a JSON body."""
        if (request.content_type or "").startswith(JSON):
            return self._add(request, broadcast_id)
        content = _content(request)
        skip_invalid = request.query_params.get("skip_invalid", "").lower() in TRUE
        # Not self.act: storing a long list takes longer than a statement of a request may.
        with as_tenant(self.actor.tenant_id):
            report = audience.replace(
                tenant_id=self.actor.tenant_id,
                broadcast_id=broadcast_id,
                content=content,
                skip_invalid=skip_invalid,
            )
        return _shown(report)

    def _add(self, request: Request, broadcast_id: UUID) -> ListReportShape:
        try:
            given = msgspec.convert(request.data, RecipientsInput)
        except msgspec.ValidationError as error:
            code = BroadcastErrorCode.INVALID_INPUT
            raise UnableToBroadcast(code, "recipients", str(error)) from None
        rows = [_row(place, one) for place, one in enumerate(given.recipients, start=1)]
        # Not self.act: storing many takes longer than a statement of a request may.
        with as_tenant(self.actor.tenant_id):
            report = audience.append(
                tenant_id=self.actor.tenant_id, broadcast_id=broadcast_id, rows=rows
            )
        return _shown(report)


class Retrying(BroadcastView):
    """Sending again what failed."""

    @BROADCASTS.operation(
        "retry_failed",
        "Send again to the people whose messages failed",
        scope=Scope.BROADCASTS_WRITE,
        says="The broadcast runs, is paused or was completed; it goes on by itself. Nobody is "
        "written to again whose message did not fail.",
        takes=RetryInput,
        parameters=[BROADCAST_ID],
        answers={200: (Retried, "They are pending again.")},
        refused=(409, 422),
    )
    def post(self, request: Request, broadcast_id: UUID) -> Retried:
        """Send again to the people whose messages failed."""
        try:
            wanted = msgspec.convert(request.data or {}, RetryInput)
        except msgspec.ValidationError as error:
            raise UnableToBroadcast(BroadcastErrorCode.INVALID_INPUT, "codes", str(error)) from None
        # Not self.act: taking back a long list takes longer than a statement of a request may.
        with as_tenant(self.actor.tenant_id):
            broadcast, count = lifecycle.retry_failed(
                tenant_id=self.actor.tenant_id,
                broadcast_id=broadcast_id,
                codes=wanted.codes,
                now=clock.now(),
            )
        return Retried(count=count, state=str(broadcast.state))


class Outcomes(BroadcastView):
    """What became of the rows."""

    renderer_classes = (JSONRenderer, CsvRenderer)

    @BROADCASTS.operation(
        "read_outcomes",
        "What became of every row, as CSV",
        scope=Scope.BROADCASTS_READ,
        says="Numbers are masked unless the key has `raw:read`, too.",
        parameters=[BROADCAST_ID],
        answers={(200, "text/csv"): (str, "One line per row, in the order of the list.")},
    )
    def get(self, request: Request, broadcast_id: UUID) -> HttpResponseBase:
        """Stream the rows of a broadcast with what became of each."""
        broadcast = self.act(
            lambda tenant_id: queries.find(tenant_id=tenant_id, broadcast_id=broadcast_id)
        )
        if broadcast is None:
            raise missing()
        rows = outcomes.as_csv(broadcast, in_full=Scope.RAW_READ in self.actor.scopes)
        disposition = f'attachment; filename="broadcast-{broadcast.id}.csv"'
        is_asgi = isinstance(request._request, ASGIRequest)
        return StreamingHttpResponse(
            _one_by_one(rows) if is_asgi else rows,
            headers={"Content-Type": "text/csv", "Content-Disposition": disposition},
        )


async def _one_by_one(rows: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Make a page when the one before is sent: Django would collect a plain iterator first."""
    following = sync_to_async(lambda: next(rows, None))
    while (page := await following()) is not None:
        yield page


def _row(position: int, given: ListedInput) -> ListedPerson | RowProblem:
    """Return a given recipient as a row, or as what is wrong with it."""
    try:
        return make(
            position,
            phone=given.phone,
            user_id=given.user_id,
            reference=given.reference,
            parameters=given.template_parameters,
        )
    except UnusableRow as error:
        return error.at(position)


def _content(request: Request) -> bytes:
    """Return the file: the body itself, or the part ``file`` of a form."""
    given = request.data
    if isinstance(given, bytes):
        return given
    file = request.FILES.get("file")
    if file is None:
        raise UnableToBroadcast(BroadcastErrorCode.INVALID_INPUT, "file", HOW)
    content: bytes = file.read()
    return content


def _handle(error: Exception, context: object) -> Response:
    if isinstance(error, UnsupportedMediaType):
        return _refuse(UnableToBroadcast(BroadcastErrorCode.INVALID_INPUT, "file", HOW), 415)
    if isinstance(error, UnableToBroadcast):
        return _refuse(error, STATUSES.get(error.code, 422))
    return failures.handle(error, context)


def _refuse(error: UnableToBroadcast, status: int) -> Response:
    refusal = failures.refusal(error.code.value, error.message, field=error.field)
    report = _shown(error.report) if isinstance(error, UnusableRows) else UNSET
    return answer(ListFailure(error=refusal, report=report), status=status)


def _shown(report: ListReport) -> ListReportShape:
    return msgspec.convert(report, ListReportShape, from_attributes=True)
