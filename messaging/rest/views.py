"""``/api/v1/messages``: each view reads, makes one call as the tenant, and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from lib import clock
from messaging import lookups, media, queries, sealed_values, uploads
from messaging.models import Media
from messaging.queries import MessageRow
from messaging.related import Related
from messaging.rest import failures, forms, intake
from messaging.rest.intake import Brought
from messaging.rest.openapi import JSON, Operations, answer
from messaging.rest.shapes import (
    Accepted,
    Done,
    MediaShape,
    MessageShape,
    PaymentShape,
    PreflightShape,
    PreviewShape,
    ReadInput,
    TemplateShape,
    WarningShape,
)
from messaging.sending import preflight, queueing, reading, reads
from messaging.sending.preflight import Preflight
from messaging.sending.reading import SendInput
from messaging.sending.refusals import Malformed, SendErrorCode, UnableToSend
from messaging.sending.requests import SendRequest
from workspaces.access import Actor, Scope, actor_of
from workspaces.acting import as_tenant

MAX_BYTES = 200_000
Body = TypeVar("Body", bound=msgspec.Struct)
MESSAGES = Operations(
    tag="messages",
    refusals={
        400: "The request is malformed: not JSON, an unknown field, a wrong type.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such message or conversation.",
        409: "The key was used for another request, or the message is no longer queued.",
        413: "The file is larger than WhatsApp allows for its type.",
        415: "The body is neither JSON nor a form, or WhatsApp takes no files of this type.",
        422: "Refused; `code` says why.",
        429: "The caller was told of too many phone numbers; `Retry-After` says when to go on.",
        503: "The database is away; try again.",
    },
    always=(400, 401, 403, 503),
)
KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 128 characters. The same key and request have their effect once; another "
    "request under the same key is a conflict (409).",
)
MESSAGE_ID = OpenApiParameter(
    "message_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The message's UUID."
)

CONVERSATION_ID = OpenApiParameter(
    "conversation_id",
    OpenApiTypes.UUID,
    OpenApiParameter.PATH,
    description="The conversation's UUID.",
)


class StrictParser(JSONParser):
    """Takes what the standard calls JSON, as GraphQL's door does: no NaN, no half characters, which
    no answer could name and no database could hold.
    """

    def parse(self, stream: IO[bytes], *_: object, **__: object) -> Any:
        """Return the value.

        Raises:
            rest_framework.exceptions.ParseError: it is not JSON.
        """
        try:
            return msgspec.json.decode(stream.read())
        except (msgspec.MsgspecError, UnicodeError):
            raise ParseError from None


class ExactRenderer(JSONRenderer):
    """Writes decimals in the form they came in."""

    _encoder = msgspec.json.Encoder(decimal_format="number")

    def render(self, data: Any, *_: object, **__: object) -> bytes:
        """Return JSON."""
        return self._encoder.encode(data)


class KnownFormats(DefaultContentNegotiation):
    """Refuses a ``?format=`` that there is not, as it does an ``Accept`` header."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:
        """Return the renderers of a format.

        Raises:
            rest_framework.exceptions.NotAcceptable: there is none.
        """
        try:
            return super().filter_renderers(renderers, format)
        except Http404:
            raise NotAcceptable from None


class TenantView(APIView):
    """A view for API keys and signed-in users, each acting for one tenant."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes: tuple[Any, ...] = (StrictParser,)
    renderer_classes: tuple[Any, ...] = (ExactRenderer,)
    content_negotiation_class = KnownFormats
    actor: Actor

    def perform_authentication(self, request: Request) -> None:
        """Find out who asks, before anything is parsed. The framework's own way would forget who is
        signed in.
        """
        self.actor = actor_of(request._request, now=clock.now())

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Refuse strangers, and bodies that are too large."""
        super().initial(request, *args, **kwargs)
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BYTES:
            raise RequestDataTooBig

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return failures.handle

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        """Keep answers out of caches."""
        response: Response = super().finalize_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def act(self, work: Callable[[UUID], Any]) -> Any:
        """Do something as the caller's tenant, in one transaction."""
        with as_tenant(self.actor.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
            return work(self.actor.tenant_id)


class Messages(TenantView):
    """Send messages."""

    @MESSAGES.operation(
        "send_message",
        "Send a message",
        scope=Scope.MESSAGES_SEND,
        says="Answers once the message is durable; it is sent right after, or at `scheduled_at`.",
        takes={JSON: SendInput, intake.FORM: forms.FORM},
        parameters=[KEY],
        answers={
            201: (Accepted, "Queued."),
            200: (Accepted, "Queued before, under the same key."),
        },
        refused=(409, 413, 415, 422, 429),
    )
    def post(self, request: Request) -> Response:
        """Queue one message."""
        if intake.brings(request):
            return self._send_file(request, intake.came_with(request))
        return self._send(_request_of(self.actor, request, object_of(request)))

    def _send_file(self, request: Request, form: Brought) -> Response:
        """Keep a form's file and send it; without a message it goes, unless it was kept before."""
        now, tenant_id = clock.now(), self.actor.tenant_id
        kept = intake.keep(form, now=now)
        try:
            given = forms.send_in(form, str(kept.id))
            return self._send(_request_of(self.actor, request, given))
        except Exception:
            if kept.is_new:
                uploads.discard(tenant_id=tenant_id, upload_id=kept.id, unless_used_since=now)
            raise

    def _send(self, wanted: SendRequest) -> Response:
        now = clock.now()
        with lookups.counted(self.actor, wanted):
            queued = self.act(
                lambda tenant_id: queueing.queue(tenant_id=tenant_id, request=wanted, now=now)
            )
        return answer(Accepted(**queued._asdict()), status=200 if queued.is_repeat else 201)


class PreflightView(TenantView):
    """Ask before sending."""

    @MESSAGES.operation(
        "preflight_message",
        "Ask what would become of a message",
        scope=Scope.MESSAGES_SEND,
        says="Takes what sending takes, and writes nothing. One to a phone number counts as asking "
        "who has it.",
        takes=SendInput,
        parameters=[KEY],
        answers={200: (PreflightShape, "What would happen.")},
        refused=(429,),
    )
    def post(self, request: Request) -> PreflightShape:
        """Tell what would become of a message."""
        wanted, now = _request_of(self.actor, request, object_of(request)), clock.now()
        lookups.count_preflight(self.actor, wanted)
        found: PreflightShape = self.act(
            lambda tenant_id: _shown(
                preflight.preflight(tenant_id=tenant_id, request=wanted, now=now)
            )
        )
        return found


class OneMessage(TenantView):
    """One message."""

    @MESSAGES.operation(
        "read_message",
        "Read a message",
        scope=Scope.MESSAGES_READ,
        parameters=[MESSAGE_ID],
        answers={200: (MessageShape, "The message.")},
        refused=(404,),
    )
    def get(self, request: Request, message_id: UUID) -> MessageShape:
        """Read a message."""
        found: MessageShape = self.act(
            lambda tenant_id: _message(tenant_id, message_id, self.actor)
        )
        return found


class Cancellation(TenantView):
    """Take messages back."""

    @MESSAGES.operation(
        "cancel_message",
        "Take back a message that waits to be sent",
        scope=Scope.MESSAGES_SEND,
        parameters=[MESSAGE_ID],
        answers={200: (Accepted, "It will not be sent.")},
        refused=(404, 409),
    )
    def post(self, request: Request, message_id: UUID) -> Accepted:
        """Take back a message that waits to be sent."""
        now = clock.now()
        cancelled = self.act(
            lambda tenant_id: queueing.cancel(tenant_id=tenant_id, message_id=message_id, now=now)
        )
        return Accepted(**cancelled._asdict())


class MarkRead(TenantView):
    """Mark messages as read."""

    @MESSAGES.operation(
        "mark_message_read",
        "Show a person that their message was read",
        scope=Scope.MESSAGES_SEND,
        says="What was written before counts as read too.",
        takes=ReadInput,
        parameters=[MESSAGE_ID],
        answers={200: (Done, "The platform will be told.")},
        refused=(404, 422),
    )
    def post(self, request: Request, message_id: UUID) -> Done:
        """Show a person that their message was read."""
        typing, now = body_of(request, ReadInput).typing, clock.now()
        self.act(
            lambda tenant_id: reads.mark(
                tenant_id=tenant_id, message_id=message_id, typing=typing, now=now
            )
        )
        return Done()


class MarkConversationRead(TenantView):
    """Mark all that a person wrote as read."""

    @MESSAGES.operation(
        "mark_conversation_read",
        "Show a person that all they wrote was read",
        scope=Scope.MESSAGES_SEND,
        takes=ReadInput,
        parameters=[CONVERSATION_ID],
        answers={200: (Done, "The platform will be told.")},
        refused=(404, 422),
    )
    def post(self, request: Request, conversation_id: UUID) -> Done:
        """Show a person that all they wrote was read."""
        typing, now = body_of(request, ReadInput).typing, clock.now()
        self.act(
            lambda tenant_id: reads.mark(
                tenant_id=tenant_id,
                message_id=reads.last_written(tenant_id=tenant_id, conversation_id=conversation_id),
                typing=typing,
                now=now,
            )
        )
        return Done()


def _request_of(actor: Actor, request: Request, sent: Mapping[str, Any]) -> SendRequest:
    given = dict(sent)
    key = request.headers.get("Idempotency-Key")
    if key is not None and given.setdefault("idempotency_key", key) != key:
        raise Malformed(
            SendErrorCode.INVALID_INPUT,
            "idempotency_key",
            "The header Idempotency-Key and the field idempotency_key differ.",
        )
    if given.get("force"):
        actor.require(Scope.SENDING_MANAGE)
    return reading.request_of(given)


def object_of(request: Request) -> Mapping[str, Any]:
    """Return the body.

    Raises:
        messaging.sending.refusals.Malformed: it is not a JSON object.
    """
    given = request.data
    if not isinstance(given, Mapping):
        raise Malformed(SendErrorCode.INVALID_INPUT, None, "The body must be a JSON object.")
    return given


def body_of(request: Request, struct: type[Body]) -> Body:
    """Return the body, read into a struct.

    Raises:
        messaging.sending.refusals.Malformed: it is not of that form.
    """
    try:
        return msgspec.convert(object_of(request), struct)
    except msgspec.ValidationError as error:
        raise reading.malformed(error) from None


def _message(tenant_id: UUID, message_id: UUID, actor: Actor) -> MessageShape:
    row = queries.find(tenant_id=tenant_id, message_id=message_id)
    if row is None:
        raise UnableToSend(
            SendErrorCode.MESSAGE_NOT_FOUND, None, "Your tenant has no message with this id."
        )
    return message_shape(row, Related(tenant_id, [row]), actor)


def message_shape(row: MessageRow, related: Related, actor: Actor) -> MessageShape:
    """Return what somebody is shown of a message."""
    opened, conversation = related.opened, related.conversation_of(row)
    with_numbers = actor.may(Scope.RAW_READ)
    content = opened.fill(row.id, sealed_values.decode(row.content), with_numbers=with_numbers)
    file = related.media.get(row.id)
    said = {
        "conversation_id": conversation and conversation.row.id,
        "text": opened.text_of(row),
        "content": content,
        "delivery": related.delivery_of(row, with_numbers=with_numbers),
        "payments": [PaymentShape(**one._asdict()) for one in related.payments(row)],
        "media": file and _file(file, actor),
    }
    fields = {name: getattr(row, name, None) for name in MessageShape.__struct_fields__}
    return MessageShape(**{**fields, **said})


def _file(file: Media, actor: Actor) -> MediaShape:
    may_load = actor.may(Scope.MEDIA_READ)
    fields: dict[str, Any] = {n: getattr(file, n, None) for n in MediaShape.__struct_fields__}
    can_load = may_load and media.can_be_had(file)
    fields["download_url"] = media.download_url(file) if can_load else None
    fields["thumbnail_url"] = media.thumbnail_url(file) if may_load else None
    return MediaShape(**fields)


def _shown(found: Preflight) -> PreflightShape:
    return PreflightShape(
        would=found.would.value,
        problems=[reason for one in found.problems for reason in failures.reasons_of(one)],
        warnings=[
            WarningShape(code=w.code.value, message=w.message, platform_code=w.platform_code)
            for w in found.warnings
        ],
        message_id=found.message_id,
        window_open_until=found.window_open_until,
        earliest_at=found.earliest_at,
        template=msgspec.convert(found.template, TemplateShape | None, from_attributes=True),
        preview=msgspec.convert(found.preview, PreviewShape | None, from_attributes=True),
    )
