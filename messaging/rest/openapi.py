"""Operations and what OpenAPI says of them: one declaration sets the scope and the shapes. A shape
is the very struct that requests are read with and answers are written from.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import wraps
from typing import Any

import msgspec
from django.http import HttpResponseBase
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from lib.graphql import INPUTS
from messaging.rest.shapes import Failure
from workspaces.access import Scope

JSON = "application/json"
REFERENCE = "#/components/schemas/{name}"
_CAMEL = re.compile(r"\b[a-z]+(?:[A-Z][a-z]+)+\b")
# What is spelled otherwise in GraphQL, which has no maps.
OWN_WORDS = {
    "positional": "The body's values {{1}}, {{2}} …",
    "named": "The body's values by name.",
    "fallback_value": "What is shown where WhatsApp does not write it the recipient's way.",
    "code": "The currency (ISO 4217); without one it is a date.",
    "amount_1000": "The amount times 1000.",
}


# What answers with a status are, by the status or by that and a media type, and what it says.
Answers = Mapping[Any, tuple[Any, str]]
Method = Callable[..., msgspec.Struct | HttpResponseBase]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The operations under one tag; ``refusals`` say what a status means here, and every operation
    may refuse with those of ``always``.
    """

    tag: str
    refusals: Mapping[int, str]
    always: Sequence[int]

    def operation(
        self,
        name: str,
        summary: str,
        *,
        scope: Scope,
        answers: Answers,
        says: str = "",
        takes: Any = None,
        parameters: Sequence[OpenApiParameter] = (),
        refused: Sequence[int] = (),
    ) -> Callable[[Method], Callable[..., HttpResponseBase]]:
        """Make a method of a :class:`messaging.rest.views.TenantView` an operation, which needs
        ``scope``, and describe it. The method may return a shape, which is answered with 200.
        """
        described = extend_schema(
            operation_id=name,
            summary=summary,
            description=f"Needs `{scope.value}`. {says}".strip(),
            tags=[self.tag],
            request=takes,
            parameters=list(parameters),
            responses=self._responses(answers, refused),
        )
        return lambda method: described(_performed(method, scope))

    def _responses(self, answers: Answers, refused: Sequence[int]) -> dict[Any, Any]:
        statuses = (*self.always, *refused)
        said = {**answers, **{status: (Failure, self.refusals[status]) for status in statuses}}
        return {
            (key if isinstance(key, tuple) else (key, JSON)): OpenApiResponse(shape, words)
            for key, (shape, words) in said.items()
        }


def _performed(method: Method, scope: Scope) -> Callable[..., HttpResponseBase]:
    @wraps(method)
    def performed(view: Any, request: Request, **named: Any) -> HttpResponseBase:
        view.actor.require(scope)
        found = method(view, request, **named)
        return answer(found) if isinstance(found, msgspec.Struct) else found

    return performed


def answer(shape: msgspec.Struct, *, status: int = 200) -> Response:
    """Return the answer that holds a shape."""
    return Response(msgspec.to_builtins(shape, builtin_types=(Decimal,)), status=status)


class Shapes(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Lets drf-spectacular take structs for serializers."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        """Return the component's name."""
        name: str = self.target.__name__
        return name

    def get_identity(self, auto_schema: AutoSchema, direction: str) -> str:
        """Return what tells a component from others, which is known of parts of a shape, too."""
        return self.get_name(auto_schema, direction)

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        """Return the shape's JSON schema, and add those of its parts."""
        _, found = msgspec.json.schema_components((self.target,), ref_template=REFERENCE)
        schemas = {name: _described(name, schema) for name, schema in found.items()}
        for name, schema in schemas.items():
            part = ResolvedComponent(  # type: ignore[no-untyped-call]
                name, ResolvedComponent.SCHEMA, schema=schema, object=name
            )
            auto_schema.registry.register_on_missing(part)
        return schemas[self.target.__name__]


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a shape's schema with words for every field."""
    if "description" in schema:
        schema["description"] = _prose(schema["description"])
    for field, described in schema.get("properties", {}).items():
        if "description" not in described and (words := _words(name, field)):
            schema["properties"][field] = {**described, "description": words}
    return schema


def _words(name: str, field: str) -> str | None:
    kind = INPUTS.get(name)
    known = kind._meta.fields.get(field) if kind is not None else None
    return OWN_WORDS.get(field) if known is None else _snake(known.description)


def _snake(words: str) -> str:
    return _CAMEL.sub(lambda found: re.sub("([A-Z])", r"_\1", found[0]).lower(), words)


def _prose(docstring: str) -> str:
    return " ".join(inspect.cleandoc(docstring).replace("``", "`").split())
