"""GraphQL: read messages, a page or one at a time: order, filters, pages and their cursors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TypedDict, Unpack
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors
from lib.graphql import (
    BadInput,
    NotFound,
    PageInfo,
    cursor_of,
    described_enum,
    limit_of,
    list_of,
    parse_id,
    utc,
)
from lib.numbering import NotInternational, international
from messaging import lookups, queries
from messaging.events import Direction
from messaging.graphql.messages import MessageDirection, MessageType, ShownMessage
from messaging.queries import MessageFilter, MessagePage, MessageRow, Window, ways_of_writing
from messaging.related import Related
from workspaces import models
from workspaces.access import Actor, Scope
from workspaces.graphql.base import caller
from workspaces.graphql.schema import Platform
from workspaces.identity import digester

DIGEST = re.compile(r"[0-9a-f]{64}")
WORD = re.compile(r"[A-Za-z0-9_]{1,64}")
ORDERS = {"ASC": "Smallest first: the oldest.", "DESC": "Largest first: the newest."}


class SortOrder(StrEnum):
    """Which end of an ordered list comes first."""

    ASC = "ASC"
    DESC = "DESC"


SortDirection = described_enum(
    SortOrder, "Which end of an ordered list comes first.", ORDERS, name="SortDirection"
)


class MessageOrder(graphene.InputObjectType):
    """How messages are ordered; ties go by id."""

    timestamp = graphene.Field(
        SortDirection, required=True, description="By the time they were sent."
    )


class MessageEdge(graphene.ObjectType):
    """A message and its place in the list."""

    cursor = graphene.String(required=True, description="Its place; use it with after or before.")
    node = graphene.Field(MessageType, required=True, description="The message.")


@dataclass(frozen=True, slots=True)
class Listing:
    """A page on its way out."""

    page: MessagePage
    window: Window
    related: Related
    count: Callable[[], int]


class MessageConnection(graphene.ObjectType):
    """One page of messages."""

    nodes = list_of(MessageType, "The messages.")
    edges = list_of(MessageEdge, "The messages with their cursors.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")
    total_count = graphene.Int(
        required=True,
        description="How many messages pass the filters. Counted only if selected, and where at "
        "most 25,000 have to be looked at; else narrow the time with since and until.",
    )

    @staticmethod
    def resolve_nodes(root: Listing, info: GraphQLResolveInfo) -> list[ShownMessage]:
        """Return the messages."""
        return [ShownMessage(message, root.related) for message in root.page.messages]

    @staticmethod
    def resolve_edges(root: Listing, info: GraphQLResolveInfo) -> list[dict[str, object]]:
        """Return the messages with their cursors."""
        return [
            {"cursor": _cursor_of(message), "node": ShownMessage(message, root.related)}
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


class MessageQueries(graphene.ObjectType):
    """What can be read about messages."""

    messages = graphene.Field(
        MessageConnection,
        description="Messages of one workspace; the 20 newest unless you ask otherwise.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        platform=Platform(description="Only this platform's."),
        first=graphene.Int(description="How many, from the beginning or from after."),
        after=graphene.String(description="Only what comes after this cursor."),
        last=graphene.Int(description="How many, back from the end or from before."),
        before=graphene.String(description="Only what comes before this cursor."),
        order_by=MessageOrder(description="How they are ordered; newest first unless given."),
        direction=MessageDirection(description="Only a person's, or only the business's."),
        type=graphene.String(description="Only those of this type."),
        status=graphene.String(description="Only those with this status."),
        sender=graphene.String(description="Only those by this platformUserId."),
        sender_phone=graphene.String(
            description="Only those by this phone number (E.164), which is digested and not kept. "
            "Needs contacts:lookup, and counts as one."
        ),
        since=graphene.DateTime(
            description="Only those from this time on (UTC without an offset)."
        ),
        until=graphene.DateTime(description="Only those before this time (UTC without an offset)."),
    )
    message = graphene.Field(
        MessageType,
        id=graphene.ID(required=True, description="The message's UUID."),
        description="One message of your tenant; null where there is none with this id.",
    )

    @staticmethod
    def resolve_messages(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str,
        **arguments: Unpack[MessageArguments],
    ) -> Listing:
        """Return one page."""
        actor = caller(info, Scope.MESSAGES_READ)
        workspace = parse_id(workspace_id, "workspaceId")
        wanted = wanted_of(arguments, actor, workspace_id=workspace)
        window = window_of(arguments)
        page = queries.read_page(wanted, window)
        if not page.messages:  # where there are some, there is a workspace
            check_workspace(actor, workspace)
        related = Related(actor.tenant_id, page.messages, info.context.read_originals)
        return Listing(page, window, related, partial(queries.count, wanted))

    @staticmethod
    def resolve_message(root: None, info: GraphQLResolveInfo, id: str) -> ShownMessage | None:
        """Return one message."""
        actor = caller(info, Scope.MESSAGES_READ)
        message = queries.find(tenant_id=actor.tenant_id, message_id=parse_id(id, "id"))
        if message is None:
            return None
        return ShownMessage(
            message, Related(actor.tenant_id, [message], info.context.read_originals)
        )


def check_workspace(actor: Actor, workspace_id: UUID) -> None:
    """Insist on a workspace of the caller's tenant.

    Raises:
        NotFound: there is none with this id.
    """
    if not models.Workspace.objects.filter(tenant_id=actor.tenant_id, pk=workspace_id).exists():
        raise NotFound("Your tenant has no workspace with this id.")


class _Order(TypedDict):
    """The ``orderBy`` argument."""

    timestamp: SortOrder


class MessageArguments(TypedDict, total=False):
    """The arguments of ``messages`` besides the workspace; each may be absent or null."""

    platform: models.Platform | None
    first: int | None
    after: str | None
    last: int | None
    before: str | None
    order_by: _Order | None
    direction: Direction | None
    type: str | None
    status: str | None
    sender: str | None
    sender_phone: str | None
    since: datetime | None
    until: datetime | None


def wanted_of(arguments: MessageArguments, actor: Actor, *, workspace_id: UUID) -> MessageFilter:
    """Return which messages the arguments ask for.

    Raises:
        BadInput: one of them cannot be used.
        Exception: what `messaging.lookups.charge` raises, of a number.
    """
    return MessageFilter(
        tenant_id=actor.tenant_id,
        workspace_id=workspace_id,
        platform=arguments.get("platform"),
        direction=arguments.get("direction"),
        type=_word(arguments.get("type"), "type"),
        status=_word(arguments.get("status"), "status"),
        senders=_senders(arguments, actor),
        since=utc(arguments.get("since")),
        until=utc(arguments.get("until")),
    )


def window_of(arguments: MessageArguments) -> Window:
    """Return the part of the list that the arguments ask for.

    Raises:
        BadInput: forward and backward are mixed, or one of them cannot be used.
    """
    backwards = arguments.get("last") is not None or arguments.get("before") is not None
    if backwards and (arguments.get("first") is not None or arguments.get("after") is not None):
        raise BadInput("Use first with after, or last with before, but not both.")
    order = arguments.get("order_by")
    return Window(
        limit=limit_of(arguments.get("last") if backwards else arguments.get("first")),
        cursor=cursor_of(arguments.get("before") if backwards else arguments.get("after")),
        backwards=backwards,
        newest_first=order is None or order["timestamp"] == SortOrder.DESC,
    )


def _word(value: str | None, name: str) -> str | None:
    if value is not None and not WORD.fullmatch(value):
        raise BadInput(f"{name} must be one of the platform's words, such as text or delivered.")
    return value


def _senders(arguments: MessageArguments, actor: Actor) -> tuple[str, ...] | None:
    digest, phone = arguments.get("sender"), arguments.get("sender_phone")
    if phone is not None:
        if digest is not None:
            raise BadInput("Use sender or senderPhone, not both.")
        digests = _digests_of(phone, actor.tenant_id)
        lookups.charge(actor)
        return ways_of_writing(tenant_id=actor.tenant_id, phones=digests)
    if digest is not None and not DIGEST.fullmatch(digest):
        raise BadInput("sender must be a platformUserId: 64 hexadecimal digits.")
    return None if digest is None else (digest,)


def _digests_of(phone: str, tenant_id: UUID) -> tuple[str, ...]:
    try:
        return digester(tenant_id).phones(international(phone))
    except NotInternational as error:
        raise BadInput(f"senderPhone: {error}") from None
