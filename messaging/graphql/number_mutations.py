"""GraphQL: ask about a number again, resume sending, and say whom a test number may reach."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import graphene
from graphql import GraphQLResolveInfo

from messaging import number_settings
from messaging.graphql.numbers import BusinessNumber, BusinessNumberError, change
from messaging.number_settings import Number
from workspaces.access import Actor

SUCCESS = "Whether it was done."
NUMBER = "The number, on success."
ERRORS = "Why not, otherwise."


class BusinessNumberInput(graphene.InputObjectType):
    """A number, by its workspace."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")


class SetTestRecipientsInput(graphene.InputObjectType):
    """Whom a test number may write to."""

    workspace_id = graphene.ID(required=True, description="The workspace's UUID.")
    phones = graphene.List(
        graphene.NonNull(graphene.String),
        required=True,
        description="At most five phone numbers (E.164), which are digested and not kept; none: "
        "no restriction.",
    )


class SyncBusinessNumber(graphene.Mutation):
    """Whether Meta will be asked about the number, and if not, why."""

    class Meta:
        name = "SyncBusinessNumberPayload"

    class Arguments:
        input = BusinessNumberInput(required=True, description="The number.")

    success = graphene.Boolean(required=True, description=SUCCESS)
    business_number = graphene.Field(BusinessNumber, description="What is known so far.")
    errors = graphene.List(graphene.NonNull(BusinessNumberError), required=True, description=ERRORS)

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: BusinessNumberInput
    ) -> SyncBusinessNumber:
        """Let Meta be asked."""

        def ask(actor: Actor, workspace_id: UUID, now: datetime) -> Number:
            return number_settings.ask_again(
                tenant_id=actor.tenant_id, workspace_id=workspace_id, now=now
            )

        success, number, errors = change(info, input.workspace_id, ask)
        return SyncBusinessNumber(success=success, business_number=number, errors=errors)


class ResumeSending(graphene.Mutation):
    """Whether the number's messages are sent again, and if not, why."""

    class Meta:
        name = "ResumeSendingPayload"

    class Arguments:
        input = BusinessNumberInput(required=True, description="The number.")

    success = graphene.Boolean(required=True, description=SUCCESS)
    business_number = graphene.Field(BusinessNumber, description=NUMBER)
    errors = graphene.List(graphene.NonNull(BusinessNumberError), required=True, description=ERRORS)

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: BusinessNumberInput) -> ResumeSending:
        """End the pauses."""

        def resume(actor: Actor, workspace_id: UUID, now: datetime) -> Number:
            return number_settings.resume(
                tenant_id=actor.tenant_id, workspace_id=workspace_id, by=actor.label, now=now
            )

        success, number, errors = change(info, input.workspace_id, resume)
        return ResumeSending(success=success, business_number=number, errors=errors)


class SetTestRecipients(graphene.Mutation):
    """Whether the list was replaced, and if not, why."""

    class Meta:
        name = "SetTestRecipientsPayload"

    class Arguments:
        input = SetTestRecipientsInput(required=True, description="The list.")

    success = graphene.Boolean(required=True, description=SUCCESS)
    business_number = graphene.Field(BusinessNumber, description=NUMBER)
    errors = graphene.List(graphene.NonNull(BusinessNumberError), required=True, description=ERRORS)

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: SetTestRecipientsInput
    ) -> SetTestRecipients:
        """Replace the list."""

        def replace(actor: Actor, workspace_id: UUID, now: datetime) -> Number:
            return number_settings.set_test_recipients(
                tenant_id=actor.tenant_id, workspace_id=workspace_id, phones=input.phones, now=now
            )

        success, number, errors = change(info, input.workspace_id, replace)
        return SetTestRecipients(success=success, business_number=number, errors=errors)


class Mutation(graphene.ObjectType):
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
