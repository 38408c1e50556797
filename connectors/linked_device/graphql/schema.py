"""GraphQL: linked devices, what they do and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from connectors import models
from connectors.linked_device import overview, sessions
from connectors.linked_device.graphql.types import PairBy, SenderError, SenderSession
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from lib.graphql import parse_id
from workspaces.access import Actor
from workspaces.scopes import Scope

FIELDS = {
    SessionErrorCode.NOT_FOUND: "workspaceId",
    SessionErrorCode.NOT_A_LINKED_DEVICE: "workspaceId",
    SessionErrorCode.INVALID_PHONE: "phone",
}
Payload = TypeVar("Payload", bound=graphene.Mutation)
Verb = Callable[[UUID, datetime], models.SenderSession]


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


def _success() -> graphene.Boolean:
    return graphene.Boolean(required=True, description="Whether it was asked for.")


def _session() -> graphene.Field:
    return graphene.Field(SenderSession, description="The session as it is now, on success.")


def _errors() -> graphene.List:
    return graphene.List(graphene.NonNull(SenderError), required=True, description="Why not.")


class PairSender(graphene.Mutation):
    """The session, whose pairing will have the code within seconds, or why there is none."""

    class Meta:
        name = "PairSenderPayload"

    class Arguments:
        input = PairSenderInput(required=True, description="Which, and how.")

    success, session, errors = _success(), _session(), _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: PairSenderInput) -> PairSender:
        """Ask a phone to link."""
        by, number = models.PairBy(input.by.value), input.get("phone")

        def pair(session_id: UUID, now: datetime) -> models.SenderSession:
            return sessions.pair(session_id, by=by, number=number, now=now)

        return _attempt(PairSender, info, input.workspace_id, pair)


class StartSender(graphene.Mutation):
    """The session that is to run, or why it is not."""

    class Meta:
        name = "StartSenderPayload"

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    success, session, errors = _success(), _session(), _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: SenderInput) -> StartSender:
        """Let it run."""
        return _attempt(
            StartSender, info, input.workspace_id, lambda id, now: sessions.start(id, now=now)
        )


class StopSender(graphene.Mutation):
    """The session that is to end, or why it is not."""

    class Meta:
        name = "StopSenderPayload"

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    success, session, errors = _success(), _session(), _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: SenderInput) -> StopSender:
        """Let it end."""
        return _attempt(
            StopSender, info, input.workspace_id, lambda id, now: sessions.stop(id, now=now)
        )


class RestartSender(graphene.Mutation):
    """The session that is to end and start again, or why it is not."""

    class Meta:
        name = "RestartSenderPayload"

    class Arguments:
        input = SenderInput(required=True, description="Which.")

    success, session, errors = _success(), _session(), _errors()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: SenderInput) -> RestartSender:
        """Let it end and start again."""
        return _attempt(
            RestartSender, info, input.workspace_id, lambda id, now: sessions.restart(id, now=now)
        )


def _attempt(
    payload: type[Payload], info: GraphQLResolveInfo, workspace_id: str, verb: Verb
) -> Payload:
    actor: Actor = info.context.actor
    actor.require(Scope.SENDER_MANAGE)
    workspace = parse_id(workspace_id, "workspaceId")
    try:
        session = sessions.of_workspace(tenant_id=actor.tenant_id, workspace_id=workspace)
        verb(session.pk, datetime.now(UTC))
    except UnableTo as refusal:
        error = SenderError(
            code=refusal.code, field=FIELDS.get(refusal.code), message=refusal.message
        )
        refused: Payload = payload(success=False, errors=[error])
        return refused
    fresh = overview.find(tenant_id=actor.tenant_id, workspace_id=workspace)
    done: Payload = payload(success=True, session=fresh, errors=[])
    return done


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


def _reader(info: GraphQLResolveInfo) -> Actor:
    actor: Actor = info.context.actor
    actor.require(Scope.SENDER_READ)
    return actor
