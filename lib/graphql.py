"""What every GraphQL module shares: refusals of input, kinds of fields, pages, and resolvers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

import graphene
import msgspec
from django.conf import settings
from graphql import GraphQLResolveInfo, ValueNode, value_from_ast_untyped
from msgspec.structs import FieldInfo

from lib.cursors import Cursor, InvalidCursor, Page, Row, decode, encode

# What a page without first or last has.
DEFAULT_PAGE = 20


# How structs are spelled as inputs, by their names: OpenAPI takes the same words.
INPUTS: dict[str, type[graphene.InputObjectType]] = {}


class BadInput(Exception):
    """An argument cannot be used; the message says which and why."""


class NotFound(Exception):
    """There is no such object, or it is another tenant's; the answer never says which."""


class ObjectType(graphene.ObjectType):
    """An object type that takes graphene's options as keywords of its class.

    A type that shows a row of ours is called after it with ``Type``, and has the row's ``name`` in
    the schema.
    """

    class Meta:
        abstract = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)


class JSON(graphene.Scalar):
    """Any JSON value as it is: object, list, text, number, boolean or null."""

    @staticmethod
    def serialize(value: object) -> object:
        """Return the value unchanged."""
        return value

    @staticmethod
    def parse_value(value: object) -> object:
        """Return the value of a variable unchanged."""
        return value

    @staticmethod
    def parse_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> object:
        """Return the value that a document spells out."""
        return value_from_ast_untyped(node, variables)


SCALARS: Mapping[type, type[graphene.Scalar]] = {
    str: graphene.String,
    int: graphene.Int,
    float: graphene.Float,
    bool: graphene.Boolean,
    UUID: graphene.ID,
    datetime: graphene.DateTime,
}


def list_of(
    kind: Any, description: str, *, required: bool = True, **arguments: graphene.Argument
) -> graphene.List:
    """Return a field or argument: a list without nulls."""
    return graphene.List(
        graphene.NonNull(kind), required=required, description=description, **arguments
    )


def input_of(
    struct: type[msgspec.Struct],
    name: str,
    description: str,
    /,
    **fields: str | graphene.Field,
) -> Any:
    """Return the input whose values a struct is read from. ``fields`` are descriptions in the
    schema's order: types, and whether a field is required, are the struct's. What GraphQL spells
    otherwise is given as it is.
    """
    known = {field.name: field for field in msgspec.structs.fields(struct)}
    made = {
        field: _input_field(known[field], said) if isinstance(said, str) else said
        for field, said in fields.items()
    }
    kind = type(name, (graphene.InputObjectType,), {"__doc__": description, **made})
    INPUTS[struct.__name__] = kind
    return kind


def _input_field(field: FieldInfo, description: str) -> graphene.Field | graphene.Scalar:
    is_union = get_origin(field.type) in (Union, UnionType)
    (hint,) = {*get_args(field.type)} - {NoneType} if is_union else {field.type}
    if get_origin(hint) is tuple:
        return list_of(_kind_of(get_args(hint)[0]), description, required=field.required)
    kind = _kind_of(hint)
    if kind in SCALARS.values():
        return kind(required=field.required, description=description)
    return graphene.Field(kind, required=field.required, description=description)


def _kind_of(hint: Any) -> Any:
    kind = get_origin(hint) or hint
    return JSON if kind is dict else SCALARS.get(kind) or INPUTS[kind.__name__]


class PageInfo(graphene.ObjectType):
    """Where a page ends, and whether there is more."""

    has_next_page = graphene.Boolean(
        required=True,
        description="Whether there may be more after this page, even if it is empty; true with "
        "before.",
    )
    has_previous_page = graphene.Boolean(
        required=True,
        description="Whether there may be more before this page; true with after.",
    )
    start_cursor = graphene.String(
        description="Where the page begins, as a rule its first one; use it with before."
    )
    end_cursor = graphene.String(
        description="Where the page ends, as a rule its last one; use it with after."
    )


def page_info(page: Page[Row], cursor_of: Callable[[Row], str], *, is_first: bool) -> PageInfo:
    """Return where a page ends that was read forward; ``is_first``: it begins the list."""
    end = cursor_of(page.rows[-1]) if page.rows else None
    return PageInfo(
        has_next_page=page.has_more,
        has_previous_page=not is_first,
        start_cursor=cursor_of(page.rows[0]) if page.rows else None,
        end_cursor=encode(page.looked_to) if page.looked_to else end,
    )


def forward() -> dict[str, graphene.Scalar]:
    """Return the arguments of a list that is read forward."""
    return {
        "first": graphene.Int(description=f"How many; {DEFAULT_PAGE} unless given."),
        "after": graphene.String(description="Only what comes after this cursor."),
    }


def limit_of(value: int | None) -> int:
    """Return the size of a page.

    Raises:
        BadInput: larger than a page may be.
    """
    if value is None:
        return DEFAULT_PAGE
    if not 0 <= value <= settings.SIGMA_GRAPHQL_MAX_PAGE:
        raise BadInput(f"A page may have 0 to {settings.SIGMA_GRAPHQL_MAX_PAGE} items.")
    return value


def cursor_of(value: str | None) -> Cursor | None:
    """Return the place that a cursor of ours stands for.

    Raises:
        BadInput: it is none of ours.
    """
    try:
        return None if value is None else decode(value)
    except InvalidCursor as error:
        raise BadInput(str(error)) from None


def column(name: str, _: object, root: Any, info: GraphQLResolveInfo) -> object:
    """Resolve a field to the column of its name; ``root`` has the row."""
    return getattr(root.row, name)


def none_if_empty(path: str) -> Callable[[Any, GraphQLResolveInfo], object]:
    """Return a resolver of a text that the database has empty where there is none."""
    value = attrgetter(path)
    return lambda root, info: value(root) or None


def utc(value: datetime | None) -> datetime | None:
    """Return a time in an argument: one without an offset is meant in UTC."""
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def described_enum(
    kind: type[Enum], description: str, values: Mapping[Any, str], *, name: str | None = None
) -> graphene.Enum:
    """Return the GraphQL form of an enum; ``values`` describe its members, by member or by name."""

    def describe(member: Enum | None) -> str:
        return description if member is None else values[member]

    return graphene.Enum.from_enum(kind, name=name or kind.__name__, description=describe)


def parse_id(value: str, argument: str) -> UUID:
    """Return the UUID in an argument.

    Raises:
        BadInput: not a UUID.
    """
    try:
        return UUID(value)
    except ValueError:
        raise BadInput(f"{argument} must be a UUID.") from None
