"""The body of a GraphQL request, checked for shape before anything is done with it."""

from __future__ import annotations

from typing import Any

import msgspec
from django.http import HttpRequest

MAX_BYTES = 200_000


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


_decoder = msgspec.json.Decoder(GraphQLRequest)


def read(request: HttpRequest) -> GraphQLRequest:
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
        return _decoder.decode(request.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UnusableRequest(
            f"Send a JSON object with query, variables and operationName ({error})."
        ) from None
