"""GraphQL: a business number as the platform describes it, and what a tenant can do about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import parse_id
from messaging import number_settings, numbers
from messaging.models import SendingPause as PauseRow
from messaging.number_settings import Number, NumberErrorCode, UnableToManageNumber
from workspaces.access import Actor
from workspaces.scopes import Scope

CODE_DESCRIPTIONS = {
    NumberErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
    NumberErrorCode.INVALID_PHONE: "One of the phone numbers is not in international form (E.164).",
    NumberErrorCode.TOO_MANY: "A test number has at most five recipients.",
}


def _describe_code(value: NumberErrorCode | None) -> str:
    return "Why nothing was done." if value is None else CODE_DESCRIPTIONS[value]


NumberErrorCodes = graphene.Enum.from_enum(NumberErrorCode, description=_describe_code)


def _told(name: str, _: object, root: Number, info: GraphQLResolveInfo) -> object:
    """Return a column; what the platform did not tell is null."""
    value = getattr(root.state, name)
    return None if value == "" else value


class SendingPause(graphene.ObjectType):
    """Why nothing is sent: until somebody resumes it, or until a time."""

    code = graphene.Int(required=True, description="Meta's error code; 0: a reason of ours.")
    reason = graphene.String(required=True, description="The reason, for people.")
    since = graphene.DateTime(required=True, description="Since when.")
    until = graphene.DateTime(description="Until when; null: until somebody resumes it.")
    is_for_tenant = graphene.Boolean(
        required=True, description="Whether it holds all numbers of the tenant, not only this one."
    )

    @staticmethod
    def resolve_is_for_tenant(root: PauseRow, info: GraphQLResolveInfo) -> bool:
        """Return whether it names no number."""
        return root.workspace_id is None


class AccessTokenState(graphene.ObjectType):
    """What Meta last said about the tenant's newest access token."""

    is_valid = graphene.Boolean(required=True, description="Whether Meta accepts it.")
    expires_at = graphene.DateTime(description="When it ends; null: it does not.")
    problem = graphene.String(required=True, description="What it lacks; empty: nothing.")
    checked_at = graphene.DateTime(required=True, description="When Meta was asked.")


class BusinessNumber(graphene.ObjectType):
    """A workspace's phone number in the platform's own words; null: not told."""

    class Meta:
        default_resolver = _told

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    number = graphene.String(description="The phone number, masked but for its beginning.")
    verified_name = graphene.String(description="The name people see.")
    status = graphene.String(description="Meta's word for its state; only CONNECTED sends.")
    quality_rating = graphene.String(description="GREEN, YELLOW, RED or UNKNOWN.")
    messaging_limit = graphene.String(
        description="Meta's word for how many people its portfolio may write to first in 24 hours."
    )
    limit = graphene.Int(description="The same as a number; null: unlimited, or not told.")
    throughput_level = graphene.String(description="STANDARD or HIGH.")
    messages_per_second = graphene.Int(required=True, description="How many it may send a second.")
    account_mode = graphene.String(description="LIVE or SANDBOX.")
    can_send = graphene.Boolean(
        required=True, description="Whether neither Meta nor a pause holds its messages back."
    )
    problem = graphene.String(description="What Meta says is wrong.")
    pauses = graphene.List(
        graphene.NonNull(SendingPause), required=True, description="What holds its messages back."
    )
    token = graphene.Field(AccessTokenState, description="The access token; null: not checked yet.")
    test_recipients = graphene.Int(
        required=True, description="How many people a test number may write to; 0: not restricted."
    )
    synced_at = graphene.DateTime(description="When Meta last described it.")
    sync_error = graphene.String(description="Why Meta did not, the last time it was asked.")

    @staticmethod
    def resolve_number(root: Number, info: GraphQLResolveInfo) -> str | None:
        """Return the masked number."""
        return numbers.masked(root.state) or None

    @staticmethod
    def resolve_limit(root: Number, info: GraphQLResolveInfo) -> int | None:
        """Return the limit as a number."""
        return numbers.limit_of(root.state)

    @staticmethod
    def resolve_messages_per_second(root: Number, info: GraphQLResolveInfo) -> int:
        """Return the rate."""
        return numbers.messages_per_second(root.state)

    @staticmethod
    def resolve_can_send(root: Number, info: GraphQLResolveInfo) -> bool:
        """Return whether it can send."""
        return root.may_send

    @staticmethod
    def resolve_pauses(root: Number, info: GraphQLResolveInfo) -> tuple[PauseRow, ...]:
        """Return the open pauses."""
        return root.pauses

    @staticmethod
    def resolve_token(root: Number, info: GraphQLResolveInfo) -> object:
        """Return the last check of the newest token."""
        return root.token

    @staticmethod
    def resolve_test_recipients(root: Number, info: GraphQLResolveInfo) -> int:
        """Return how many there are; who they are is not known here."""
        return len(root.state.test_recipients)


class Query(graphene.ObjectType):
    """What can be read about numbers."""

    business_number = graphene.Field(
        BusinessNumber,
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        description="A workspace's phone number; null where your tenant has no such workspace.",
    )

    @staticmethod
    def resolve_business_number(
        root: None, info: GraphQLResolveInfo, workspace_id: str
    ) -> Number | None:
        """Return the number."""
        actor: Actor = info.context.actor
        actor.require(Scope.WORKSPACES_READ)
        workspace = parse_id(workspace_id, "workspaceId")
        return number_settings.find(
            tenant_id=actor.tenant_id, workspace_id=workspace, now=clock.now()
        )


class BusinessNumberError(graphene.ObjectType):
    """A reason why nothing was done."""

    code = graphene.Field(NumberErrorCodes, required=True, description="The reason, for programs.")
    field = graphene.String(description="The input field at fault.")
    message = graphene.String(required=True, description="The reason, for people.")


Done = tuple[bool, Number | None, list[BusinessNumberError]]


def change(
    info: GraphQLResolveInfo, given: str, act: Callable[[Actor, UUID, datetime], Number]
) -> Done:
    """Do something about a number, or say why not."""
    actor: Actor = info.context.actor
    actor.require(Scope.SENDING_MANAGE)
    workspace_id = parse_id(given, "workspaceId")
    try:
        return True, act(actor, workspace_id, clock.now()), []
    except UnableToManageNumber as refusal:
        error = BusinessNumberError(code=refusal.code, field=refusal.field, message=refusal.message)
        return False, None, [error]
