"""What OpenAPI says of each operation. The shapes are those that requests are read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from messaging.rest.shapes import Accepted, Done, Failure, MessageShape, PreflightShape, ReadInput
from messaging.sending.reading import SendInput

View = TypeVar("View", bound=Callable[..., Any])
SHAPES: tuple[type[msgspec.Struct], ...] = (
    SendInput, ReadInput, Accepted, MessageShape, Done, PreflightShape, Failure,
)  # fmt: skip
REFUSALS = {
    400: "The request is malformed: not JSON, an unknown field, a wrong type.",
    401: "No key, or not a valid one.",
    403: "A scope is missing.",
    404: "Your tenant has no such message.",
    409: "The key was used for another request, or the message is no longer queued.",
    422: "Refused; `code` says why.",
    503: "The database is away; try again.",
}
KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER,
    description="1 to 128 characters. The same key and request have their effect once; another "
    "request under the same key is a conflict (409).",
)  # fmt: skip
MESSAGE_ID = OpenApiParameter(
    "message_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The message's UUID."
)


def _reference(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _answers(shape: type[msgspec.Struct], *refusals: int, **said: str) -> Mapping[Any, Any]:
    found: dict[Any, Any] = {
        (int(status[1:]), "application/json"): OpenApiResponse(_reference(shape), description)
        for status, description in said.items()
    }
    for status in (400, 401, 403, *refusals, 503):
        answer = OpenApiResponse(_reference(Failure), REFUSALS[status])
        found[status, "application/json"] = answer
    return found


def _operation(name: str, summary: str, **more: Any) -> Callable[[View], View]:
    described: Callable[[View], View] = extend_schema(
        operation_id=name, summary=summary, tags=["messages"], **more
    )
    return described


SEND = _operation(
    "send_message", "Send a message",
    description="Needs `messages:send`. Answers once the message is durable; it is sent right "
    "after, or at `scheduled_at`.",
    request={"application/json": _reference(SendInput)}, parameters=[KEY],
    responses=_answers(
        Accepted, 409, 422, s201="Accepted.", s200="Accepted before, under the same key."
    ),
)  # fmt: skip
PREFLIGHT = _operation(
    "preflight_message", "Ask what would become of a message",
    description="Needs `messages:send`. Takes what sending takes, and writes nothing.",
    request={"application/json": _reference(SendInput)}, parameters=[KEY],
    responses=_answers(PreflightShape, s200="What would happen."),
)  # fmt: skip
MESSAGE = _operation(
    "read_message", "Read a message",
    description="Needs `messages:read`.", parameters=[MESSAGE_ID],
    responses=_answers(MessageShape, 404, s200="The message."),
)  # fmt: skip
CANCEL = _operation(
    "cancel_message", "Take back a message that waits to be sent",
    description="Needs `messages:send`.", request=None, parameters=[MESSAGE_ID],
    responses=_answers(Accepted, 404, 409, s200="It will not be sent."),
)  # fmt: skip
READ = _operation(
    "mark_message_read", "Show a person that their message was read",
    description="Needs `messages:send`. What was written before counts as read too.",
    request={"application/json": _reference(ReadInput)}, parameters=[MESSAGE_ID],
    responses=_answers(Done, 404, 422, s200="The platform will be told."),
)  # fmt: skip
