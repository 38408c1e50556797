"""GraphQL: the sessions of linked devices as callers see them, and what is asked of them. What a
caller may not see is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, cast
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from connectors.linked_device import health, models, sessions
from connectors.linked_device.health import NumberHealth
from connectors.linked_device.sessions import SessionErrorCode, UnableTo
from lib import clock, qrcodes
from lib.graphql import ObjectType, described_enum, list_of, none_if_empty, parse_id
from workspaces.access import Actor, Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    TypedError,
    caller,
    errors_field,
    reason_fields,
    success_field,
)

STATE_DESCRIPTIONS = {
    "STOPPED": "Not running.",
    "WAITING": "Asked to run; it starts after the 30 seconds that lie between a stop and a start.",
    "STARTING": "Connecting to WhatsApp.",
    "PAIRING": "A phone may link this device now; pairing has what it needs.",
    "CONNECTED": "Connected and logged in: it sends and receives.",
    "DISCONNECTED": "The connection was lost; it reconnects by itself.",
    "CONFLICT": "Another program connected as this device; it waits for somebody to decide.",
    "RATE_LIMITED": "WhatsApp asked to wait; it goes on by itself at until.",
    "BANNED": "WhatsApp banned the account for a time; it goes on by itself at until.",
    "LOGGED_OUT": "The phone, or WhatsApp, removed this device; it has to be paired again.",
    "OUTDATED": "WhatsApp no longer takes this version of the library.",
    "FAILED": "It ended unexpectedly; it starts again by itself, later each time.",
}
PAIR_DESCRIPTIONS = {
    "QR": "The phone scans a QR code.",
    "CODE": "The phone's owner types a code of eight characters.",
}
WANTED_DESCRIPTIONS = {"STOPPED": "It is to be stopped.", "RUNNING": "It is to run."}
# Those that a caller can meet here; the others are of commands on the machine that has the store.
CODE_DESCRIPTIONS = {
    "NOT_FOUND": "Your tenant has no workspace with this id.",
    "NOT_A_LINKED_DEVICE": "The workspace goes through another transport.",
    "NOT_PAIRED": "No phone is linked: pair one first.",
    "ALREADY_PAIRED": "A phone is linked already; an operator clears the session first.",
    "INVALID_PHONE": "The phone number is not in international form (E.164).",
}
SenderState = described_enum(
    models.SessionState,
    "Where a linked device's session is.",
    STATE_DESCRIPTIONS,
    name="SenderState",
)
PairBy = described_enum(models.PairBy, "How a phone is asked to link.", PAIR_DESCRIPTIONS)
Wanted = described_enum(
    models.Wanted, "What is wanted of a session.", WANTED_DESCRIPTIONS, name="SenderWanted"
)
SenderErrorCode = described_enum(
    cast("type[Enum]", StrEnum("SenderErrorCode", [(code, code) for code in CODE_DESCRIPTIONS])),
    "Why it was not done.",
    CODE_DESCRIPTIONS,
)


class SenderPairing(graphene.ObjectType):
    """What a phone needs to link this device now. A secret: whoever has it becomes the account."""

    by = graphene.Field(PairBy, required=True, description="How the phone is asked.")
    code = graphene.String(
        required=True, description="The code to type, such as ABCD-EFGH, or the QR code's text."
    )
    qr_svg = graphene.String(description="The QR code as an SVG image; null for a code to type.")
    expires_at = graphene.DateTime(
        required=True, description="Until when it is good; a QR code is then replaced by the next."
    )

    @staticmethod
    def resolve_qr_svg(root: sessions.Pairing, info: GraphQLResolveInfo) -> str | None:
        """Draw it."""
        return qrcodes.as_svg(root.code) if root.by == models.PairBy.QR else None


class SenderHealth(graphene.ObjectType):
    """Whether a linked device does what it is there for."""

    ok = graphene.Boolean(required=True, description="Whether nothing is wrong.")
    problems = list_of(graphene.String, "What is wrong, in sentences.")


class SenderSessionType(ObjectType, name="SenderSession"):
    """A WhatsApp account that is linked as a device, of one workspace; null: not known."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    workspace_name = graphene.String(required=True, description="The workspace's name for people.")
    state = graphene.Field(SenderState, required=True, description="Where it is.")
    reason = graphene.String(required=True, description="Why, for people.")
    remedy = graphene.String(description="What somebody should do next; null: nothing.")
    since = graphene.DateTime(required=True, description="Since when it is there.")
    until = graphene.DateTime(description="Until when it stays there by itself.")
    wanted = graphene.Field(Wanted, required=True, description="What was asked for last.")
    is_paired = graphene.Boolean(required=True, description="Whether a phone is linked.")
    is_running = graphene.Boolean(
        required=True, description="Whether a process holds its connection now."
    )
    phone = graphene.String(
        description="The account's number, masked but for its beginning without numbers:read."
    )
    platform = graphene.String(
        resolver=none_if_empty("device_platform"),
        description="What the phone runs, such as android or iphone.",
    )
    push_name = graphene.String(
        resolver=none_if_empty("push_name"),
        description="The name that the account shows to others.",
    )
    library = graphene.String(
        resolver=none_if_empty("library"), description="What drives the device, with its version."
    )
    paired_at = graphene.DateTime(description="When a phone linked it.")
    last_event_at = graphene.DateTime(description="The last sign of life of WhatsApp's servers.")
    last_inbound_at = graphene.DateTime(description="When somebody last wrote to it.")
    last_sent_at = graphene.DateTime(description="When it last sent a message.")
    pairing = graphene.Field(
        SenderPairing,
        description="What a phone needs to link it; only with sender:manage, only while it is "
        "good. Ask every two seconds while you show it.",
    )
    health = graphene.Field(SenderHealth, required=True, description="Whether something is wrong.")
    warnings = list_of(graphene.String, "What everybody must know who links a device.")

    @staticmethod
    def resolve_workspace_name(root: models.SenderSession, info: GraphQLResolveInfo) -> str:
        """Return the workspace's name."""
        return root.workspace.name

    @staticmethod
    def resolve_remedy(root: models.SenderSession, info: GraphQLResolveInfo) -> str | None:
        """Return what to do."""
        return health.remedy(root, now=_now()) or None

    @staticmethod
    def resolve_is_paired(root: models.SenderSession, info: GraphQLResolveInfo) -> bool:
        """Return whether the time is set."""
        return root.paired_at is not None

    @staticmethod
    def resolve_is_running(root: models.SenderSession, info: GraphQLResolveInfo) -> bool:
        """Return whether the lease is held."""
        return root.is_held(_now())

    @staticmethod
    def resolve_phone(root: models.SenderSession, info: GraphQLResolveInfo) -> str | None:
        """Return the number as this caller may see it."""
        return health.phone(root, in_clear=_may(info, Scope.NUMBERS_READ)) or None

    @staticmethod
    def resolve_pairing(
        root: models.SenderSession, info: GraphQLResolveInfo
    ) -> sessions.Pairing | None:
        """Return it to a caller that may pair."""
        return sessions.pairing_of(root, now=_now()) if _may(info, Scope.SENDER_MANAGE) else None

    @staticmethod
    def resolve_health(root: models.SenderSession, info: GraphQLResolveInfo) -> NumberHealth:
        """Check the number now."""
        return health.check(root.workspace, now=_now())

    @staticmethod
    def resolve_warnings(root: models.SenderSession, info: GraphQLResolveInfo) -> list[str]:
        """Return the sentence about WhatsApp's terms."""
        return [sessions.TERMS]


class SenderError(graphene.ObjectType):
    """A reason why it was not done."""

    code, field, message = reason_fields(SenderErrorCode)


def _may(info: GraphQLResolveInfo, scope: Scope) -> bool:
    actor: Actor = info.context.actor
    return scope in actor.scopes


def _now() -> datetime:
    return clock.now()


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
        cls.ask(session.pk, given, now=clock.now())
        return {"session": health.find(tenant_id=tenant_id, workspace_id=workspace_id)}

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
        return health.find(
            tenant_id=caller(info, Scope.SENDER_READ).tenant_id,
            workspace_id=parse_id(workspace_id, "workspaceId"),
        )

    @staticmethod
    def resolve_sender_sessions(root: None, info: GraphQLResolveInfo) -> list[models.SenderSession]:
        """Return all of them."""
        return health.of_tenant(caller(info, Scope.SENDER_READ).tenant_id)


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
