"""What every mutation about events shares: who may, when it is, and refusals as data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from connectors.events.graphql.types import EventError, error_of
from connectors.events.refusals import UnableToSubscribe
from lib import clock
from workspaces.access import Actor
from workspaces.scopes import Scope

Payload = TypeVar("Payload", bound=graphene.Mutation)


def success_field() -> graphene.Boolean:
    """Return the field that says whether it was done."""
    return graphene.Boolean(required=True, description="Whether it was done.")


def errors_field() -> graphene.List:
    """Return the field that says why it was not."""
    return graphene.List(graphene.NonNull(EventError), required=True, description="Why not.")


def writer(info: GraphQLResolveInfo) -> UUID:
    """Return the tenant whose events the caller may change.

    Raises:
        workspaces.access.NotAllowed: he may not.
    """
    actor: Actor = info.context.actor
    actor.require(Scope.EVENTS_WRITE)
    return actor.tenant_id


def now() -> datetime:
    """Return the time of the request."""
    return clock.now()


def attempt(payload: type[Payload], work: Callable[[], dict[str, object]]) -> Payload:
    """Do it, or say why not."""
    try:
        done: Payload = payload(success=True, errors=[], **work())
        return done
    except UnableToSubscribe as refusal:
        refused: Payload = payload(success=False, errors=[error_of(refusal)])
        return refused
