"""GraphQL: the canned replies of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import ObjectType, list_of, parse_id
from messaging import canned
from messaging.canned import CannedReplyRow
from messaging.desk import UnableToHandle
from messaging.graphql.labels import ERRORS, as_error, given_of
from workspaces.access import Scope
from workspaces.graphql.base import MutationContext, ServiceMutation, caller, success_field


class CannedReplyType(ObjectType, name="CannedReply"):
    """A text that is kept to be sent again."""

    id = graphene.ID(required=True, description="The canned reply's UUID.")
    workspace_id = graphene.ID(required=True, description="The workspace whose people use it.")
    shortcut = graphene.String(required=True, description="What people type to find it.")
    text = graphene.String(required=True, description="The text, as it was written.")


class CannedReplyQueries(graphene.ObjectType):
    """What can be read about canned replies."""

    canned_replies = list_of(
        CannedReplyType,
        "The canned replies of a workspace, in the order of their shortcuts.",
        required=False,
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
    )

    @staticmethod
    def resolve_canned_replies(
        root: None, info: GraphQLResolveInfo, workspace_id: str
    ) -> list[CannedReplyRow]:
        """Return all of them."""
        tenant_id = caller(info, Scope.MESSAGES_READ).tenant_id
        with as_error():
            return canned.read_all(
                tenant_id=tenant_id, workspace_id=parse_id(workspace_id, "workspaceId")
            )


class CreateCannedReplyInput(graphene.InputObjectType):
    """The canned reply to make."""

    workspace_id = graphene.ID(required=True, description="The workspace whose people use it.")
    shortcut = graphene.String(
        required=True, description="1 to 50 characters, in the workspace once, without case."
    )
    text = graphene.String(
        required=True, description="1 to 4096 characters, as they are; {{name}} too."
    )


class UpdateCannedReplyInput(graphene.InputObjectType):
    """What to change of a canned reply; what is left out stays."""

    reply_id = graphene.ID(required=True, description="The canned reply's UUID.")
    shortcut = graphene.String(description="The new shortcut.")
    text = graphene.String(description="The new text.")


class DeleteCannedReplyInput(graphene.InputObjectType):
    """The canned reply to delete."""

    reply_id = graphene.ID(required=True, description="The canned reply's UUID.")


class _CannedReplyMutation(ServiceMutation, abstract=True):
    """Changes a canned reply; the fields of both payloads."""

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    canned_reply = graphene.Field(CannedReplyType, description="The canned reply, on success.")
    errors = ERRORS


class CreateCannedReply(_CannedReplyMutation):
    """Whether the canned reply was made, and if not, why."""

    class Arguments:
        input = CreateCannedReplyInput(required=True, description="The canned reply to make.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Make it."""
        wanted = canned.read_new(given_of(given))
        return {"canned_reply": canned.create(tenant_id=context.actor.tenant_id, wanted=wanted)}


class UpdateCannedReply(_CannedReplyMutation):
    """Whether the canned reply was changed, and if not, why."""

    class Arguments:
        input = UpdateCannedReplyInput(required=True, description="What to change.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Change it."""
        said = given_of(given)
        reply_id = parse_id(said.pop("reply_id"), "replyId")
        changed = canned.update(
            tenant_id=context.actor.tenant_id,
            reply_id=reply_id,
            wanted=canned.read_change(said),
        )
        return {"canned_reply": changed}


class DeleteCannedReply(ServiceMutation):
    """Whether the canned reply was deleted, and if not, why."""

    class Arguments:
        input = DeleteCannedReplyInput(required=True, description="The canned reply to delete.")

    scope, refusal = Scope.MESSAGES_SEND, UnableToHandle
    success = success_field()
    errors = ERRORS

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Delete it."""
        reply_id = parse_id(given["reply_id"], "replyId")
        canned.delete(tenant_id=context.actor.tenant_id, reply_id=reply_id)
        return {}


class CannedReplyMutations(graphene.ObjectType):
    """What can be changed about canned replies."""

    create_canned_reply = CreateCannedReply.Field(
        required=True, description="Keep a text to be sent again."
    )
    update_canned_reply = UpdateCannedReply.Field(
        required=True, description="Change the shortcut or the text of a canned reply."
    )
    delete_canned_reply = DeleteCannedReply.Field(
        required=True, description="Delete a canned reply."
    )
