"""GraphQL: change event subscriptions. A refusal is data; secrets are shown once."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from connectors.events import subscriptions
from connectors.events.graphql.payloads import attempt, errors_field, now, success_field, writer
from connectors.events.graphql.types import EventSubscription
from connectors.events.subscriptions import Changes
from lib.graphql import parse_id


class CreateEventSubscriptionInput(graphene.InputObjectType):
    """The subscription to make."""

    url = graphene.String(required=True, description="An https URL of the public internet.")
    types = graphene.List(
        graphene.NonNull(graphene.String), description="Types of events; none: all, also new ones."
    )
    description = graphene.String(description="A note of yours, up to 200 characters.")


class CreateEventSubscription(graphene.Mutation):
    """The new subscription and its secret, or why there is none."""

    class Meta:
        name = "CreateEventSubscriptionPayload"

    class Arguments:
        input = CreateEventSubscriptionInput(required=True, description="The subscription.")

    success = success_field()
    subscription = graphene.Field(EventSubscription, description="The subscription, on success.")
    secret = graphene.String(description="Its signing secret (whsec_…), shown this one time.")
    errors = errors_field()

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: CreateEventSubscriptionInput
    ) -> CreateEventSubscription:
        """Make it."""
        tenant_id = writer(info)

        def work() -> dict[str, object]:
            made = subscriptions.create(
                tenant_id=tenant_id, url=input.url, types=input.get("types") or (),
                description=input.get("description") or "",
            )  # fmt: skip
            return {"subscription": made.subscription, "secret": made.secret}

        return attempt(CreateEventSubscription, work)


class UpdateEventSubscriptionInput(graphene.InputObjectType):
    """What to change; what is left out stays."""

    id = graphene.ID(required=True, description="The subscription's UUID.")
    url = graphene.String(description="An https URL of the public internet.")
    types = graphene.List(
        graphene.NonNull(graphene.String), description="Types of events; an empty list: all."
    )
    description = graphene.String(description="A note of yours, up to 200 characters.")
    is_active = graphene.Boolean(
        description="False stops deliveries; after a day what is owed is given up. True resumes."
    )


class UpdateEventSubscription(graphene.Mutation):
    """The changed subscription, or why it was not changed."""

    class Meta:
        name = "UpdateEventSubscriptionPayload"

    class Arguments:
        input = UpdateEventSubscriptionInput(required=True, description="What to change.")

    success = success_field()
    subscription = graphene.Field(EventSubscription, description="The subscription, on success.")
    errors = errors_field()

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: UpdateEventSubscriptionInput
    ) -> UpdateEventSubscription:
        """Change it."""
        tenant_id, subscription_id = writer(info), parse_id(input.id, "id")
        changes = Changes(
            url=input.get("url"), types=input.get("types"), description=input.get("description"),
            is_active=input.get("is_active"),
        )  # fmt: skip

        def work() -> dict[str, object]:
            row = subscriptions.update(
                tenant_id=tenant_id, subscription_id=subscription_id, changes=changes, now=now()
            )
            return {"subscription": row}

        return attempt(UpdateEventSubscription, work)


class EventSubscriptionInput(graphene.InputObjectType):
    """Which subscription."""

    id = graphene.ID(required=True, description="The subscription's UUID.")


class DeleteEventSubscription(graphene.Mutation):
    """Whether it was deleted."""

    class Meta:
        name = "DeleteEventSubscriptionPayload"

    class Arguments:
        input = EventSubscriptionInput(required=True, description="Which subscription.")

    success = success_field()
    errors = errors_field()

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: EventSubscriptionInput
    ) -> DeleteEventSubscription:
        """Delete it."""
        tenant_id, subscription_id = writer(info), parse_id(input.id, "id")

        def work() -> dict[str, object]:
            subscriptions.delete(tenant_id=tenant_id, subscription_id=subscription_id)
            return {}

        return attempt(DeleteEventSubscription, work)


class RotateEventSecretInput(graphene.InputObjectType):
    """Whose secret to replace."""

    id = graphene.ID(required=True, description="The subscription's UUID.")
    keep_old_hours = graphene.Int(
        description="Hours for which the old ones sign too: 24 unless given, 0 ends them now."
    )


class RotateEventSecret(graphene.Mutation):
    """The new secret, or why there is none."""

    class Meta:
        name = "RotateEventSecretPayload"

    class Arguments:
        input = RotateEventSecretInput(required=True, description="Whose secret.")

    success = success_field()
    subscription = graphene.Field(EventSubscription, description="The subscription, on success.")
    secret = graphene.String(description="The new signing secret, shown this one time.")
    errors = errors_field()

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: RotateEventSecretInput
    ) -> RotateEventSecret:
        """Replace it."""
        tenant_id, subscription_id = writer(info), parse_id(input.id, "id")
        hours = input.get("keep_old_hours")

        def work() -> dict[str, object]:
            made = subscriptions.rotate(
                tenant_id=tenant_id, subscription_id=subscription_id,
                keep_hours=24 if hours is None else hours, now=now(),
            )  # fmt: skip
            return {"subscription": made.subscription, "secret": made.secret}

        return attempt(RotateEventSecret, work)
