"""What messaging adds to the GraphQL schema: the queries and mutations of its areas, composed."""

from __future__ import annotations

from messaging.graphql import (
    broadcast_mutations,
    broadcasts,
    conversations,
    numbers,
    optouts,
    pages,
    preflight,
    sending,
)


class Query(
    pages.Query,
    conversations.Query,
    optouts.Query,
    preflight.Query,
    broadcasts.Query,
    numbers.Query,
):
    """What can be read about messages and people."""


class Mutation(sending.Mutation, optouts.Mutation, broadcast_mutations.Mutation, numbers.Mutation):
    """What can be changed about messages and people."""
