"""GraphQL: linked devices, what they do and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from connectors.linked_device import models, overview, sessions
from connectors.linked_device.graphql.types import PairBy, SenderError, SenderSessionType
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from lib.graphql import list_of, parse_id
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    TypedError,
    caller,
    errors_field,
    success_field,
)

FIELDS = {
    SessionErrorCode.NOT_FOUND: "workspaceId",
    SessionErrorCode.NOT_A_LINKED_DEVICE: "workspaceId",
    SessionErrorCode.INVALID_PHONE: "phone",
}


class SenderInput(graphene.InputObjectType):
    """Which linked device."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")


class PairSenderInput(graphene.InputObjectType):
    """Which linked device, and how the phone is asked."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    by = graphene.Field(PairBy, required=True, description="How the phone is asked to link.")
    phone = graphene.String(
        description="For a code: the phone's number in international form (+27…)."
    )


class _SenderMutation(ServiceMutation, abstract=True):
    """Asks something of a linked device, which may be asked again; the fields of all payloads."""

    scope, refusal = Scope.SENDER_MANAGE, UnableTo
    success = success_field("Whether it was asked for.")
    session = graphene.Field(SenderSessionType, description="The session as it is now, on success.")
    errors = errors_field(SenderError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Ask it, and return the session as it is then."""
        tenant_id = context.actor.tenant_id
        workspace_id = parse_id(given["workspace_id"], "workspaceId")
        session = sessions.of_workspace(tenant_id=tenant_id, workspace_id=workspace_id)
        cls.ask(session.pk, given, now=datetime.now(UTC))
        return {"session": overview.find(tenant_id=tenant_id, workspace_id=workspace_id)}

    @classmethod
    def ask(cls, session_id: UUID, given: Mapping[str, Any], *, now: datetime) -> None:
        """Ask it of a session."""
        raise NotImplementedError

    @classmethod
    def errors_of(cls, refusal: UnableTo) -> list[TypedError]:
        """Return the reason, with the input at fault."""
        return [TypedError(refusal.code, FIELDS.get(refusal.code), refusal.message)]


class PairSender(_SenderMutation):
    """The session, whose pairing will have the code within seconds, or why there is none."""

    class Arguments:
        input = PairSenderInput(required=True, description="Which, and how.")

    @classmethod
    def ask(cls, session_id: UUID, given: Mapping[str, Any], *, now: datetime) -> None:
        """Ask a phone to link."""
        by, number = models.PairBy(given["by"].value), given.get("phone")
        sessions.pair(session_id, by=by, number=number, now=now)


class StartSender(_SenderMutation):
    """The session that is to run, or why it is not."""

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    @classmethod
    def ask(cls, session_id: UUID, given: Mapping[str, Any], *, now: datetime) -> None:
        """Let it run."""
        sessions.start(session_id, now=now)


class StopSender(_SenderMutation):
    """The session that is to end, or why it is not."""

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    @classmethod
    def ask(cls, session_id: UUID, given: Mapping[str, Any], *, now: datetime) -> None:
        """Let it end."""
        sessions.stop(session_id, now=now)


class RestartSender(_SenderMutation):
    """The session that is to end and start again, or why it is not."""

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    @classmethod
    def ask(cls, session_id: UUID, given: Mapping[str, Any], *, now: datetime) -> None:
        """Let it end and start again."""
        sessions.restart(session_id, now=now)


class LinkedDeviceQueries(graphene.ObjectType):
    """What can be read about linked devices."""

    sender_session = graphene.Field(
        SenderSessionType,
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        description="The session of a linked device; null where your tenant has no such linked "
        "device. Needs sender:read.",
    )
    sender_sessions = list_of(
        SenderSessionType,
        "The sessions of your tenant's linked devices, by workspace; needs sender:read.",
        required=False,
    )

    @staticmethod
    def resolve_sender_session(
        root: None, info: GraphQLResolveInfo, workspace_id: str
    ) -> models.SenderSession | None:
        """Return one."""
        return overview.find(
            tenant_id=caller(info, Scope.SENDER_READ).tenant_id,
            workspace_id=parse_id(workspace_id, "workspaceId"),
        )

    @staticmethod
    def resolve_sender_sessions(root: None, info: GraphQLResolveInfo) -> list[models.SenderSession]:
        """Return all of them."""
        return overview.of_tenant(caller(info, Scope.SENDER_READ).tenant_id)


class LinkedDeviceMutations(graphene.ObjectType):
    """What can be asked of linked devices."""

    pair_sender = PairSender.Field(
        required=True, description="Ask a phone to link; needs sender:manage."
    )
    start_sender = StartSender.Field(
        required=True, description="Let a linked device run; needs sender:manage."
    )
    stop_sender = StopSender.Field(
        required=True,
        description="Let a linked device end, after the send that is under way, and give up a "
        "pairing; needs sender:manage.",
    )
    restart_sender = RestartSender.Field(
        required=True,
        description="Let a linked device end and start again; needs sender:manage.",
    )
