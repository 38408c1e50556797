"""``/api/v1/templates``: submit templates for review, edit and read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from lib import clock
from lib.graphql import BadInput, NotFound
from messaging.rest import failures
from messaging.rest.openapi import Operations, answer
from messaging.rest.shapes import Failure, Reason, Refusal
from messaging.rest.views import TenantView, object_of
from templates_wa import management
from templates_wa.management import TemplateErrorCode, TemplateRefusal, UnableToManage
from templates_wa.models import Template
from workspaces.access import Scope
from workspaces.channel_facts import TemplateDraft

Wanted = TypeVar("Wanted", bound=Struct)
# What a refusal means over HTTP; the others are 422.
STATUSES = {
    TemplateErrorCode.TEMPLATE_NOT_FOUND: 404,
    TemplateErrorCode.WORKSPACE_NOT_FOUND: 404,
    TemplateErrorCode.DUPLICATE: 409,
    TemplateErrorCode.NOT_EDITABLE: 409,
    TemplateErrorCode.OUTCOME_UNKNOWN: 502,
    TemplateErrorCode.PLATFORM_THROTTLED: 503,
    TemplateErrorCode.PLATFORM_UNAVAILABLE: 503,
}
TEMPLATES = Operations(
    tag="templates",
    refusals={
        400: "The request is malformed: not JSON, an unknown field, a wrong type.",
        401: "No key, or not a valid one.",
        403: "A scope is missing.",
        404: "Your tenant has no such template or workspace.",
        409: "There is one of this name and language, or its status does not allow it.",
        422: "Refused; `code` says why.",
        502: "Meta gave no answer: it may be done, and a sync finds out.",
        503: "Meta, the database or the storage is away; nothing was done, try again.",
    },
    always=(400, 401, 403, 503),
)
TEMPLATE_ID = OpenApiParameter(
    "template_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The template's UUID."
)
Components = Annotated[
    list[dict[str, Any]],
    Meta(
        description="Its components, as Meta's JSON; a header of a file has `media: {id}`, the "
        "`media_id` that `POST /api/v1/media` answered, in place of `example`."
    ),
]
Seconds = Annotated[
    int | None, Meta(description="For how long WhatsApp shall try to deliver it, in seconds.")
]


class TemplateInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The template to submit for review."""

    workspace_id: Annotated[UUID, Meta(description="A workspace of the account.")]
    name: Annotated[str, Meta(description="1 to 512 of a-z, 0-9 and _.")]
    language: Annotated[str, Meta(description="Such as en or en_US.")]
    category: Annotated[str, Meta(description="MARKETING, UTILITY or AUTHENTICATION.")]
    components: Components
    parameter_format: Annotated[
        str, Meta(description="POSITIONAL ({{1}}) or NAMED ({{first_name}}).")
    ] = "POSITIONAL"
    ttl_seconds: Seconds = None


class TemplateChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a template shall become; Meta reviews it again."""

    components: Components
    ttl_seconds: Seconds = None


class MessageTemplateShape(Struct, frozen=True, kw_only=True):
    """A message template in one language. Status, category and quality are Meta's words."""

    id: Annotated[UUID, Meta(description="The template's UUID.")]
    waba_id: Annotated[str, Meta(description="Meta's id of its account (WABA).")]
    platform_template_id: Annotated[str, Meta(description="Meta's id of it.")]
    name: Annotated[str, Meta(description="Its name.")]
    language: Annotated[str, Meta(description="Its language, such as en_US.")]
    status: Annotated[str, Meta(description="APPROVED, PENDING, REJECTED, PAUSED …")]
    category: Annotated[str, Meta(description="MARKETING, UTILITY or AUTHENTICATION.")]
    quality: Annotated[str, Meta(description="GREEN, YELLOW, RED or UNKNOWN, or empty.")]
    rejected_reason: Annotated[str, Meta(description="Why Meta rejected it.")]
    parameter_format: Annotated[str, Meta(description="POSITIONAL or NAMED.")]
    components: Annotated[list[Any], Meta(description="Its components, as Meta's JSON.")]
    ttl_seconds: Seconds
    synced_at: Annotated[datetime, Meta(description="When it was last read from Meta.")]


class TemplateView(TenantView):
    """A view whose refusals are those of templates. Meta is asked outside any transaction."""

    def get_exception_handler(self) -> Callable[[Exception, object], Response]:
        """Answer every refusal in one shape."""
        return _handle


class Templates(TemplateView):
    """Templates of the tenant."""

    @TEMPLATES.operation(
        "create_template",
        "Submit a template to Meta for review",
        scope=Scope.TEMPLATES_WRITE,
        takes=TemplateInput,
        answers={201: (MessageTemplateShape, "It is under review.")},
        refused=(404, 409, 422, 502),
    )
    def post(self, request: Request) -> Response:
        """Submit a template."""
        wanted = _read(request, TemplateInput)
        draft = TemplateDraft(
            wanted.name,
            wanted.language,
            wanted.category.upper(),
            tuple(wanted.components),
            wanted.parameter_format.upper(),
            wanted.ttl_seconds,
        )
        made = management.create(
            tenant_id=self.actor.tenant_id,
            workspace_id=wanted.workspace_id,
            draft=draft,
            now=clock.now(),
        )
        return answer(_shown(made), status=201)


class OneTemplate(TemplateView):
    """One template."""

    @TEMPLATES.operation(
        "read_template",
        "Read a template as last synced",
        scope=Scope.TEMPLATES_READ,
        parameters=[TEMPLATE_ID],
        answers={200: (MessageTemplateShape, "The template.")},
        refused=(404,),
    )
    def get(self, request: Request, template_id: UUID) -> MessageTemplateShape:
        """Read it."""
        row: Template | None = self.act(
            lambda tenant_id: Template.objects.filter(
                tenant_id=tenant_id, pk=template_id, deleted_at=None
            ).first()
        )
        if row is None:
            raise NotFound("Your tenant has no template with this id.")
        return _shown(row)

    @TEMPLATES.operation(
        "edit_template",
        "Replace a template's components; Meta reviews it again",
        scope=Scope.TEMPLATES_WRITE,
        takes=TemplateChange,
        parameters=[TEMPLATE_ID],
        answers={200: (MessageTemplateShape, "It is under review again.")},
        refused=(404, 409, 422, 502),
    )
    def patch(self, request: Request, template_id: UUID) -> MessageTemplateShape:
        """Submit what it shall become."""
        wanted = _read(request, TemplateChange)
        return _shown(
            management.edit(
                tenant_id=self.actor.tenant_id,
                template_id=template_id,
                components=wanted.components,
                ttl_seconds=wanted.ttl_seconds,
                now=clock.now(),
            )
        )


def _read(request: Request, struct: type[Wanted]) -> Wanted:
    try:
        return msgspec.convert(object_of(request), struct)
    except msgspec.ValidationError as error:
        raise BadInput(str(error)) from None


def _shown(row: Template) -> MessageTemplateShape:
    return msgspec.convert(row, MessageTemplateShape, from_attributes=True)


def _handle(error: Exception, context: object) -> Response:
    if not isinstance(error, UnableToManage):
        return failures.handle(error, context)
    first, *others = (_reason(one) for one in error.refusals)
    status = STATUSES.get(error.refusals[0].code, 422)
    why = Refusal(**msgspec.structs.asdict(first), others=others)
    response = Response(msgspec.to_builtins(Failure(error=why)), status=status)
    if status == 503:
        response["Retry-After"] = str(failures.RETRY_SECONDS)
    return response


def _reason(refusal: TemplateRefusal) -> Reason:
    details = f" {refusal.details}" if refusal.details else ""
    return Reason(
        code=refusal.code.value,
        field=refusal.field and refusal.field.replace("workspaceId", "workspace_id"),
        message=f"{refusal.message}{details}",
        platform_code=refusal.platform_code,
        retryable=STATUSES.get(refusal.code) == 503,
    )
