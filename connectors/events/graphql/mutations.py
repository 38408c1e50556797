"""GraphQL: change event subscriptions, test them, and replay events. A refusal is data; secrets are
shown once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import graphene
from django.db.models import Q

from connectors.events import deliveries, subscriptions
from connectors.events.graphql.types import EventError, EventSubscriptionType
from connectors.events.subscriptions import Changes, EventErrorCode, UnableToSubscribe
from lib import clock
from lib.cursors import InvalidCursor
from lib.graphql import list_of, parse_id, utc
from workspaces.access import Scope
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    camel,
    errors_field,
    success_field,
)

MAX_IDS = 1_000


class SubscriptionKey(TypedDict):
    """What the services know a subscription by."""

    tenant_id: UUID
    subscription_id: UUID


class EventMutation(ServiceMutation, abstract=True):
    """A change of the caller's event subscriptions."""

    scope = Scope.EVENTS_WRITE
    refusal = UnableToSubscribe


class CreateEventSubscriptionInput(graphene.InputObjectType):
    """The subscription to make."""

    url = graphene.String(required=True, description="An https URL of the public internet.")
    types = list_of(graphene.String, "Types of events; none: all, also new ones.", required=False)
    description = graphene.String(description="A note of yours, up to 200 characters.")


class CreateEventSubscription(EventMutation):
    """The new subscription and its secret, or why there is none."""

    class Arguments:
        input = CreateEventSubscriptionInput(required=True, description="The subscription.")

    success = success_field()
    subscription = graphene.Field(
        EventSubscriptionType, description="The subscription, on success."
    )
    secret = graphene.String(description="Its signing secret (whsec_…), shown this one time.")
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Make it."""
        made = subscriptions.create(
            tenant_id=context.actor.tenant_id,
            url=given["url"],
            types=given.get("types") or (),
            description=given.get("description") or "",
        )
        return {"subscription": made.subscription, "secret": made.secret}


class UpdateEventSubscriptionInput(graphene.InputObjectType):
    """What to change; what is left out stays."""

    id = graphene.ID(required=True, description="The subscription's UUID.")
    url = graphene.String(description="An https URL of the public internet.")
    types = list_of(graphene.String, "Types of events; an empty list: all.", required=False)
    description = graphene.String(description="A note of yours, up to 200 characters.")
    is_active = graphene.Boolean(
        description="False stops deliveries; after a day what is pending is given up. True resumes."
    )


class UpdateEventSubscription(EventMutation):
    """The changed subscription, or why it was not changed."""

    class Arguments:
        input = UpdateEventSubscriptionInput(required=True, description="What to change.")

    success = success_field()
    subscription = graphene.Field(
        EventSubscriptionType, description="The subscription, on success."
    )
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Change it."""
        row = subscriptions.update(
            **_key(context, given),
            changes=Changes(**{name: given.get(name) for name in Changes._fields}),
            now=clock.now(),
        )
        return {"subscription": row}


class EventSubscriptionInput(graphene.InputObjectType):
    """Which subscription."""

    id = graphene.ID(required=True, description="The subscription's UUID.")


class DeleteEventSubscription(EventMutation):
    """Whether it was deleted."""

    class Arguments:
        input = EventSubscriptionInput(required=True, description="Which subscription.")

    success = success_field()
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Delete it."""
        subscriptions.delete(**_key(context, given))
        return {}


class RotateEventSecretInput(graphene.InputObjectType):
    """Whose secret to replace."""

    id = graphene.ID(required=True, description="The subscription's UUID.")
    keep_old_hours = graphene.Int(
        description="Hours for which the old ones sign too: 24 unless given, 0 ends them now."
    )


class RotateEventSecret(EventMutation):
    """The new secret, or why there is none."""

    class Arguments:
        input = RotateEventSecretInput(required=True, description="Whose secret.")

    success = success_field()
    subscription = graphene.Field(
        EventSubscriptionType, description="The subscription, on success."
    )
    secret = graphene.String(description="The new signing secret, shown this one time.")
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Replace it."""
        hours = given.get("keep_old_hours")
        made = subscriptions.rotate(
            **_key(context, given),
            keep_hours=24 if hours is None else hours,
            now=clock.now(),
        )
        return {"subscription": made.subscription, "secret": made.secret}


class SendTestEvent(EventMutation):
    """The test event on its way, or why there is none."""

    class Arguments:
        input = EventSubscriptionInput(required=True, description="Which subscription.")

    success = success_field()
    event_id = graphene.ID(description="The event's UUID, on success: the header webhook-id.")
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Send an event of the type event.test, whatever types are subscribed to."""
        event_id = subscriptions.send_test(**_key(context, given), now=clock.now())
        return {"event_id": str(event_id)}


class ReplayEventsInput(graphene.InputObjectType):
    """What to send again: named deliveries, or those of a span of time."""

    subscription_id = graphene.ID(required=True, description="The subscription's UUID.")
    delivery_ids = list_of(graphene.ID, "These deliveries, at most 1,000.", required=False)
    since = graphene.DateTime(description="All that became due from this time on.")
    until = graphene.DateTime(description="With since: only before this time.")
    include_delivered = graphene.Boolean(
        description="Also what was delivered. Unless given: with deliveryIds yes, with since no."
    )


class ReplayEvents(EventMutation):
    """How many deliveries are due again, or why none is."""

    class Arguments:
        input = ReplayEventsInput(required=True, description="What to send again.")

    success = success_field()
    count = graphene.Int(description="How many are due again; those still pending do not count.")
    errors = errors_field(EventError, "Why not.")

    @classmethod
    def act(cls, context: MutationContext, given: Mapping[str, Any]) -> dict[str, object]:
        """Make them due again, with the same webhook-id and all attempts."""
        key = _key(context, given, "subscription_id")
        subscriptions.require_active(subscriptions.find(**key))
        included = given.get("include_delivered")
        count = deliveries.replay(
            **key,
            which=_which(given, context.actor.tenant_id),
            include_delivered=bool(given.get("delivery_ids")) if included is None else included,
            now=clock.now(),
        )
        return {"count": count}


def _key(
    context: MutationContext, given: Mapping[str, Any], argument: str = "id"
) -> SubscriptionKey:
    """Return the caller's tenant and the subscription that an argument names."""
    subscription_id = parse_id(given[argument], camel(argument))
    return SubscriptionKey(tenant_id=context.actor.tenant_id, subscription_id=subscription_id)


def _which(given: Mapping[str, Any], tenant_id: UUID) -> Q:
    ids, since, until = given.get("delivery_ids"), given.get("since"), given.get("until")
    if (ids is None) == (since is None):
        raise UnableToSubscribe(
            EventErrorCode.INVALID_INPUT, "since", "Give either deliveryIds or since."
        )
    return Q(pk__in=_numbers(ids, tenant_id)) if ids is not None else _span(since, until)


def _span(since: datetime | None, until: datetime | None) -> Q:
    span = Q(created_at__gte=utc(since))
    return span if until is None else span & Q(created_at__lt=utc(until))


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
