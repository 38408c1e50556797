"""What goes wrong, in GraphQL's words: each error has a code, and bugs leave details to the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import StrEnum

from django.db import DatabaseError
from graphql import GraphQLError
from psycopg.errors import DeadlockDetected

from lib import errorids
from lib.graphql import BadInput, NotFound
from lib.rates import CannotCount, RateExceeded
from messaging.queries import TooMany
from workspaces.access import NotAllowed, NotAuthenticated, TenantRequired
from workspaces.acting import is_timeout

logger = logging.getLogger("sigma.whatsapp.graphql")


class Code(StrEnum):
    """The values of ``extensions.code``."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    WRONG_TENANT = "WRONG_TENANT"
    NOT_FOUND = "NOT_FOUND"
    BAD_REQUEST = "BAD_REQUEST"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


ANTICIPATED: dict[type[Exception], Code] = {
    NotAuthenticated: Code.UNAUTHENTICATED,
    NotAllowed: Code.FORBIDDEN,
    TenantRequired: Code.BAD_USER_INPUT,
    TooMany: Code.LIMIT_EXCEEDED,
    CannotCount: Code.UNAVAILABLE,
    BadInput: Code.BAD_USER_INPUT,
    NotFound: Code.NOT_FOUND,
}


def with_code(error: GraphQLError, code: Code) -> dict[str, object]:
    """Return an error's JSON form under ``code``."""
    formatted: dict[str, object] = {**error.formatted}
    formatted["extensions"] = {"code": code.value}
    return formatted


def plain(message: str, code: Code) -> dict[str, object]:
    """Return the JSON form of an error that belongs to no place in a document."""
    return with_code(GraphQLError(message), code)


def of_execution(errors: Iterable[GraphQLError]) -> list[dict[str, object]]:
    """Return the JSON forms of what went wrong while a document was executed.

    After a statement that ran out of its time the database refuses the others of the transaction.
    """
    found = list(errors)
    late = any(is_timeout(error.original_error) for error in found)
    return [_late(e) if late and _is_refused(e) else _of_execution(e) for e in found]


def is_fatal(error: dict[str, object]) -> bool:
    """Tell whether an error is a bug of ours, or ended the transaction."""
    return error["extensions"] in (
        {"code": Code.INTERNAL.value},
        {"code": Code.LIMIT_EXCEEDED.value},
    )


def is_deadlock(error: GraphQLError) -> bool:
    """Tell whether the database undid the transaction because it and another waited in turn."""
    cause = error.original_error
    return isinstance(cause and cause.__cause__, DeadlockDetected)


def _is_refused(error: GraphQLError) -> bool:
    return isinstance(error.original_error, DatabaseError)


def _late(error: GraphQLError) -> dict[str, object]:
    message = "The database took too long over this; ask for less, or for a shorter time."
    return {**with_code(error, Code.LIMIT_EXCEEDED), "message": message}


def _of_execution(error: GraphQLError) -> dict[str, object]:
    cause = error.original_error
    if _is_about_input(error):
        return with_code(error, Code.BAD_USER_INPUT)
    if isinstance(cause, RateExceeded):
        again = {"code": Code.RATE_LIMITED.value, "retryAfter": cause.seconds}
        return {**error.formatted, "extensions": again}
    code = ANTICIPATED.get(type(cause)) if cause else None
    if code is not None:
        return with_code(error, code)
    hidden = errorids.hide(logger, "GraphQL resolver", cause)
    return {**with_code(error, Code.INTERNAL), "message": hidden}


def _is_about_input(error: GraphQLError) -> bool:
    """Recognise graphql-core's own errors about a variable, or about the argument it is used in.

    What it says of a value of ours that does not fit the schema comes without a place in the input.
    """
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        return error.path is None or bool(cause and cause.nodes)
    return False
