"""The schema explains itself, and the committed copy is the one in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLObjectType,
    is_introspection_type,
    print_schema,
)

from sigma.graphql.documents import PAGED
from sigma.schema import schema

COMMITTED = Path(__file__).parents[2] / "schema.graphql"


def described(kind: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    """Yield a type and everything in it, with the descriptions."""
    yield kind.name, kind.description
    if isinstance(kind, GraphQLEnumType):
        for name, value in kind.values.items():
            yield f"{kind.name}.{name}", value.description
    if isinstance(kind, GraphQLObjectType | GraphQLInputObjectType):
        for name, field in kind.fields.items():
            yield f"{kind.name}.{name}", field.description
            for argument, details in getattr(field, "args", {}).items():
                yield f"{kind.name}.{name}({argument})", details.description


def test_it_describes_everything() -> None:
    kinds = [k for k in schema.graphql_schema.type_map.values() if not is_introspection_type(k)]
    nameless = [
        name for kind in kinds for name, text in described(kind) if not (text or "").strip()
    ]

    assert nameless == []


def test_every_list_with_pages_is_counted_by_its_page() -> None:
    kinds = schema.graphql_schema.type_map.values()
    objects = [kind for kind in kinds if isinstance(kind, GraphQLObjectType)]
    paged = {
        name for kind in objects for name, field in kind.fields.items() if "after" in field.args
    }
    assert paged == PAGED


def test_it_is_the_committed_one() -> None:
    assert COMMITTED.read_text().strip() == print_schema(schema.graphql_schema), "run make schema"
