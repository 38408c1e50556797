"""GraphQL: event subscriptions, what became of their events, and changes of both. A refusal is
data; secrets are shown once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

import graphene
from django.db.models import Q, QuerySet
from graphql import GraphQLResolveInfo

from connectors.events import attempts, deliveries, models, subscriptions
from connectors.events.deliveries import ListedDelivery, id_of, read_page
from connectors.events.subscriptions import Changes, EventErrorCode, UnableToSubscribe
from lib import clock
from lib.cursors import InvalidCursor, Page
from lib.graphql import (
    JSON,
    BadInput,
    ObjectType,
    PageInfo,
    described_enum,
    forward,
    limit_of,
    list_of,
    none_if_empty,
    page_info,
    parse_id,
    utc,
)
from workspaces.access import Scope
from workspaces.events import EVENT_TYPES
from workspaces.graphql.base import (
    MutationContext,
    ServiceMutation,
    caller,
    camel,
    errors_field,
    reason_fields,
    success_field,
)

STATE_DESCRIPTIONS = {
    "PENDING": "Still to be delivered; nextAttemptAt says when it is tried.",
    "DELIVERED": "Taken by the receiver.",
    "DEAD": "Given up; it can be replayed.",
}


DeliveryState = described_enum(
    attempts.DeliveryState,
    "Where a delivery is.",
    STATE_DESCRIPTIONS,
    name="EventDeliveryState",
)
EventErrorCodes = described_enum(
    EventErrorCode, "Why it was not done.", subscriptions.CODE_DESCRIPTIONS
)


class EventType(graphene.ObjectType):
    """A type of event that can be subscribed to."""

    name = graphene.String(required=True, description="Its name, such as message.received.")
    description = graphene.String(required=True, description="When it happens.")


class EventSubscriptionType(ObjectType, name="EventSubscription"):
    """A URL of your app that receives events."""

    id = graphene.ID(required=True, description="The subscription's UUID.")
    url = graphene.String(required=True, description="Where events are posted to.")
    description = graphene.String(required=True, description="What you noted about it.")
    types = list_of(graphene.String, "The types; none: all.")
    is_active = graphene.Boolean(required=True, description="Whether events are delivered.")
    disabled_at = graphene.DateTime(description="Since when it is disabled.")
    disabled_reason = graphene.String(
        resolver=none_if_empty("disabled_reason"), description="Why we disabled it."
    )
    failing_since = graphene.DateTime(
        description="Since when every attempt failed; after five days it is disabled."
    )
    created_at = graphene.DateTime(required=True, description="When it was made.")

    @staticmethod
    def resolve_is_active(root: models.EventSubscription, info: GraphQLResolveInfo) -> bool:
        """Tell it from the time."""
        return root.disabled_at is None


class OutgoingEventType(ObjectType, name="OutgoingEvent"):
    """Something that happened, as it is sent."""

    id = graphene.ID(required=True, description="Its UUID: the header webhook-id.")
    type = graphene.String(required=True, description="Its type, such as message.received.")
    occurred_at = graphene.DateTime(required=True, description="When it happened.")
    data = graphene.Field(JSON, required=True, description="Ids, states and codes, by type.")


class EventDeliveryType(ObjectType, name="EventDelivery"):
    """One event for one subscription, and what became of it."""

    id = graphene.ID(required=True, description="The delivery's number; replayEvents takes it.")
    event = graphene.Field(OutgoingEventType, description="The event.")
    state = graphene.Field(DeliveryState, required=True, description="Where it is.")
    attempts = graphene.Int(required=True, description="How often it was tried.")
    next_attempt_at = graphene.DateTime(description="When it is tried next.")
    delivered_at = graphene.DateTime(description="When the receiver took it.")
    dead_at = graphene.DateTime(description="When it was given up.")
    last_status = graphene.Int(description="The HTTP status of the last answer.")
    last_error = graphene.String(
        resolver=none_if_empty("last_error"), description="What went wrong the last time."
    )
    created_at = graphene.DateTime(required=True, description="When it became due.")


class EventDeliveryConnection(graphene.ObjectType):
    """A page of deliveries, newest first."""

    nodes = list_of(EventDeliveryType, "The deliveries.")
    page_info = graphene.Field(PageInfo, required=True, description="Whether there is more.")


class EventError(graphene.ObjectType):
    """A reason why it was not done."""

    code, field, message = reason_fields(EventErrorCodes)


def connection_of(page: Page[ListedDelivery], *, is_first: bool) -> EventDeliveryConnection:
    """Return a page in GraphQL's form."""
    info = page_info(page, lambda each: id_of(each.row), is_first=is_first)
    return EventDeliveryConnection(nodes=[_node(each) for each in page.rows], page_info=info)


def catalogue() -> list[EventType]:
    """Return every type of event."""
    known = EVENT_TYPES.items()
    return [EventType(name=name, description=kind.description) for name, kind in known]


def _node(delivery: ListedDelivery) -> EventDeliveryType:
    row = delivery.row
    return EventDeliveryType(
        id=id_of(row),
        event=delivery.event,
        state=delivery.state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
        dead_at=row.dead_at,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
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


class EventQueries(graphene.ObjectType):
    """What can be read about events."""

    event_types = list_of(EventType, "Every type of event; needs events:read.", required=False)
    event_subscriptions = list_of(
        EventSubscriptionType,
        "Your tenant's subscriptions, oldest first; needs events:read.",
        required=False,
    )
    event_deliveries = graphene.Field(
        EventDeliveryConnection,
        subscription_id=graphene.ID(required=True, description="The subscription's UUID."),
        state=DeliveryState(description="Only those in this state."),
        **forward(),
        description="What became of a subscription's events, newest first; needs events:read.",
    )

    @staticmethod
    def resolve_event_types(root: None, info: GraphQLResolveInfo) -> list[EventType]:
        """Return the catalogue."""
        caller(info, Scope.EVENTS_READ)
        return catalogue()

    @staticmethod
    def resolve_event_subscriptions(
        root: None, info: GraphQLResolveInfo
    ) -> QuerySet[models.EventSubscription]:
        """Return the subscriptions of the caller's tenant."""
        tenant_id = caller(info, Scope.EVENTS_READ).tenant_id
        return models.EventSubscription.objects.filter(tenant_id=tenant_id).order_by("id")

    @staticmethod
    def resolve_event_deliveries(
        root: None,
        info: GraphQLResolveInfo,
        subscription_id: str,
        state: attempts.DeliveryState | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> EventDeliveryConnection:
        """Return one page."""
        tenant_id = caller(info, Scope.EVENTS_READ).tenant_id
        try:
            page = read_page(
                tenant_id=tenant_id,
                subscription_id=parse_id(subscription_id, "subscriptionId"),
                state=state,
                limit=limit_of(first),
                after=after,
            )
        except InvalidCursor as error:
            raise BadInput(str(error)) from None
        return connection_of(page, is_first=after is None)


class EventMutations(graphene.ObjectType):
    """What can be changed about events."""

    create_event_subscription = CreateEventSubscription.Field(
        required=True, description="Subscribe a URL to events; needs events:write."
    )
    update_event_subscription = UpdateEventSubscription.Field(
        required=True, description="Change, stop or resume a subscription; needs events:write."
    )
    delete_event_subscription = DeleteEventSubscription.Field(
        required=True, description="Delete a subscription; needs events:write."
    )
    rotate_event_secret = RotateEventSecret.Field(
        required=True, description="Make a new signing secret; needs events:write."
    )
    send_test_event = SendTestEvent.Field(
        required=True, description="Send an event to try a subscription out; needs events:write."
    )
    replay_events = ReplayEvents.Field(
        required=True, description="Send events again; needs events:write."
    )
