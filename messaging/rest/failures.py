"""What goes wrong, over HTTP: one shape for every refusal, and a status that says whose fault."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.response import Response

from lib import errorids
from lib.graphql import BadInput, NotFound
from lib.rates import CannotCount, RateExceeded
from messaging.rest.shapes import Failure, Reason, Refusal
from messaging.sealed_storage import StorageAway
from messaging.sending.refusals import Malformed, SendErrorCode, UnableToSend
from workspaces.access import NotAllowed, NotAuthenticated, TenantRequired, WrongTenant

logger = logging.getLogger("sigma.whatsapp.rest")

RETRY_SECONDS = 5
# What a refusal means over HTTP; the others are 422.
STATUSES = {
    SendErrorCode.IDEMPOTENCY_CONFLICT: 409,
    SendErrorCode.RATE_LIMITED: 429,
    SendErrorCode.NOT_CANCELLABLE: 409,
    SendErrorCode.MESSAGE_NOT_FOUND: 404,
    SendErrorCode.TOO_LARGE: 413,
    SendErrorCode.MEDIA_IN_USE: 409,
    SendErrorCode.UNSUPPORTED_TYPE: 415,
}
# What ends a request before anything is decided: the status, and a code for programs.
FAILURES: dict[type[Exception], tuple[int, str]] = {
    NotAuthenticated: (401, "UNAUTHENTICATED"),
    NotAllowed: (403, "FORBIDDEN"),
    WrongTenant: (403, "WRONG_TENANT"),
    TenantRequired: (400, "TENANT_REQUIRED"),
    RequestDataTooBig: (413, "BAD_REQUEST"),
    RecursionError: (400, "BAD_REQUEST"),
    exceptions.ParseError: (400, "BAD_REQUEST"),
    exceptions.MethodNotAllowed: (405, "BAD_REQUEST"),
    exceptions.NotAcceptable: (406, "BAD_REQUEST"),
    exceptions.UnsupportedMediaType: (415, "BAD_REQUEST"),
    BadInput: (400, "INVALID_INPUT"),
    NotFound: (404, "NOT_FOUND"),
    RateExceeded: (429, "RATE_LIMITED"),
    CannotCount: (503, "UNAVAILABLE"),
    StorageAway: (503, "UNAVAILABLE"),
    OperationalError: (503, "UNAVAILABLE"),
    InterfaceError: (503, "UNAVAILABLE"),
}
IN_WORDS: dict[type[Exception], str] = {
    RequestDataTooBig: "The request is too large.",
    RecursionError: "The body is nested too deeply.",
    exceptions.ParseError: "The body is not JSON.",
    exceptions.UnsupportedMediaType: "Send JSON: Content-Type: application/json.",
    OperationalError: "The database cannot be reached, or took too long; try again.",
    InterfaceError: "The database cannot be reached; try again.",
}


def handle(error: Exception, context: object) -> Response:
    """Return the answer to a request that ended in ``error``."""
    if isinstance(error, UnableToSend):
        return with_time(respond(_status_of(error, context), _refusal(error)), error)
    kind = next((kind for kind in type(error).__mro__ if kind in FAILURES), None)
    if kind is None:
        return _hide(error)
    status, code = FAILURES[kind]
    message = IN_WORDS.get(kind) or str(error)
    response = respond(status, refusal(code, message, retryable=status in (429, 503)))
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return with_time(response, error)


def with_time(response: Response, error: Exception) -> Response:
    """Say when to try again, where it may be soon."""
    if response.status_code in (429, 503):
        response["Retry-After"] = str(getattr(error, "seconds", RETRY_SECONDS))
    return response


def reasons_of(error: UnableToSend) -> list[Reason]:
    """Return every reason of a refusal."""
    return [
        Reason(
            code=reason.code.value,
            field=reason.field,
            message=reason.message,
            platform_code=reason.platform_code,
            retryable=reason.is_retryable,
        )
        for reason in error.reasons
    ]


def refusal(
    code: str, message: str, *, field: str | None = None, retryable: bool = False
) -> Refusal:
    """Return a refusal for one reason of ours."""
    return Refusal(code=code, field=field, message=message, platform_code=None, retryable=retryable)


def respond(status: int, why: Refusal) -> Response:
    """Return the answer that says why."""
    return Response(msgspec.to_builtins(Failure(error=why)), status=status)


def _status_of(error: UnableToSend, context: object) -> int:
    if isinstance(error, Malformed):
        return 400
    # What a body names and is not there is a refusal; what the path names is not found.
    in_path = isinstance(context, Mapping) and error.field in context.get("kwargs", ())
    is_unknown = in_path and error.code == SendErrorCode.CONVERSATION_NOT_FOUND
    return 404 if is_unknown else STATUSES.get(error.code, 422)


def _refusal(error: UnableToSend) -> Refusal:
    first, *others = reasons_of(error)
    own = {**msgspec.structs.asdict(first), "retryable": error.is_retryable}
    return Refusal(**own, others=others)


def _hide(error: Exception) -> Response:
    hidden = errorids.hide(logger, "whatsapp REST request", error)
    return respond(500, refusal("INTERNAL", hidden))
