"""GraphQL: read messages, a page or one at a time."""

from __future__ import annotations

from functools import partial
from typing import Unpack

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import parse_id
from messaging import queries
from messaging.graphql.access import check_workspace, reader
from messaging.graphql.arguments import MessageArguments, wanted_of, window_of
from messaging.graphql.connection import Listing, MessageConnection, MessageOrder
from messaging.graphql.messages import Item, Message, MessageDirection
from messaging.related import Related
from workspaces.graphql.types import Platform


class Query(graphene.ObjectType):
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
            description="Only those by this phone number (E.164), which is digested and not kept."
        ),
        since=graphene.DateTime(
            description="Only those from this time on (UTC without an offset)."
        ),
        until=graphene.DateTime(description="Only those before this time (UTC without an offset)."),
    )
    message = graphene.Field(
        Message,
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
        actor = reader(info)
        workspace = parse_id(workspace_id, "workspaceId")
        wanted = wanted_of(arguments, tenant_id=actor.tenant_id, workspace_id=workspace)
        window = window_of(arguments)
        page = queries.read_page(wanted, window)
        if not page.messages:  # where there are some, there is a workspace
            check_workspace(actor, workspace)
        related = Related(actor.tenant_id, page.messages, info.context.read_originals)
        return Listing(page, window, related, partial(queries.count, wanted))

    @staticmethod
    def resolve_message(root: None, info: GraphQLResolveInfo, id: str) -> Item | None:
        """Return one message."""
        actor = reader(info)
        message = queries.find(tenant_id=actor.tenant_id, message_id=parse_id(id, "id"))
        if message is None:
            return None
        return Item(message, Related(actor.tenant_id, [message], info.context.read_originals))
