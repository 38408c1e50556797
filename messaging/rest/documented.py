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
    SendInput,
    ReadInput,
    Accepted,
    MessageShape,
    Done,
    PreflightShape,
    Failure,
)
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
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 128 characters. The same key and request have their effect once; another "
    "request under the same key is a conflict (409).",
)
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


def _operation(tag: str, name: str, summary: str, **more: Any) -> Callable[[View], View]:
    described: Callable[[View], View] = extend_schema(
        operation_id=name, summary=summary, tags=[tag], **more
    )
    return described


SEND = _operation(
    "messages",
    "send_message",
    "Send a message",
    description="Needs `messages:send`. Answers once the message is durable; it is sent right "
    "after, or at `scheduled_at`.",
    request={"application/json": _reference(SendInput)},
    parameters=[KEY],
    responses=_answers(
        Accepted, 409, 422, s201="Accepted.", s200="Accepted before, under the same key."
    ),
)
PREFLIGHT = _operation(
    "messages",
    "preflight_message",
    "Ask what would become of a message",
    description="Needs `messages:send`. Takes what sending takes, and writes nothing.",
    request={"application/json": _reference(SendInput)},
    parameters=[KEY],
    responses=_answers(PreflightShape, s200="What would happen."),
)
MESSAGE = _operation(
    "messages",
    "read_message",
    "Read a message",
    description="Needs `messages:read`.",
    parameters=[MESSAGE_ID],
    responses=_answers(MessageShape, 404, s200="The message."),
)
CANCEL = _operation(
    "messages",
    "cancel_message",
    "Take back a message that waits to be sent",
    description="Needs `messages:send`.",
    request=None,
    parameters=[MESSAGE_ID],
    responses=_answers(Accepted, 404, 409, s200="It will not be sent."),
)
READ = _operation(
    "messages",
    "mark_message_read",
    "Show a person that their message was read",
    description="Needs `messages:send`. What was written before counts as read too.",
    request={"application/json": _reference(ReadInput)},
    parameters=[MESSAGE_ID],
    responses=_answers(Done, 404, 422, s200="The platform will be told."),
)

NUMBER, TEXT = {"type": "integer"}, {"type": "string"}


def _object(**properties: Mapping[str, object]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(item: Mapping[str, object]) -> dict[str, Any]:
    return {"type": "array", "items": item}


REPORT = _object(
    added={**NUMBER, "description": "How many people were added."},
    total={**NUMBER, "description": "How many the list has now."},
    duplicate_count={**NUMBER, "description": "How many rows name a person of an earlier row."},
    problem_count={**NUMBER, "description": "How many rows cannot be taken."},
    duplicates={
        **_list(_object(position=NUMBER, first=NUMBER)),
        "description": "The first hundred: the line, and the line of the same person.",
    },
    problems={
        **_list(_object(position=NUMBER, code=TEXT, message=TEXT)),
        "description": "The first hundred: the line, and what is wrong with it.",
    },
)
LIST_REFUSAL = {
    "allOf": [_reference(Failure), {"type": "object", "properties": {"report": REPORT}}]
}
BROADCAST_REFUSALS = {
    401: "No key, or not a valid one.",
    403: "A scope is missing.",
    404: "Your tenant has no such broadcast.",
    409: "The broadcast's state does not allow it: of a started one the list is frozen.",
    413: "The list is longer than allowed.",
    415: "Neither CSV nor a form.",
    422: "The list cannot be taken; `report` says which lines, and nothing was stored.",
    503: "The database is away; try again.",
}
BROADCAST_ID = OpenApiParameter(
    "broadcast_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The broadcast's UUID."
)
SKIP_INVALID = OpenApiParameter(
    "skip_invalid",
    bool,
    OpenApiParameter.QUERY,
    description="Leave lines out that cannot be taken, instead of refusing the file.",
)


def _broadcast_refusals(*statuses: int) -> Mapping[Any, Any]:
    return {
        (status, "application/json"): OpenApiResponse(
            LIST_REFUSAL if status == 422 else _reference(Failure), BROADCAST_REFUSALS[status]
        )
        for status in (401, 403, 404, *statuses, 503)
    }


RECIPIENTS = _operation(
    "broadcasts",
    "upload_recipients",
    "Make a CSV file the list of a broadcast",
    description="Needs `broadcasts:write`, before the broadcast is started. The file replaces the "
    "list. UTF-8, with a header: `phone` or `user_id`, `reference`, and the template's values.",
    parameters=[BROADCAST_ID, SKIP_INVALID],
    request={
        "text/csv": TEXT,
        "multipart/form-data": _object(file={**TEXT, "format": "binary"}),
    },
    responses={
        (200, "application/json"): OpenApiResponse(REPORT, "The file is the list now."),
        **_broadcast_refusals(409, 413, 415, 422),
    },
)
RETRY = _operation(
    "broadcasts",
    "retry_failed",
    "Send again to the people whose messages failed",
    description="Needs `broadcasts:write`, and a broadcast that runs, is paused or was completed. "
    "It goes on by itself. Nobody is written to again whose message did not fail.",
    parameters=[BROADCAST_ID],
    request={
        "application/json": {
            "type": "object",
            "properties": {
                "codes": {
                    **_list(NUMBER),
                    "description": "Only those that failed with one of these codes of Meta's.",
                }
            },
        }
    },
    responses={
        (200, "application/json"): OpenApiResponse(
            _object(
                count={**NUMBER, "description": "How many people are written to again."},
                state={**TEXT, "description": "The broadcast's state."},
            ),
            "They are pending again.",
        ),
        **_broadcast_refusals(409, 422),
    },
)
OUTCOMES = _operation(
    "broadcasts",
    "read_outcomes",
    "What became of every row, as CSV",
    description="Needs `broadcasts:read`. Numbers are masked unless the key has `raw:read`, too.",
    parameters=[BROADCAST_ID],
    responses={
        (200, "text/csv"): OpenApiResponse(TEXT, "One line per row, in the order of the list."),
        **_broadcast_refusals(),
    },
)
