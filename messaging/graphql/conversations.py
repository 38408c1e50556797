"""GraphQL: the conversations of a number, newest first, and what is said in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypedDict, Unpack
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import cursors
from lib.graphql import (
    ObjectType,
    PageInfo,
    column,
    cursor_of,
    forward,
    limit_of,
    list_of,
    page_info,
    parse_id,
)
from messaging import conversation_queries, desk, labels
from messaging.conversation_queries import ConversationFilter, ConversationRow
from messaging.conversation_states import ConversationState
from messaging.graphql.labels import ConversationStates, LabelType, as_error
from messaging.graphql.messages import Acquaintance, ContactType, MessageType, ShownMessage
from messaging.graphql.pages import (
    Listing,
    MessageArguments,
    MessageConnection,
    MessageOrder,
    check_workspace,
    window_of,
)
from messaging.labels import LabelRow
from messaging.related import ShownConversation, show_conversations
from workspaces.access import Actor, Scope
from workspaces.graphql.base import caller


class ConversationType(ObjectType, name="Conversation", default_resolver=column):
    """What is said between one number of the business and one person."""

    id = graphene.ID(required=True, description="The conversation's UUID.")
    contact = graphene.Field(ContactType, description="The person.")
    last_message = graphene.Field(MessageType, description="The newest message of either side.")
    last_message_at = graphene.DateTime(required=True, description="When that was sent.")
    unread_count = graphene.Int(
        required=True, description="Messages of the person that nobody of the business has read."
    )
    window_open_until = graphene.DateTime(
        description="Until when anything but a template may be sent; null while only those may."
    )
    state = graphene.Field(
        ConversationStates, required=True, description="Whether it is to be answered."
    )
    snoozed_until = graphene.DateTime(description="When it comes back, while it is SNOOZED.")
    assignee_id = graphene.ID(
        description="The user of your tenant who answers it; null: nobody, or they left."
    )
    labels = list_of(LabelType, "Its labels, in the order of the alphabet.")
    messages = graphene.Field(
        MessageConnection,
        required=True,
        description="What was said; the 20 newest unless you ask otherwise.",
        first=graphene.Int(description="How many, from the beginning or from after."),
        after=graphene.String(description="Only what comes after this cursor."),
        last=graphene.Int(description="How many, back from the end or from before."),
        before=graphene.String(description="Only what comes before this cursor."),
        order_by=MessageOrder(description="How they are ordered; newest first unless given."),
    )

    @staticmethod
    def resolve_contact(root: ShownConversation, info: GraphQLResolveInfo) -> Acquaintance | None:
        """Return the person."""
        contact = root.threads.contacts.get(root.row.contact_id)
        return contact and Acquaintance(contact, root.threads)

    @staticmethod
    def resolve_last_message(
        root: ShownConversation, info: GraphQLResolveInfo
    ) -> ShownMessage | None:
        """Return the newest message."""
        messages, related = root.threads.last
        message = messages.get(root.row.last_message_id)
        return message and ShownMessage(message, related)

    @staticmethod
    def resolve_window_open_until(
        root: ShownConversation, info: GraphQLResolveInfo
    ) -> datetime | None:
        """Return when the customer care window closes."""
        return root.window_open_until

    @staticmethod
    def resolve_labels(root: ShownConversation, info: GraphQLResolveInfo) -> list[LabelRow]:
        """Return its labels."""
        known = root.threads.labels
        return [known[label_id] for label_id in root.row.label_ids if label_id in known]

    @staticmethod
    def resolve_messages(
        root: ShownConversation, info: GraphQLResolveInfo, **arguments: Unpack[MessageArguments]
    ) -> Listing:
        """Return one page of it."""
        window, row = window_of(arguments), root.row
        page, related = root.threads.messages(row, window)
        count = partial(
            conversation_queries.count_messages,
            tenant_id=info.context.actor.tenant_id,
            workspace_id=row.workspace_id,
            contact_id=row.contact_id,
        )
        return Listing(page, window, related, count)


class ConversationEdge(graphene.ObjectType):
    """A conversation and its place in the list."""

    cursor = graphene.String(required=True, description="Its place; use it with after.")
    node = graphene.Field(ConversationType, required=True, description="The conversation.")


@dataclass(frozen=True, slots=True)
class Threaded:
    """A page on its way out."""

    page: cursors.Page[ConversationRow]
    nodes: list[ShownConversation]
    is_first: bool


class ConversationConnection(graphene.ObjectType):
    """One page of conversations."""

    nodes = list_of(ConversationType, "The conversations.")
    edges = list_of(ConversationEdge, "The conversations with their cursors.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")

    @staticmethod
    def resolve_edges(root: Threaded, info: GraphQLResolveInfo) -> list[dict[str, object]]:
        """Return the conversations with their cursors."""
        return [
            {"cursor": conversation_queries.cursor_of(node.row), "node": node}
            for node in root.nodes
        ]

    @staticmethod
    def resolve_page_info(root: Threaded, info: GraphQLResolveInfo) -> PageInfo:
        """Return whether there is more."""
        return page_info(root.page, conversation_queries.cursor_of, is_first=root.is_first)


class ConversationQueries(graphene.ObjectType):
    """What can be read about conversations."""

    conversations = graphene.Field(
        ConversationConnection,
        description="Conversations of one workspace, the one with the newest message first.",
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        **forward(),
        unread_only=graphene.Boolean(
            default_value=False, description="Only those with messages nobody has read."
        ),
        state=graphene.Argument(ConversationStates, description="Only those in this state."),
        assignee=graphene.String(
            description="Only those of a user (id), of nobody (none), or your own (me)."
        ),
        label_id=graphene.ID(description="Only those with this label."),
    )
    conversation = graphene.Field(
        ConversationType,
        id=graphene.ID(required=True, description="The conversation's UUID."),
        description="One conversation of your tenant; null where there is none with this id.",
    )
    conversations_by_ids = list_of(
        ConversationType,
        "Conversations of your tenant by their ids, 100 at most: each once, in the order asked, "
        "without those that there are not.",
        ids=graphene.List(
            graphene.NonNull(graphene.ID), required=True, description="The conversations' UUIDs."
        ),
        required=False,
    )

    @staticmethod
    def resolve_conversations(
        root: None,
        info: GraphQLResolveInfo,
        workspace_id: str,
        *,
        first: int | None = None,
        after: str | None = None,
        **given: Unpack[FilterArguments],
    ) -> Threaded:
        """Return one page."""
        actor, workspace = caller(info, Scope.MESSAGES_READ), parse_id(workspace_id, "workspaceId")
        page = conversation_queries.read_conversations(
            tenant_id=actor.tenant_id,
            workspace_id=workspace,
            limit=limit_of(first),
            after=cursor_of(after),
            only=_filter(actor, given),
        )
        if not page.rows:  # where there are some, there is a workspace
            check_workspace(actor, workspace)
        return Threaded(page, shown(info, page.rows), after is None)

    @staticmethod
    def resolve_conversation(
        root: None, info: GraphQLResolveInfo, id: str
    ) -> ShownConversation | None:
        """Return one conversation."""
        return next(iter(_by_ids(info, [parse_id(id, "id")])), None)

    @staticmethod
    def resolve_conversations_by_ids(
        root: None, info: GraphQLResolveInfo, ids: Sequence[str]
    ) -> list[ShownConversation]:
        """Return those that there are."""
        limit_of(len(ids))
        return _by_ids(info, [parse_id(one, "ids") for one in ids])


def _by_ids(info: GraphQLResolveInfo, ids: Sequence[UUID]) -> list[ShownConversation]:
    tenant_id = caller(info, Scope.MESSAGES_READ).tenant_id
    return shown(info, conversation_queries.find_conversations(tenant_id=tenant_id, ids=ids))


class FilterArguments(TypedDict, total=False):
    """Which conversations are asked for; each may be absent or null."""

    unread_only: bool | None
    state: ConversationState | None
    assignee: str | None
    label_id: str | None


def _filter(actor: Actor, given: FilterArguments) -> ConversationFilter:
    state = given.get("state")
    return filter_of(
        actor,
        unread_only=bool(given.get("unread_only")),
        state=state and state.value,
        assignee=given.get("assignee"),
        label_id=given.get("label_id"),
    )


def filter_of(
    actor: Actor,
    *,
    unread_only: bool,
    state: str | None,
    assignee: str | None,
    label_id: str | None,
) -> ConversationFilter:
    """Return which conversations are asked for, at this door or over REST.

    Raises:
        lib.graphql.BadInput: nobody, or no id.
        lib.graphql.NotFound: no label of the tenant.
    """
    label = None if label_id is None else parse_id(label_id, "labelId")
    with as_error():
        if label is not None:
            labels.check(tenant_id=actor.tenant_id, label_id=label)
        who = desk.assignee_of(actor, assignee)
    return ConversationFilter(unread_only, state, who, label)


def shown(info: GraphQLResolveInfo, rows: Sequence[ConversationRow]) -> list[ShownConversation]:
    """Return conversations as they are shown."""
    return show_conversations(info.context.actor.tenant_id, rows, info.context.read_originals)
