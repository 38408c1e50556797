"""GraphQL: change event subscriptions, test them, and replay events. A refusal is data; secrets are
shown once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import graphene
from django.db.models import Q
from graphql import GraphQLResolveInfo

from connectors.events import deliveries, subscriptions
from connectors.events.graphql.types import EventError, EventSubscription
from connectors.events.subscriptions import Changes, EventErrorCode, UnableToSubscribe
from lib import clock
from lib.cursors import InvalidCursor
from lib.graphql import parse_id
from workspaces.access import Actor
from workspaces.scopes import Scope

MAX_IDS = 1_000
Payload = TypeVar("Payload", bound=graphene.Mutation)


def success_field() -> graphene.Boolean:
    """Return the field that says whether it was done."""
    return graphene.Boolean(required=True, description="Whether it was done.")


def errors_field() -> graphene.List:
    """Return the field that says why it was not."""
    return graphene.List(graphene.NonNull(EventError), required=True, description="Why not.")


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
        tenant_id = _writer(info)

        def work() -> dict[str, object]:
            made = subscriptions.create(
                tenant_id=tenant_id,
                url=input.url,
                types=input.get("types") or (),
                description=input.get("description") or "",
            )
            return {"subscription": made.subscription, "secret": made.secret}

        return _attempt(CreateEventSubscription, work)


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
        tenant_id, subscription_id = _writer(info), parse_id(input.id, "id")
        changes = Changes(
            url=input.get("url"),
            types=input.get("types"),
            description=input.get("description"),
            is_active=input.get("is_active"),
        )

        def work() -> dict[str, object]:
            row = subscriptions.update(
                tenant_id=tenant_id,
                subscription_id=subscription_id,
                changes=changes,
                now=clock.now(),
            )
            return {"subscription": row}

        return _attempt(UpdateEventSubscription, work)


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
        tenant_id, subscription_id = _writer(info), parse_id(input.id, "id")

        def work() -> dict[str, object]:
            subscriptions.delete(tenant_id=tenant_id, subscription_id=subscription_id)
            return {}

        return _attempt(DeleteEventSubscription, work)


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
        tenant_id, subscription_id = _writer(info), parse_id(input.id, "id")
        hours = input.get("keep_old_hours")

        def work() -> dict[str, object]:
            made = subscriptions.rotate(
                tenant_id=tenant_id,
                subscription_id=subscription_id,
                keep_hours=24 if hours is None else hours,
                now=clock.now(),
            )
            return {"subscription": made.subscription, "secret": made.secret}

        return _attempt(RotateEventSecret, work)


class SendTestEvent(graphene.Mutation):
    """The test event on its way, or why there is none."""

    class Meta:
        name = "SendTestEventPayload"

    class Arguments:
        input = EventSubscriptionInput(required=True, description="Which subscription.")

    success = success_field()
    event_id = graphene.ID(description="The event's UUID, on success: the header webhook-id.")
    errors = errors_field()

    @staticmethod
    def mutate(
        root: None, info: GraphQLResolveInfo, input: EventSubscriptionInput
    ) -> SendTestEvent:
        """Send an event of the type event.test, whatever types are subscribed to."""
        tenant_id, subscription_id = _writer(info), parse_id(input.id, "id")

        def work() -> dict[str, object]:
            event_id = subscriptions.send_test(
                tenant_id=tenant_id, subscription_id=subscription_id, now=clock.now()
            )
            return {"event_id": str(event_id)}

        return _attempt(SendTestEvent, work)


class ReplayEventsInput(graphene.InputObjectType):
    """What to send again: named deliveries, or those of a span of time."""

    subscription_id = graphene.ID(required=True, description="The subscription's UUID.")
    delivery_ids = graphene.List(
        graphene.NonNull(graphene.ID), description="These deliveries, at most 1,000."
    )
    since = graphene.DateTime(description="All that became owed from this time on.")
    until = graphene.DateTime(description="With since: only before this time.")
    include_delivered = graphene.Boolean(
        description="Also what was delivered. Unless given: with deliveryIds yes, with since no."
    )


class ReplayEvents(graphene.Mutation):
    """How many deliveries are due again, or why none is."""

    class Meta:
        name = "ReplayEventsPayload"

    class Arguments:
        input = ReplayEventsInput(required=True, description="What to send again.")

    success = success_field()
    count = graphene.Int(description="How many are due again; those still pending do not count.")
    errors = errors_field()

    @staticmethod
    def mutate(root: None, info: GraphQLResolveInfo, input: ReplayEventsInput) -> ReplayEvents:
        """Make them due again, with the same webhook-id and all attempts."""
        tenant_id = _writer(info)
        subscription_id = parse_id(input.subscription_id, "subscriptionId")
        included = input.get("include_delivered")

        def work() -> dict[str, object]:
            row = subscriptions.find(tenant_id=tenant_id, subscription_id=subscription_id)
            subscriptions.require_active(row)
            count = deliveries.replay(
                tenant_id=tenant_id,
                subscription_id=subscription_id,
                which=_which(input, tenant_id),
                include_delivered=bool(input.get("delivery_ids")) if included is None else included,
                now=clock.now(),
            )
            return {"count": count}

        return _attempt(ReplayEvents, work)


def _writer(info: GraphQLResolveInfo) -> UUID:
    """Return the tenant whose events the caller may change.

    Raises:
        workspaces.access.NotAllowed: the caller may not.
    """
    actor: Actor = info.context.actor
    actor.require(Scope.EVENTS_WRITE)
    return actor.tenant_id


def _attempt(payload: type[Payload], work: Callable[[], dict[str, object]]) -> Payload:
    """Do it, or return why not."""
    try:
        done: Payload = payload(success=True, errors=[], **work())
        return done
    except UnableToSubscribe as refusal:
        # Not the exception itself: graphql-core raises whatever exception it is given.
        error = EventError(code=refusal.code, field=refusal.field, message=refusal.message)
        refused: Payload = payload(success=False, errors=[error])
        return refused


def _which(input: ReplayEventsInput, tenant_id: UUID) -> Q:
    ids, since, until = input.get("delivery_ids"), input.get("since"), input.get("until")
    if (ids is None) == (since is None):
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "since", "Give either deliveryIds or since."
        )
    return Q(pk__in=_numbers(ids, tenant_id)) if ids is not None else _span(since, until)


def _span(since: datetime | None, until: datetime | None) -> Q:
    span = Q(created_at__gte=_utc(since))
    return span if until is None else span & Q(created_at__lt=_utc(until))


def _numbers(ids: list[str], tenant_id: UUID) -> list[int]:
    if len(ids) > MAX_IDS:
        raise UnableToSubscribe(
            EventErrorCode.TOO_MANY, "deliveryIds", f"At most {MAX_IDS:,} are named at once."
        )
    return [_number(each, tenant_id) for each in ids]


def _number(given: str, tenant_id: UUID) -> int:
    if given.isascii() and given.isdecimal() and len(given) < 19:
        return int(given)  # ids of earlier versions
    try:
        return deliveries.number_of(given, tenant_id=tenant_id)
    except InvalidCursor:
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "deliveryIds", "This is no id of a delivery."
        ) from None


def _utc(value: datetime | None) -> datetime | None:
    """Return a time, taken as UTC where it has no offset."""
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value
