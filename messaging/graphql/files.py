"""GraphQL: a file that a message carries."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from messaging import models
from messaging.media import download_url
from workspaces.scopes import Scope

STATES = {
    "AVAILABLE": "The platform can be asked for the file.",
    "GONE": "The platform no longer has the file, or the sender deleted the message.",
}


def _describe_state(value: models.MediaState | None) -> str:
    return "Whether a file can be fetched." if value is None else STATES[value]


MediaState = graphene.Enum.from_enum(models.MediaState, description=_describe_state)


class Media(graphene.ObjectType):
    """A file that a message carries; its bytes stay with the platform until somebody asks."""

    id = graphene.ID(required=True, description="The file's UUID.")
    mime_type = graphene.String(
        required=True, description="The sender's word for the kind of file."
    )
    sha256 = graphene.String(
        required=True, description="Base64 of its SHA-256, as the platform says."
    )
    filename = graphene.String(required=True, description="The sender's file name; may be empty.")
    size_bytes = graphene.BigInt(description="Its size, where known.")
    voice = graphene.Boolean(required=True, description="Whether it was recorded as a voice note.")
    animated = graphene.Boolean(required=True, description="Whether it is an animated sticker.")
    state = graphene.Field(MediaState, required=True, description="Whether it can be fetched.")
    expires_at = graphene.DateTime(description="When the platform will forget it, where known.")
    download_url = graphene.String(
        description="A link that serves the file to anybody for 15 minutes; needs media:read. "
        "Null where the file is gone."
    )

    @staticmethod
    def resolve_download_url(root: models.Media, info: GraphQLResolveInfo) -> str | None:
        """Sign a link, for callers who may have the file."""
        info.context.actor.require(Scope.MEDIA_READ)
        return download_url(root) if root.state == models.MediaState.AVAILABLE else None
