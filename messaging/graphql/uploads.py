"""GraphQL: files to send, and how far they are on their way to the platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import ObjectType, described_enum, list_of, parse_id
from messaging import models, upload_queries
from messaging.graphql.sending import SendError, SendingMutation
from messaging.sending import files
from messaging.sending.reading import id_of
from messaging.upload_queries import FileToSend
from workspaces.access import Scope
from workspaces.graphql.base import MutationContext, caller, errors_field, success_field

GivingState = described_enum(
    upload_queries.GivingState,
    "How far a file is on its way to the platform.",
    upload_queries.GIVING_STATES,
)
UploadState = described_enum(
    models.UploadState,
    "Whether a file can be sent.",
    {
        models.UploadState.STORING: "It is being stored, or cannot be read: upload it again.",
        models.UploadState.READY: "It can be sent.",
    },
)


class GivingErrorType(ObjectType, name="FileToSendError"):
    """Why a file is not given to the platform yet, and what helps."""

    code = graphene.Int(description="Meta's error code, where there is one, such as 131053.")
    message = graphene.String(required=True, description="The reason, for people.")
    remedy = graphene.String(required=True, description="What helps.")


class GivingType(ObjectType, name="FileToSendAtNumber"):
    """A file on its way to the platform, for one number."""

    workspace_id = graphene.ID(required=True, description="The workspace of the number.")
    state = graphene.Field(GivingState, required=True, description="How far it is.")
    bytes_given = graphene.BigInt(
        required=True, description="How many bytes the platform has; written every few seconds."
    )
    next_attempt_at = graphene.DateTime(description="When it is tried at the earliest.")
    expires_at = graphene.DateTime(description="When it is given again, if a message needs it.")
    error = graphene.Field(GivingErrorType, description="Why the last attempt failed.")


class FileToSendType(ObjectType, name="FileToSend"):
    """A file that an application gave us to send."""

    media_id = graphene.ID(required=True, description="What `media { id }` of a send takes.")
    mime_type = graphene.String(required=True, description="Its type, as its bytes say.")
    size = graphene.BigInt(required=True, description="How many bytes it has.")
    filename = graphene.String(required=True, description="The name it came with; may be empty.")
    state = graphene.Field(UploadState, required=True, description="Whether it can be sent.")
    created_at = graphene.DateTime(required=True, description="When it came first.")
    kept_until = graphene.DateTime(
        required=True, description="When it is removed, unless it is used until then."
    )
    numbers = list_of(GivingType, "The numbers it was given for, or is to be.")


class FileToSendQueries(graphene.ObjectType):
    """What can be read about files to send."""

    file_to_send = graphene.Field(
        FileToSendType,
        description="A file that you gave us to send, and how far it is on its way to the "
        "platform. Null where your tenant has none with this id.",
        media_id=graphene.ID(required=True, description="What the upload answered."),
    )

    @staticmethod
    def resolve_file_to_send(
        root: None, info: GraphQLResolveInfo, media_id: str
    ) -> FileToSend | None:
        """Return it."""
        tenant_id = caller(info, Scope.MESSAGES_SEND).tenant_id
        upload_id = parse_id(media_id, "mediaId")
        return upload_queries.read(tenant_id=tenant_id, upload_id=upload_id, now=clock.now())


class DeleteFileToSendInput(graphene.InputObjectType):
    """The file to remove."""

    media_id = graphene.ID(required=True, description="What the upload answered.")


class DeleteFileToSend(SendingMutation):
    """Whether a file to send was removed, and if not, why."""

    class Arguments:
        input = DeleteFileToSendInput(required=True, description="The file to remove.")

    success = success_field()
    errors = errors_field(SendError, "Why not: every reason.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Remove it."""
        upload_id = id_of(given["media_id"], "media_id")
        files.remove(tenant_id=context.actor.tenant_id, upload_id=upload_id, now=clock.now())
        return {}


class FileToSendMutations(graphene.ObjectType):
    """What can be changed about files to send."""

    delete_file_to_send = DeleteFileToSend.Field(
        required=True, description="Remove a file that no message may need any more."
    )
