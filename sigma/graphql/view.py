"""``/graphql``: authenticate, prepare, measure, execute as the tenant, answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from graphql import (
    DocumentNode,
    FieldNode,
    OperationDefinitionNode,
    OperationType,
    execute_sync,
    get_operation_ast,
)

from connectors.whatsapp.raw import read_originals
from lib import clock
from lib.graphql import BadInput
from messaging.related import OriginalsReader
from sigma.graphql import failures
from sigma.graphql.documents import Documents, LimitExceeded, check_size
from sigma.graphql.failures import Code
from sigma.pages import graphiql
from sigma.schema import schema
from workspaces.access import (
    Actor,
    NotAllowed,
    NotAuthenticated,
    TenantRequired,
    WrongTenant,
    actor_of,
)
from workspaces.acting import as_tenant

MAX_BYTES = 200_000
# Of a document that the database undid because two waited for one another: each lets one go on.
TRIES = 4
documents = Documents(schema.graphql_schema)
# Decimals of contents go out in the form they came in.
ENCODER = msgspec.json.Encoder(decimal_format="number")


class UnusableRequest(Exception):
    """The request is not of the form of GraphQL over HTTP; ``status`` says which kind."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class GraphQLRequest(msgspec.Struct, rename="camel", frozen=True):
    """https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters"""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


DECODER = msgspec.json.Decoder(GraphQLRequest)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What resolvers may ask of the request (``info.context``)."""

    actor: Actor
    # Leaves the transaction while a platform is asked.
    outside: Callable[[], AbstractContextManager[None]]
    read_originals: OriginalsReader = read_originals


# What ends a request before or around its execution: the HTTP status, and a code for programs.
FAILURES: dict[type[Exception], tuple[int, Code]] = {
    NotAuthenticated: (401, Code.UNAUTHENTICATED),
    NotAllowed: (403, Code.FORBIDDEN),
    WrongTenant: (403, Code.WRONG_TENANT),
    TenantRequired: (400, Code.BAD_USER_INPUT),
    LimitExceeded: (400, Code.LIMIT_EXCEEDED),
}


# An API key needs no CSRF token; a session does, and actor_of insists on it.
@csrf_exempt
def graphql(request: HttpRequest) -> HttpResponse:
    """Answer a POST with JSON, and a browser's GET with GraphiQL."""
    if request.method == "GET" and request.accepts("text/html"):
        return graphiql(request)
    try:
        return _answer(request, clock.now())
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
    asked = _read(request)
    prepared = documents.prepare(asked.query)
    if prepared.document is None:
        errors = [failures.with_code(error, prepared.code) for error in prepared.errors]
        return _respond(400, {"errors": errors})
    return _execute(actor, prepared.document, asked)


def _read(request: HttpRequest) -> GraphQLRequest:
    """Return what is asked.

    Raises:
        UnusableRequest: too large, another content type, or not the right JSON.
    """
    # A form of another site can send text/plain but, without our leave, never JSON.
    if request.content_type != "application/json":
        raise UnusableRequest("Send JSON: Content-Type: application/json.", status=415)
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BYTES:
        raise UnusableRequest(f"A request may have {MAX_BYTES} bytes.", status=413)
    try:
        return DECODER.decode(request.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnusableRequest(
            f"Send a JSON object with query, variables and operationName ({error})."
        ) from None


def _execute(actor: Actor, document: DocumentNode, asked: GraphQLRequest) -> HttpResponse:
    operation = get_operation_ast(document, asked.operation_name)
    if operation is None:
        raise UnusableRequest("operationName must name one of the document's operations.")
    check_size(
        document,
        operation,
        asked.variables or {},
        max_depth=settings.SIGMA_GRAPHQL_MAX_DEPTH,
        max_cost=settings.SIGMA_GRAPHQL_MAX_COST,
    )
    # Fields of a document lock conversations in the document's order, callbacks in their own.
    for _ in range(TRIES - 1):
        with suppress(_Deadlock):
            return _run(actor, document, operation, asked)
    return _run(actor, document, operation, asked, is_last=True)


class _Deadlock(Exception):
    """Of two transactions that waited for each other the database rolled this one back."""


def _run(
    actor: Actor,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    asked: GraphQLRequest,
    *,
    is_last: bool = False,
) -> HttpResponse:
    """Execute a document in one transaction.

    Raises:
        _Deadlock: nothing was done, and the same may be done again; not if ``is_last``.
    """
    timeout_ms = settings.SIGMA_GRAPHQL_TIMEOUT_MS
    with RequestTransaction(actor.tenant_id, operation, timeout_ms=timeout_ms) as request:
        result = execute_sync(
            schema.graphql_schema,
            document,
            context_value=RequestContext(actor, request.left),
            variable_values=asked.variables,
            operation_name=asked.operation_name,
        )
        found = result.errors or ()
        if not is_last and not request.was_left and any(map(failures.is_deadlock, found)):
            raise _Deadlock
        errors = failures.of_execution(found) if found else []
        broken = any(map(failures.is_fatal, errors))
        if broken:
            transaction.set_rollback(True)
    data = None if broken and operation.operation == OperationType.MUTATION else result.data
    return _respond(200, {"data": data, **({"errors": errors} if errors else {})})


class RequestTransaction(ExitStack):
    """The tenant's transaction of one request (a context manager, used once). A resolver leaves it
    while a platform is asked: it must not stay open for as long as others take to answer.
    """

    def __init__(
        self, tenant_id: UUID, operation: OperationDefinitionNode, *, timeout_ms: int
    ) -> None:
        super().__init__()
        self._transaction = partial(as_tenant, tenant_id, timeout_ms=timeout_ms)
        self._fields = operation.selection_set.selections
        self.was_left = False

    def __enter__(self) -> RequestTransaction:
        self.enter_context(self._transaction())
        return self

    @contextmanager
    def left(self) -> Iterator[None]:
        """Commit, stop acting as the tenant inside, and go on in a new transaction.

        What is done before cannot be undone any more, so the field has to stand alone. Nor does any
        other run if the new transaction cannot begin.

        Raises:
            BadInput: the document has other fields beside the one that leaves.
        """
        if len(self._fields) != 1 or not isinstance(self._fields[0], FieldNode):
            raise BadInput("This mutation asks the platform; it must be alone in its document.")
        self.was_left = True
        try:
            self.close()
            yield
        finally:
            self.enter_context(self._transaction())


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
