"""What every GraphQL module shares: the caller, refusals of input, the JSON scalar."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import graphene

from workspaces.access import Actor


class BadInput(Exception):
    """An argument cannot be used; the message says which and why."""


class NotFound(Exception):
    """There is no such object, or it is another tenant's; the answer never says which."""


class Context(Protocol):
    """What resolvers may ask of the request (``info.context``)."""

    actor: Actor
    now: datetime


class JSON(graphene.Scalar):
    """Any JSON value as it is: object, list, text, number, boolean or null."""

    @staticmethod
    def serialize(value: object) -> object:
        """Return the value unchanged."""
        return value


def parse_id(value: str, argument: str) -> UUID:
    """Return the UUID in an argument.

    Raises:
        BadInput: not a UUID.
    """
    try:
        return UUID(value)
    except ValueError:
        raise BadInput(f"{argument} must be a UUID.") from None
