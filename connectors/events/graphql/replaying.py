"""GraphQL: try a subscription out, and send events again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import graphene
from django.db.models import Q
from graphql import GraphQLResolveInfo

from connectors.events import deliveries, subscriptions
from connectors.events.deliveries import InvalidCursor, number_of
from connectors.events.graphql.mutations import EventSubscriptionInput
from connectors.events.graphql.payloads import attempt, errors_field, now, success_field, writer
from connectors.events.graphql.types import utc
from connectors.events.refusals import EventErrorCode, UnableToSubscribe
from lib.graphql import parse_id

MOST_IDS = 1_000


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
        tenant_id, subscription_id = writer(info), parse_id(input.id, "id")

        def work() -> dict[str, object]:
            event_id = subscriptions.send_test(
                tenant_id=tenant_id, subscription_id=subscription_id, now=now()
            )
            return {"event_id": str(event_id)}

        return attempt(SendTestEvent, work)


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
        tenant_id = writer(info)
        subscription_id = parse_id(input.subscription_id, "subscriptionId")
        included = input.get("include_delivered")

        def work() -> dict[str, object]:
            row = subscriptions.find(tenant_id=tenant_id, subscription_id=subscription_id)
            subscriptions.require_active(row)
            count = deliveries.replay(
                tenant_id=tenant_id, subscription_id=subscription_id,
                which=_which(input, tenant_id),
                include_delivered=bool(input.get("delivery_ids")) if included is None else included,
                now=now(),
            )  # fmt: skip
            return {"count": count}

        return attempt(ReplayEvents, work)


def _which(input: ReplayEventsInput, tenant_id: UUID) -> Q:
    ids, since, until = input.get("delivery_ids"), input.get("since"), input.get("until")
    if (ids is None) == (since is None):
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "since", "Give either deliveryIds or since."
        )
    return Q(pk__in=_numbers(ids, tenant_id)) if ids is not None else _span(since, until)


def _span(since: datetime | None, until: datetime | None) -> Q:
    span = Q(created_at__gte=utc(since))
    return span if until is None else span & Q(created_at__lt=utc(until))


def _numbers(ids: list[str], tenant_id: UUID) -> list[int]:
    if len(ids) > MOST_IDS:
        raise UnableToSubscribe(
            EventErrorCode.TOO_MANY, "deliveryIds", f"At most {MOST_IDS:,} are named at once."
        )
    return [_number(each, tenant_id) for each in ids]


def _number(given: str, tenant_id: UUID) -> int:
    if given.isascii() and given.isdecimal() and len(given) < 19:
        return int(given)  # as ids were spelled once
    try:
        return number_of(given, tenant_id=tenant_id)
    except InvalidCursor:
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "deliveryIds", "This is no id of a delivery."
        ) from None
