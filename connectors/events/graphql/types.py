"""GraphQL: event subscriptions and deliveries as callers see them."""

from __future__ import annotations

import graphene
from graphql import GraphQLResolveInfo

from connectors.events import attempts, subscriptions
from connectors.events.deliveries import ListedDelivery, id_of
from lib.cursors import Page
from lib.graphql import (
    JSON,
    ObjectType,
    PageInfo,
    described_enum,
    list_of,
    none_if_empty,
    page_info,
)
from workspaces import event_types, models
from workspaces.graphql.base import reason_fields

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
EventErrorCode = described_enum(
    subscriptions.EventErrorCode, "Why it was not done.", subscriptions.CODE_DESCRIPTIONS
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

    code, field, message = reason_fields(EventErrorCode)


def connection_of(page: Page[ListedDelivery], *, is_first: bool) -> EventDeliveryConnection:
    """Return a page in GraphQL's form."""
    info = page_info(page, lambda each: id_of(each.row), is_first=is_first)
    return EventDeliveryConnection(nodes=[_node(each) for each in page.rows], page_info=info)


def catalogue() -> list[EventType]:
    """Return every type of event."""
    known = event_types.EVENT_TYPES.items()
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
