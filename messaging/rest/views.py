"""``/api/v1/messages``: each view reads, makes one call as the tenant, and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404
from django.utils import timezone
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from messaging import queries, sealed_values
from messaging.related import Related
from messaging.rest import documented, failures
from messaging.rest.shapes import (
    Accepted,
    ButtonShape,
    Done,
    MessageShape,
    PaymentShape,
    PreflightShape,
    PreviewShape,
    ReadInput,
    TemplateShape,
    WarningShape,
)
from messaging.sending import accepting, preflight, reading, reads
from messaging.sending.preflight import Preflight
from messaging.sending.refusals import Malformed, SendErrorCode, UnableToSend
from messaging.sending.requests import SendRequest
from templates_wa.models import Template
from templates_wa.rendering import Preview
from workspaces.access import Actor
from workspaces.requests import actor_of
from workspaces.scope import tenant_scope
from workspaces.scopes import Scope

MAX_BYTES = 200_000


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

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Find out who asks before anything is parsed."""
        super().initial(request, *args, **kwargs)
        self.actor = actor_of(request._request, now=timezone.now())
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
        with tenant_scope(self.actor.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
            return work(self.actor.tenant_id)


class Messages(TenantView):
    """Send messages."""

    @documented.SEND
    def post(self, request: Request) -> Response:
        """Accept one message."""
        self.actor.require(Scope.MESSAGES_SEND)
        wanted, now = _request_of(self.actor, request), timezone.now()
        queued = self.act(
            lambda tenant_id: accepting.queue(tenant_id=tenant_id, request=wanted, now=now)
        )
        return _answer(Accepted(**queued._asdict()), status=200 if queued.is_repeat else 201)


class PreflightView(TenantView):
    """Ask before sending."""

    @documented.PREFLIGHT
    def post(self, request: Request) -> Response:
        """Tell what would become of a message."""
        self.actor.require(Scope.MESSAGES_SEND)
        wanted, now = _request_of(self.actor, request), timezone.now()
        found = self.act(
            lambda tenant_id: _shown(
                preflight.preflight(tenant_id=tenant_id, request=wanted, now=now)
            )
        )
        return _answer(found)


class OneMessage(TenantView):
    """One message."""

    @documented.MESSAGE
    def get(self, request: Request, message_id: UUID) -> Response:
        """Read a message."""
        self.actor.require(Scope.MESSAGES_READ)
        with_numbers = self.actor.may(Scope.RAW_READ)
        return _answer(self.act(lambda tenant_id: _message(tenant_id, message_id, with_numbers)))


class Cancellation(TenantView):
    """Take messages back."""

    @documented.CANCEL
    def post(self, request: Request, message_id: UUID) -> Response:
        """Take back a message that waits to be sent."""
        self.actor.require(Scope.MESSAGES_SEND)
        now = timezone.now()
        cancelled = self.act(
            lambda tenant_id: accepting.cancel(tenant_id=tenant_id, message_id=message_id, now=now)
        )
        return _answer(Accepted(**cancelled._asdict()))


class MarkRead(TenantView):
    """Mark messages as read."""

    @documented.READ
    def post(self, request: Request, message_id: UUID) -> Response:
        """Show a person that their message was read."""
        self.actor.require(Scope.MESSAGES_SEND)
        try:
            wanted = msgspec.convert(_object_of(request), ReadInput)
        except msgspec.ValidationError as error:
            raise reading.malformed(error) from None
        now = timezone.now()
        self.act(
            lambda tenant_id: reads.mark(
                tenant_id=tenant_id, message_id=message_id, typing=wanted.typing, now=now
            )
        )
        return _answer(Done())


def _request_of(actor: Actor, request: Request) -> SendRequest:
    given = dict(_object_of(request))
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


def _object_of(request: Request) -> Mapping[str, Any]:
    given = request.data
    if not isinstance(given, Mapping):
        raise Malformed(SendErrorCode.INVALID_INPUT, None, "The body must be a JSON object.")
    return given


def _answer(shape: msgspec.Struct, *, status: int = 200) -> Response:
    return Response(msgspec.to_builtins(shape, builtin_types=(Decimal,)), status=status)


def _message(tenant_id: UUID, message_id: UUID, with_numbers: bool) -> MessageShape:
    row = queries.find(tenant_id=tenant_id, message_id=message_id)
    if row is None:
        raise UnableToSend(
            SendErrorCode.MESSAGE_NOT_FOUND, None, "Your tenant has no message with this id."
        )
    related = Related(tenant_id, [row])
    opened = related.opened
    content = opened.fill(row.id, sealed_values.decode(row.content), with_numbers=with_numbers)
    said = {
        "text": opened.text_of(row),
        "content": content,
        "delivery": related.delivery_of(row),
        "payments": [PaymentShape(**one._asdict()) for one in related.payments(row)],
    }
    fields = {name: getattr(row, name, None) for name in MessageShape.__struct_fields__}
    return MessageShape(**{**fields, **said})


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
        template=_template(found.template) if found.template else None,
        preview=_preview(found.preview) if found.preview else None,
    )


def _template(row: Template) -> TemplateShape:
    return TemplateShape(**{name: getattr(row, name) for name in TemplateShape.__struct_fields__})


def _preview(seen: Preview) -> PreviewShape:
    return PreviewShape(
        header=seen.header,
        body=seen.body,
        footer=seen.footer,
        buttons=[ButtonShape(kind=b.kind, text=b.text, target=b.target) for b in seen.buttons],
        cards=[_preview(card) for card in seen.cards],
    )
