"""GraphQL: a business number as the platform describes it, and what a tenant can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from lib import clock
from lib.graphql import ObjectType, described_enum, list_of, parse_id
from messaging import number_settings, numbers
from messaging.models import SendingPause
from messaging.number_settings import NumberErrorCode, NumberSettings, UnableToManageNumber
from workspaces.access import Actor, Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    errors_field,
    reason_fields,
    success_field,
)

CODE_DESCRIPTIONS = {
    NumberErrorCode.WORKSPACE_NOT_FOUND: "Your tenant has no workspace with this id.",
    NumberErrorCode.INVALID_PHONE: "One of the phone numbers is not in international form (E.164).",
    NumberErrorCode.TOO_MANY: "A test number has at most five recipients.",
}


NumberErrorCodes = described_enum(NumberErrorCode, "Why nothing was done.", CODE_DESCRIPTIONS)


def _reported(name: str, _: object, root: NumberSettings, info: GraphQLResolveInfo) -> object:
    """Return a column; what the platform did not report is null."""
    value = getattr(root.state, name)
    return None if value == "" else value


class SendingPauseType(ObjectType, name="SendingPause"):
    """Why nothing is sent: until somebody resumes it, or until a time."""

    code = graphene.Int(required=True, description="Meta's error code; 0: a reason of ours.")
    reason = graphene.String(required=True, description="The reason, for people.")
    since = graphene.DateTime(required=True, description="Since when.")
    until = graphene.DateTime(description="Until when; null: until somebody resumes it.")
    is_for_tenant = graphene.Boolean(
        required=True, description="Whether it holds all numbers of the tenant, not only this one."
    )

    @staticmethod
    def resolve_is_for_tenant(root: SendingPause, info: GraphQLResolveInfo) -> bool:
        """Return whether it names no number."""
        return root.workspace_id is None


class AccessTokenState(graphene.ObjectType):
    """What Meta last said about the tenant's newest access token."""

    is_valid = graphene.Boolean(required=True, description="Whether Meta accepts it.")
    expires_at = graphene.DateTime(description="When it ends; null: it does not.")
    problem = graphene.String(required=True, description="What it lacks; empty: nothing.")
    checked_at = graphene.DateTime(required=True, description="When Meta was asked.")


class BusinessNumber(ObjectType, default_resolver=_reported):
    """A workspace's phone number in the platform's own words; null: not told."""

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
    pauses = list_of(SendingPauseType, "What holds its messages back.")
    token = graphene.Field(AccessTokenState, description="The access token; null: not checked yet.")
    test_recipients = graphene.Int(
        required=True, description="How many people a test number may write to; 0: not restricted."
    )
    synced_at = graphene.DateTime(description="When Meta last described it.")
    sync_error = graphene.String(description="Why Meta did not, the last time it was asked.")

    @staticmethod
    def resolve_number(root: NumberSettings, info: GraphQLResolveInfo) -> str | None:
        """Return the masked number."""
        return numbers.masked(root.state) or None

    @staticmethod
    def resolve_limit(root: NumberSettings, info: GraphQLResolveInfo) -> int | None:
        """Return the limit as a number."""
        return numbers.limit_of(root.state)

    @staticmethod
    def resolve_messages_per_second(root: NumberSettings, info: GraphQLResolveInfo) -> int:
        """Return the rate."""
        return numbers.messages_per_second(root.state)

    @staticmethod
    def resolve_can_send(root: NumberSettings, info: GraphQLResolveInfo) -> bool:
        """Return whether it can send."""
        return root.may_send

    @staticmethod
    def resolve_pauses(root: NumberSettings, info: GraphQLResolveInfo) -> tuple[SendingPause, ...]:
        """Return the open pauses."""
        return root.pauses

    @staticmethod
    def resolve_token(root: NumberSettings, info: GraphQLResolveInfo) -> object:
        """Return the last check of the newest token."""
        return root.token

    @staticmethod
    def resolve_test_recipients(root: NumberSettings, info: GraphQLResolveInfo) -> int:
        """Return how many there are; who they are is not known here."""
        return len(root.state.test_recipients)


class NumberQueries(graphene.ObjectType):
    """What can be read about numbers."""

    business_number = graphene.Field(
        BusinessNumber,
        workspace_id=graphene.ID(required=True, description="The workspace's UUID."),
        description="A workspace's phone number; null where your tenant has no such workspace.",
    )

    @staticmethod
    def resolve_business_number(
        root: None, info: GraphQLResolveInfo, workspace_id: str
    ) -> NumberSettings | None:
        """Return the number."""
        return number_settings.find(
            tenant_id=caller(info, Scope.WORKSPACES_READ).tenant_id,
            workspace_id=parse_id(workspace_id, "workspaceId"),
            now=clock.now(),
        )


class BusinessNumberError(graphene.ObjectType):
    """A reason why nothing was done."""

    code, field, message = reason_fields(NumberErrorCodes)


class BusinessNumberInput(graphene.InputObjectType):
    """A number, by its workspace."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")


class SetTestRecipientsInput(graphene.InputObjectType):
    """Whom a test number may write to."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    phones = list_of(
        graphene.String,
        "At most five phone numbers (E.164), which are digested and not kept; none: "
        "no restriction.",
    )


class _NumberMutation(ServiceMutation, abstract=True):
    """Does something about a number; the fields of all payloads."""

    scope, refusal = Scope.SENDING_MANAGE, UnableToManageNumber
    success = success_field()
    business_number = graphene.Field(BusinessNumber, description="The number, on success.")
    errors = errors_field(BusinessNumberError)


class SyncBusinessNumber(_NumberMutation):
    """Whether Meta will be asked about the number, and if not, why."""

    class Arguments:
        input = BusinessNumberInput(required=True, description="The number.")

    business_number = graphene.Field(BusinessNumber, description="What is known so far.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Let Meta be asked."""
        number = number_settings.ask_again(**_named(context.actor, given))
        return {"business_number": number}


class ResumeSending(_NumberMutation):
    """Whether the number's messages are sent again, and if not, why."""

    class Arguments:
        input = BusinessNumberInput(required=True, description="The number.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """End the pauses."""
        actor = context.actor
        return {"business_number": number_settings.resume(**_named(actor, given), by=actor.label)}


class SetTestRecipients(_NumberMutation):
    """Whether the list was replaced, and if not, why."""

    class Arguments:
        input = SetTestRecipientsInput(required=True, description="The list.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Replace the list."""
        number = number_settings.set_test_recipients(
            **_named(context.actor, given), phones=given["phones"]
        )
        return {"business_number": number}


class NumberMutations(graphene.ObjectType):
    """What can be changed about numbers."""

    sync_business_number = SyncBusinessNumber.Field(
        required=True, description="Ask Meta about a phone number, within seconds."
    )
    resume_sending = ResumeSending.Field(
        required=True,
        description="Send a number's messages again that a pause held back, once its reason is "
        "gone; a pause of the whole tenant ends for all its numbers.",
    )
    set_test_recipients = SetTestRecipients.Field(
        required=True, description="Say whom a test number may write to, as its list at Meta's."
    )


class _NamedNumber(TypedDict):
    tenant_id: UUID
    workspace_id: UUID
    now: datetime


def _named(actor: Actor, given: Mapping[str, Any]) -> _NamedNumber:
    workspace_id = parse_id(given["workspace_id"], "workspaceId")
    return {"tenant_id": actor.tenant_id, "workspace_id": workspace_id, "now": clock.now()}
