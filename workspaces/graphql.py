"""What every GraphQL module shares: refusals of input, and the JSON scalar."""

from __future__ import annotations

from uuid import UUID

import graphene


class BadInput(Exception):
    """An argument cannot be used; the message says which and why."""


class NotFound(Exception):
    """There is no such object, or it is another tenant's; the answer never says which."""


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
