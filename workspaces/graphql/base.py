"""What resolvers share: who asks, and for mutations one call of a service and a payload that says
what was done or, as data, why not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import list_of
from workspaces.access import Actor, Scope

_SNAKE = re.compile(r"_([a-z])")


def caller(info: GraphQLResolveInfo, scope: Scope) -> Actor:
    """Return who asks.

    Raises:
        workspaces.access.NotAllowed: they do not have the scope.
    """
    actor: Actor = info.context.actor
    return actor.require(scope)


class MutationContext(Protocol):
    """What a mutation may ask of the request."""

    @property
    def actor(self) -> Actor:
        """The caller."""

    @property
    def outside(self) -> Callable[[], AbstractContextManager[None]]:
        """Leaves the transaction while a platform is asked."""


class TypedError(NamedTuple):
    """A reason why nothing was done. Not the exception: graphql-core raises those it is given."""

    code: str
    field: str | None
    message: str


class ServiceMutation(graphene.Mutation):
    """One call of a service by a caller with a scope; the payload's type has the class's name.

    ``refusal`` is what the service raises where it does not do it. Payloads declare ``success`` and
    ``errors`` themselves, with :func:`success_field` and :func:`errors_field`.
    """

    class Meta:
        abstract = True

    scope: ClassVar[Scope]
    refusal: ClassVar[type[Exception]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)

    @classmethod
    def __init_subclass_with_meta__(cls, **options: Any) -> None:
        super().__init_subclass_with_meta__(name=f"{cls.__name__}Payload", **options)

    @classmethod
    def mutate(cls, root: None, info: GraphQLResolveInfo, input: Any) -> Self:
        """Return what was done, or why not."""
        context: MutationContext = info.context
        context.actor.require(cls.scope)
        try:
            return cls(success=True, errors=[], **cls.act(context, input))
        except cls.refusal as refusal:
            return cls(success=False, errors=cls.errors_of(refusal), **cls.refused(refusal))

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Call the service; return the payload's fields besides ``success`` and ``errors``."""
        raise NotImplementedError

    @classmethod
    def refused(cls, refusal: Any) -> dict[str, object]:
        """Return the payload's other fields of a refusal; those that are not named are null."""
        return {}

    @classmethod
    def errors_of(cls, refusal: Any) -> list[Any]:
        """Return the reasons of a refusal, each with the fields of :func:`reason_fields`."""
        field = None if refusal.field is None else camel(refusal.field)
        return [TypedError(refusal.code, field, refusal.message)]


def success_field(description: str = "Whether it was done.") -> graphene.Boolean:
    """Return the payload's field that says whether it was done."""
    return graphene.Boolean(required=True, description=description)


def errors_field(
    error: type[graphene.ObjectType], description: str = "Why not, otherwise."
) -> graphene.List:
    """Return the payload's field that says why it was not done."""
    return list_of(error, description)


def reason_fields(
    codes: graphene.Enum, *, field: str = "The input field at fault."
) -> tuple[graphene.Field, graphene.String, graphene.String]:
    """Return the fields ``code``, ``field`` and ``message`` of an error."""
    return (
        graphene.Field(codes, required=True, description="The reason, for programs."),
        graphene.String(description=field),
        graphene.String(required=True, description="The reason, for people."),
    )


def camel(name: str) -> str:
    """Return a field's name as the schema spells it."""
    return _SNAKE.sub(lambda found: found[1].upper(), name)
