"""GraphQL: search in the messages of a number by words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors, words
from lib.graphql import (
    BadInput,
    NotFound,
    PageInfo,
    cursor_of,
    forward,
    limit_of,
    list_of,
    parse_id,
    utc,
)
from messaging import conversation_queries, search
from messaging.events import Direction
from messaging.graphql.messages import MessageDirection, MessageType, ShownMessage
from messaging.graphql.pages import check_workspace
from messaging.queries import MessageFilter
from messaging.related import Related
from messaging.search import Hit, Search, SearchPage
from workspaces.access import Actor, Scope
from workspaces.graphql.base import caller


class SnippetPart(graphene.ObjectType):
    """A piece of a snippet."""

    text = graphene.String(required=True, description="Plain text, as it was written.")
    is_match = graphene.Boolean(required=True, description="Whether it is what was searched for.")


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A hit on its page."""

    hit: Hit
    related: Related


class SearchHit(graphene.ObjectType):
    """A message that was found."""

    message = graphene.Field(MessageType, required=True, description="The message.")
    snippet = list_of(
        SnippetPart,
        "The part of its text around the first match, in pieces that make it up one after the "
        "other; … stands for what is left out.",
    )

    @staticmethod
    def resolve_message(root: ShownHit, info: GraphQLResolveInfo) -> ShownMessage:
        """Return the message."""
        return ShownMessage(root.hit.row, root.related)

    @staticmethod
    def resolve_snippet(root: ShownHit, info: GraphQLResolveInfo) -> object:
        """Return the pieces."""
        return root.hit.snippet


class SearchEdge(graphene.ObjectType):
    """A hit and its place in the list."""

    cursor = graphene.String(required=True, description="Its place; use it with after.")
    node = graphene.Field(SearchHit, required=True, description="The hit.")


@dataclass(frozen=True, slots=True)
class Results:
    """A page on its way out."""

    page: SearchPage
    nodes: list[ShownHit]
    is_first: bool


class SearchConnection(graphene.ObjectType):
    """One page of what was found, newest first."""

    nodes = list_of(SearchHit, "The hits.")
    edges = list_of(SearchEdge, "The hits with their cursors.")
    page_info = graphene.Field(
        PageInfo,
        required=True,
        description="Whether there may be more. A page may end before it is full, and be empty: go "
        "on while hasNextPage is true.",
    )
    indexed_until = graphene.DateTime(
        description="Of what was stored since then, some may be missing until its words are read; "
        "null: nothing is missing."
    )

    @staticmethod
    def resolve_edges(root: Results, info: GraphQLResolveInfo) -> list[dict[str, object]]:
        """Return the hits with their cursors."""
        return [{"cursor": cursors.encode(place_of(one.hit)), "node": one} for one in root.nodes]

    @staticmethod
    def resolve_page_info(root: Results, info: GraphQLResolveInfo) -> PageInfo:
        """Return whether there is more."""
        return page_info_of(root.page, is_first=root.is_first)

    @staticmethod
    def resolve_indexed_until(root: Results, info: GraphQLResolveInfo) -> datetime | None:
        """Return since when some may be missing."""
        return root.page.indexed_until


class SearchQueries(graphene.ObjectType):
    """What can be searched."""

    search_messages = graphene.Field(
        SearchConnection,
        description="Messages of one workspace by the words in their texts, newest first.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        query=graphene.String(
            required=True,
            description='Words that must all be there; "words in this order"; -without; '
            "beginning*. Case and accents do not matter. 256 characters at most.",
        ),
        conversation_id=graphene.ID(description="Only what is said in this conversation."),
        direction=MessageDirection(description="Only a person's, or only the business's."),
        since=graphene.DateTime(
            description="Only those from this time on (UTC without an offset)."
        ),
        until=graphene.DateTime(description="Only those before this time (UTC without an offset)."),
        **forward(),
    )

    @staticmethod
    def resolve_search_messages(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str,
        query: str,
        *,
        conversation_id: str | None = None,
        direction: Direction | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> Results:
        """Return one page."""
        actor = caller(info, Scope.MESSAGES_READ)
        wanted = wanted_of(
            actor,
            workspace_id=parse_id(workspace_id, "workspaceId"),
            query=query,
            conversation_id=conversation_id and parse_id(conversation_id, "conversationId"),
            direction=direction,
            since=since,
            until=until,
        )
        page = find(actor, wanted, first=first, after=after)
        rows = [hit.row for hit in page.hits]
        related = Related(actor.tenant_id, rows, info.context.read_originals)
        return Results(page, [ShownHit(hit, related) for hit in page.hits], after is None)


def wanted_of(
    actor: Actor,
    *,
    workspace_id: UUID,
    query: str,
    conversation_id: UUID | str | None,
    direction: Direction | None,
    since: datetime | None,
    until: datetime | None,
) -> Search:
    """Return what is searched for, at this door or over REST.

    Raises:
        BadInput: the query is none.
        NotFound: the workspace has no such conversation.
    """
    try:
        parsed = words.parse(query)
    except words.BadQuery as error:
        raise BadInput(f"The query {error}") from None
    contact_id = None
    if conversation_id:
        ids = [UUID(str(conversation_id))]
        found = conversation_queries.find_conversations(tenant_id=actor.tenant_id, ids=ids)
        if not found or found[0].workspace_id != workspace_id:
            raise NotFound("Your workspace has no conversation with this id.")
        contact_id = found[0].contact_id
    among = MessageFilter(
        tenant_id=actor.tenant_id,
        workspace_id=workspace_id,
        direction=direction,
        since=utc(since),
        until=utc(until),
    )
    return Search(query=parsed, among=among, contact_id=contact_id)


def find(actor: Actor, wanted: Search, *, first: int | None, after: str | None) -> SearchPage:
    """Return one page of the hits.

    Raises:
        BadInput: no size of a page, or no cursor.
        NotFound: the tenant has no such workspace.
    """
    page = search.read_page(wanted, limit=limit_of(first), after=cursor_of(after))
    if not page.hits:  # where there are some, there is a workspace
        check_workspace(actor, wanted.among.workspace_id)
    return page


def place_of(hit: Hit) -> cursors.Cursor:
    """Return a hit's place in the list."""
    return cursors.Cursor(hit.row.timestamp_utc, hit.row.id)


def page_info_of(page: SearchPage, *, is_first: bool) -> PageInfo:
    """Return where a page ends, and whether there is more."""
    places = [place_of(hit) for hit in page.hits]
    places += [page.looked_to] if page.looked_to else []
    return PageInfo(
        has_next_page=page.has_more,
        has_previous_page=not is_first,
        start_cursor=cursors.encode(places[0]) if places else None,
        end_cursor=cursors.encode(places[-1]) if places else None,
    )
