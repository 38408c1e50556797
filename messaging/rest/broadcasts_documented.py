"""What OpenAPI says of the operations on broadcasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from messaging.rest.shapes import Failure

View = TypeVar("View", bound=Callable[..., Any])
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
FAILURE = {"$ref": f"#/components/schemas/{Failure.__name__}"}
REFUSAL = {"allOf": [FAILURE, {"type": "object", "properties": {"report": REPORT}}]}
REFUSALS = {
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
    "skip_invalid", bool, OpenApiParameter.QUERY,
    description="Leave lines out that cannot be taken, instead of refusing the file.",
)  # fmt: skip


def _refusals(*statuses: int) -> Mapping[Any, Any]:
    return {
        (status, "application/json"): OpenApiResponse(
            REFUSAL if status == 422 else FAILURE, REFUSALS[status]
        )
        for status in (401, 403, 404, *statuses, 503)
    }


def _operation(name: str, summary: str, **more: Any) -> Callable[[View], View]:
    described: Callable[[View], View] = extend_schema(
        operation_id=name, summary=summary, tags=["broadcasts"], **more
    )
    return described


RECIPIENTS = _operation(
    "upload_recipients", "Make a CSV file the list of a broadcast",
    description="Needs `broadcasts:write`, before the broadcast is started. The file replaces the "
    "list. UTF-8, with a header: `phone` or `user_id`, `reference`, and the template's values.",
    parameters=[BROADCAST_ID, SKIP_INVALID],
    request={
        "text/csv": TEXT,
        "multipart/form-data": _object(file={**TEXT, "format": "binary"}),
    },
    responses={
        (200, "application/json"): OpenApiResponse(REPORT, "The file is the list now."),
        **_refusals(409, 413, 415, 422),
    },
)  # fmt: skip
RETRY = _operation(
    "retry_failed", "Send again to the people whose messages failed",
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
        **_refusals(409, 422),
    },
)  # fmt: skip
OUTCOMES = _operation(
    "read_outcomes", "What became of every row, as CSV",
    description="Needs `broadcasts:read`. Numbers are masked unless the key has `raw:read`, too.",
    parameters=[BROADCAST_ID],
    responses={
        (200, "text/csv"): OpenApiResponse(TEXT, "One line per row, in the order of the list."),
        **_refusals(),
    },
)  # fmt: skip
