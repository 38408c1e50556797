"""``/graphql``: authenticate, prepare, measure, execute as the tenant, answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from graphql import (
    DocumentNode,
    OperationDefinitionNode,
    OperationType,
    execute_sync,
    get_operation_ast,
)

from connectors.whatsapp.raw import read_originals
from messaging.related import OriginalsReader
from sigma.graphql import failures, limits
from sigma.graphql.documents import Documents
from sigma.graphql.failures import Code
from sigma.graphql.page import page
from sigma.graphql.requests import GraphQLRequest, UnusableRequest, read
from sigma.graphql.transactions import RequestTransaction
from sigma.schema import schema
from workspaces.access import Actor, NotAllowed, NotAuthenticated, TenantRequired
from workspaces.requests import actor_of

documents = Documents(schema.graphql_schema)
# Decimals of contents go out in the form they came in.
ENCODER = msgspec.json.Encoder(decimal_format="number")

Errors = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Context:
    """What resolvers may ask of the request (``info.context``)."""

    actor: Actor
    # Leaves the transaction while a platform is asked.
    outside: Callable[[], AbstractContextManager[None]]
    read_originals: OriginalsReader = read_originals


# What ends a request before or around its execution: the HTTP status, and a code for programs.
FAILURES: dict[type[Exception], tuple[int, Code]] = {
    NotAuthenticated: (401, Code.UNAUTHENTICATED),
    NotAllowed: (403, Code.FORBIDDEN),
    TenantRequired: (400, Code.BAD_USER_INPUT),
    limits.LimitExceeded: (400, Code.LIMIT_EXCEEDED),
}


# An API key needs no CSRF token; a session does, and actor_of insists on it.
@csrf_exempt
def graphql(request: HttpRequest) -> HttpResponse:
    """Answer a POST with JSON, and a browser's GET with GraphiQL."""
    if request.method == "GET" and request.accepts("text/html"):
        return page(request)
    try:
        return _answer(request, timezone.now())
    except tuple(FAILURES) as error:
        status, code = next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)
        return _refuse(status, str(error), code)
    except UnusableRequest as error:
        return _refuse(error.status, str(error), Code.BAD_REQUEST)
    except (OperationalError, InterfaceError):
        return _refuse(503, "The database cannot be reached; try again.", Code.UNAVAILABLE)


def _answer(request: HttpRequest, now: datetime) -> HttpResponse:
    if request.method != "POST":
        raise UnusableRequest("Send a POST with JSON.", status=405)
    # Before anything is parsed: a stranger may cost us one look-up and nothing else.
    actor = actor_of(request, now=now)
    asked = read(request)
    prepared = documents.prepare(asked.query)
    if prepared.document is None:
        errors = [failures.with_code(error, prepared.code) for error in prepared.errors]
        return _respond(400, {"errors": errors})
    return _execute(actor, prepared.document, asked)


def _execute(actor: Actor, document: DocumentNode, asked: GraphQLRequest) -> HttpResponse:
    operation = get_operation_ast(document, asked.operation_name)
    if operation is None:
        raise UnusableRequest("operationName must name one of the document's operations.")
    limits.check(
        limits.measure(document, operation, asked.variables or {}),
        max_depth=settings.SIGMA_GRAPHQL_MAX_DEPTH,
        max_cost=settings.SIGMA_GRAPHQL_MAX_COST,
    )
    try:
        return _run(actor, document, operation, asked)
    except _Deadlock:
        # Sends of a document lock conversations in the document's order, callbacks in their own.
        return _run(actor, document, operation, asked, is_last=True)


class _Deadlock(Exception):
    """Of two transactions that waited for each other the database undid this one, whole."""


def _run(
    actor: Actor, document: DocumentNode, operation: OperationDefinitionNode, asked: GraphQLRequest,
    *, is_last: bool = False,
) -> HttpResponse:  # fmt: skip
    """Execute a document in one transaction.

    Raises:
        _Deadlock: nothing was done, and the same may be done again; not if ``is_last``.
    """
    timeout_ms = settings.SIGMA_GRAPHQL_TIMEOUT_MS
    with RequestTransaction(actor.tenant_id, operation, timeout_ms=timeout_ms) as request:
        result = execute_sync(
            schema.graphql_schema,
            document,
            context_value=Context(actor, request.left),
            variable_values=asked.variables,
            operation_name=asked.operation_name,
        )
        found = result.errors or ()
        if not is_last and not request.was_left and any(map(failures.is_deadlock, found)):
            raise _Deadlock
        errors = failures.of_execution(found)
        broken = any(map(failures.is_fatal, errors))
        if broken:
            transaction.set_rollback(True)
    data = None if broken and operation.operation == OperationType.MUTATION else result.data
    return _respond(200, {"data": data, **({"errors": errors} if errors else {})})


def _refuse(status: int, message: str, code: Code) -> HttpResponse:
    response = _respond(status, {"errors": [failures.plain(message, code)]})
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if status == 405:
        response["Allow"] = "GET, POST"
    return response


def _respond(status: int, body: Mapping[str, object]) -> HttpResponse:
    return HttpResponse(
        ENCODER.encode(body),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
