"""GraphQL: linked devices, what they do and what is asked of them."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from connectors import models
from connectors.linked_device import overview
from connectors.linked_device.graphql import mutations
from connectors.linked_device.graphql.types import SenderSession
from lib.graphql import parse_id
from workspaces.access import Actor
from workspaces.scopes import Scope


class Query(graphene.ObjectType):
    """What can be read about linked devices."""

    sender_session = graphene.Field(
        SenderSession,
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        description="The session of a linked device; null where your tenant has no such linked "
        "device. Needs sender:read.",
    )
    sender_sessions = graphene.List(
        graphene.NonNull(SenderSession),
        description="The sessions of your tenant's linked devices, by workspace; needs "
        "sender:read.",
    )

    @staticmethod
    def resolve_sender_session(
        root: None, info: GraphQLResolveInfo, workspace_id: str
    ) -> models.SenderSession | None:
        """Return one."""
        actor = _reader(info)
        return overview.find(
            tenant_id=actor.tenant_id, workspace_id=parse_id(workspace_id, "workspaceId")
        )

    @staticmethod
    def resolve_sender_sessions(root: None, info: GraphQLResolveInfo) -> list[models.SenderSession]:
        """Return all of them."""
        return overview.of_tenant(_reader(info).tenant_id)


class Mutation(graphene.ObjectType):
    """What can be asked of linked devices."""

    pair_sender = mutations.PairSender.Field(
        required=True, description="Ask a phone to link; needs sender:manage."
    )
    start_sender = mutations.StartSender.Field(
        required=True, description="Let a linked device run; needs sender:manage."
    )
    stop_sender = mutations.StopSender.Field(
        required=True,
        description="Let a linked device end, after the send that is under way, and give up a "
        "pairing; needs sender:manage.",
    )
    restart_sender = mutations.RestartSender.Field(
        required=True,
        description="Let a linked device end and start again; needs sender:manage.",
    )


def _reader(info: GraphQLResolveInfo) -> Actor:
    actor: Actor = info.context.actor
    actor.require(Scope.SENDER_READ)
    return actor
