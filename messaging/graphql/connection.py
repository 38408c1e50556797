"""GraphQL: a page of messages, its order, and the way to its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors
from lib.graphql import PageInfo, described_enum
from messaging.graphql.messages import Item, Message
from messaging.queries import MessagePage, MessageRow, Window
from messaging.related import Related


class Direction(StrEnum):
    """Which end of an ordered list comes first."""

    ASC = "ASC"
    DESC = "DESC"


ORDERS = {"ASC": "Smallest first: the oldest.", "DESC": "Largest first: the newest."}
SortDirection = described_enum(
    Direction, "Which end of an ordered list comes first.", ORDERS, name="SortDirection"
)


class MessageOrder(graphene.InputObjectType):
    """How messages are ordered; ties go by id."""

    timestamp = graphene.Field(
        SortDirection, required=True, description="By the time they were sent."
    )


class MessageEdge(graphene.ObjectType):
    """A message and its place in the list."""

    cursor = graphene.String(required=True, description="Its place; use it with after or before.")
    node = graphene.Field(Message, required=True, description="The message.")


@dataclass(frozen=True, slots=True)
class Listing:
    """A page on its way out."""

    page: MessagePage
    window: Window
    related: Related
    count: Callable[[], int]


class MessageConnection(graphene.ObjectType):
    """One page of messages."""

    nodes = graphene.List(graphene.NonNull(Message), required=True, description="The messages.")
    edges = graphene.List(
        graphene.NonNull(MessageEdge), required=True, description="The messages with their cursors."
    )
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")
    total_count = graphene.Int(
        required=True,
        description="How many messages pass the filters. Counted only if selected, and where at "
        "most 25,000 have to be looked at; else narrow the time with since and until.",
    )

    @staticmethod
    def resolve_nodes(root: Listing, info: GraphQLResolveInfo) -> list[Item]:
        """Return the messages."""
        return [Item(message, root.related) for message in root.page.messages]

    @staticmethod
    def resolve_edges(root: Listing, info: GraphQLResolveInfo) -> list[dict[str, object]]:
        """Return the messages with their cursors."""
        return [
            {"cursor": _cursor_of(message), "node": Item(message, root.related)}
            for message in root.page.messages
        ]

    @staticmethod
    def resolve_page_info(root: Listing, info: GraphQLResolveInfo) -> dict[str, object]:
        """Tell whether there is more; behind a cursor there always is what it came from."""
        page, window = root.page, root.window
        came_from = window.cursor is not None
        places = [cursors.Cursor(one.timestamp_utc, one.id) for one in page.messages]
        if page.looked_to is not None:
            places.insert(0 if window.backwards else len(places), page.looked_to)
        return {
            "has_next_page": came_from if window.backwards else page.has_more,
            "has_previous_page": page.has_more if window.backwards else came_from,
            "start_cursor": cursors.encode(places[0]) if places else None,
            "end_cursor": cursors.encode(places[-1]) if places else None,
        }

    @staticmethod
    def resolve_total_count(root: Listing, info: GraphQLResolveInfo) -> int:
        """Count them."""
        return root.count()


def _cursor_of(message: MessageRow) -> str:
    return cursors.encode(cursors.Cursor(message.timestamp_utc, message.id))
