"""GraphQL: the state, assignee and labels of a conversation, and the notes about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import (
    ObjectType,
    PageInfo,
    cursor_of,
    forward,
    limit_of,
    list_of,
    none_if_empty,
    page_info,
    parse_id,
)
from messaging import desk
from messaging.desk import UnableToHandle
from messaging.graphql.conversations import ConversationType, shown
from messaging.graphql.labels import ERRORS, ConversationStates, as_error, given_of
from workspaces.access import Scope
from workspaces.graphql.base import MutationContext, ServiceMutation, caller, success_field


class ConversationNoteType(ObjectType, name="ConversationNote"):
    """What somebody of the business wrote down; no customer ever gets it."""

    id = graphene.ID(required=True, description="The note's UUID.")
    conversation_id = graphene.ID(required=True, description="The conversation's UUID.")
    text = graphene.String(required=True, description="The note.")
    author_id = graphene.ID(description="The user who wrote it; null where an API key did.")
    author_key = graphene.String(description="The name of the API key that wrote it.")
    created_at = graphene.DateTime(required=True, description="When it was written.")

    resolve_author_key = none_if_empty("author_key")


class ConversationNoteConnection(graphene.ObjectType):
    """One page of notes."""

    nodes = list_of(ConversationNoteType, "The notes, the newest first.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


class DeskQueries(graphene.ObjectType):
    """What can be read about the handling of conversations."""

    conversation_notes = graphene.Field(
        ConversationNoteConnection,
        description="The notes about one conversation, the newest first.",
        conversation_id=graphene.ID(required=True, description="The conversation's UUID."),
        **forward(),
    )

    @staticmethod
    def resolve_conversation_notes(
        root: None,
        info: GraphQLResolveInfo,
        conversation_id: str,
        first: int | None = None,
        after: str | None = None,
    ) -> dict[str, object]:
        """Return one page."""
        actor = caller(info, Scope.MESSAGES_READ)
        with as_error():
            page = desk.read_notes(
                tenant_id=actor.tenant_id,
                conversation_id=parse_id(conversation_id, "conversationId"),
                limit=limit_of(first),
                after=cursor_of(after),
            )
        return {
            "nodes": page.rows,
            "page_info": page_info(page, desk.place_of, is_first=after is None),
        }


class UpdateConversationInput(graphene.InputObjectType):
    """What to change of a conversation; what is left out stays."""

    conversation_id = graphene.ID(required=True, description="The conversation's UUID.")
    state = graphene.Field(ConversationStates, description="The new state.")
    snoozed_until = graphene.DateTime(description="When it comes back; with SNOOZED alone.")
    assignee_id = graphene.ID(description="The user who answers it; null: nobody.")
    add_label_ids = graphene.List(graphene.NonNull(graphene.ID), description="Labels to put on it.")
    remove_label_ids = graphene.List(
        graphene.NonNull(graphene.ID), description="Labels to take off."
    )


class AddConversationNoteInput(graphene.InputObjectType):
    """A note to keep."""

    conversation_id = graphene.ID(required=True, description="The conversation's UUID.")
    text = graphene.String(required=True, description="1 to 10,000 characters.")


class DeleteConversationNoteInput(graphene.InputObjectType):
    """The note to delete."""

    note_id = graphene.ID(required=True, description="The note's UUID.")


class UpdateConversation(ServiceMutation):
    """Whether the conversation was changed, and if not, why."""

    class Arguments:
        input = UpdateConversationInput(required=True, description="What to change.")

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    conversation = graphene.Field(ConversationType, description="As it is now, on success.")
    errors = ERRORS

    @classmethod
    def mutate(cls, root: None, info: GraphQLResolveInfo, input: Any) -> UpdateConversation:
        """Change it, and show it."""
        done = super().mutate(root, info, input)
        if done.success:
            (done.conversation,) = shown(info, [done.conversation])
        return done

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Change it."""
        said = given_of(given, nullable="assignee_id")
        conversation_id = parse_id(said.pop("conversation_id"), "conversationId")
        user_id = said.get("assignee_id")
        if user_id is not None and user_id.isascii() and user_id.isdigit():
            said["assignee_id"] = int(user_id[:11])  # no more digits than say: too large
        wanted = desk.read_changes(said)
        row = desk.change(context.actor, conversation_id, wanted, now=clock.now())
        return {"conversation": row}


class AddConversationNote(ServiceMutation):
    """Whether the note was kept, and if not, why."""

    class Arguments:
        input = AddConversationNoteInput(required=True, description="The note.")

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    note = graphene.Field(ConversationNoteType, description="The note, on success.")
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Keep it."""
        conversation_id = parse_id(given["conversation_id"], "conversationId")
        note = desk.add_note(context.actor, conversation_id, given["text"], now=clock.now())
        return {"note": note}


class DeleteConversationNote(ServiceMutation):
    """Whether the note was deleted, and if not, why."""

    class Arguments:
        input = DeleteConversationNoteInput(required=True, description="The note to delete.")

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Delete it."""
        note_id = parse_id(given["note_id"], "noteId")
        desk.delete_note(tenant_id=context.actor.tenant_id, note_id=note_id)
        return {}


class DeskMutations(graphene.ObjectType):
    """What can be changed about the handling of conversations."""

    update_conversation = UpdateConversation.Field(
        required=True,
        description="Open, snooze or close a conversation, assign it, put labels on it.",
    )
    add_conversation_note = AddConversationNote.Field(
        required=True, description="Write something down about a conversation."
    )
    delete_conversation_note = DeleteConversationNote.Field(
        required=True, description="Delete a note."
    )
