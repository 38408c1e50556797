"""GraphQL: event subscriptions and what became of their events."""

from __future__ import annotations

import graphene
from django.db.models import QuerySet
from graphql import GraphQLResolveInfo

from connectors.events.attempts import DeliveryState
from connectors.events.deliveries import read_page
from connectors.events.graphql import mutations, types
from lib.cursors import InvalidCursor
from lib.graphql import BadInput, forward, limit_of, list_of, parse_id
from workspaces import models
from workspaces.access import Scope
from workspaces.graphql.base import caller


class EventQueries(graphene.ObjectType):
    """What can be read about events."""

    event_types = list_of(
        types.EventType, "Every type of event; needs events:read.", required=False
    )
    event_subscriptions = list_of(
        types.EventSubscriptionType,
        "Your tenant's subscriptions, oldest first; needs events:read.",
        required=False,
    )
    event_deliveries = graphene.Field(
        types.EventDeliveryConnection,
        subscription_id=graphene.ID(required=True, description="The subscription's UUID."),
        state=types.DeliveryState(description="Only those in this state."),
        **forward(),
        description="What became of a subscription's events, newest first; needs events:read.",
    )

    @staticmethod
    def resolve_event_types(root: None, info: GraphQLResolveInfo) -> list[types.EventType]:
        """Return the catalogue."""
        caller(info, Scope.EVENTS_READ)
        return types.catalogue()

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
        state: DeliveryState | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> types.EventDeliveryConnection:
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
        return types.connection_of(page, is_first=after is None)


class EventMutations(graphene.ObjectType):
    """What can be changed about events."""

    create_event_subscription = mutations.CreateEventSubscription.Field(
        required=True, description="Subscribe a URL to events; needs events:write."
    )
    update_event_subscription = mutations.UpdateEventSubscription.Field(
        required=True, description="Change, stop or resume a subscription; needs events:write."
    )
    delete_event_subscription = mutations.DeleteEventSubscription.Field(
        required=True, description="Delete a subscription; needs events:write."
    )
    rotate_event_secret = mutations.RotateEventSecret.Field(
        required=True, description="Make a new signing secret; needs events:write."
    )
    send_test_event = mutations.SendTestEvent.Field(
        required=True, description="Send an event to try a subscription out; needs events:write."
    )
    replay_events = mutations.ReplayEvents.Field(
        required=True, description="Send events again; needs events:write."
    )
