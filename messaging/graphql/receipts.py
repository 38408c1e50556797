"""GraphQL: where an outbound message got to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import graphene
from graphql import GraphQLResolveInfo

from lib.graphql import JSON
from messaging import models


def _reported(name: str, _: object, root: Mapping[str, object], info: GraphQLResolveInfo) -> object:
    value = root.get(name)
    return (
        datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value
    )


class MessageStatus(graphene.ObjectType):
    """One receipt as the platform reported it."""

    status = graphene.String(
        required=True, description="The platform's word: sent, delivered, read, played, failed …"
    )
    timestamp_utc = graphene.DateTime(required=True, description="When it happened.")
    participant = graphene.String(
        description="Digest of the group member it is about; null outside groups."
    )
    errors = graphene.List(
        graphene.NonNull(JSON),
        description="The platform's errors, where there are any, as they came. A sentence that "
        'holds a phone number is "[purged]" once Raw is.',
    )
    pricing = graphene.Field(JSON, description="The platform's pricing facts, where given.")

    @staticmethod
    def resolve_participant(root: models.MessageStatus, info: GraphQLResolveInfo) -> str | None:
        """Return nothing where the database has an empty text."""
        return root.participant or None


class Payment(graphene.ObjectType):
    """One receipt of a payment that a message asked for; the message's own status is another."""

    status = graphene.String(
        required=True, description="The platform's word: pending, captured, success, failed …"
    )
    timestamp_utc = graphene.DateTime(required=True, description="When it happened.")
    reference_id = graphene.String(description="The business's own reference of the order.")
    amount = graphene.String(description="A decimal number, in units of the currency.")
    currency = graphene.String(description="ISO 4217, such as INR.")
    transaction_id = graphene.String(description="The payment gateway's id, where told.")
    transaction_type = graphene.String(description="The way of paying, such as upi.")
    transaction_status = graphene.String(description="The platform's word for the transaction.")
    details = graphene.Field(JSON, required=True, description="All that was told, as it came.")


class Delivery(graphene.ObjectType):
    """How far an outbound message got."""

    class Meta:
        default_resolver = _reported

    scheduled_at = graphene.DateTime(description="When it was to be sent, where you said so.")
    accepted_at = graphene.DateTime(description="When the platform took it from us.")
    unknown_at = graphene.DateTime(
        description="When its request was lost sight of: only a receipt can tell what became of it."
    )
    cancelled_at = graphene.DateTime(description="When you took it back.")
    sent_at = graphene.DateTime(description="When the platform had sent it.")
    delivered_at = graphene.DateTime(description="When it reached the person's device.")
    read_at = graphene.DateTime(description="When the person had read it.")
    played_at = graphene.DateTime(description="When the person had played it (voice notes).")
    failed_at = graphene.DateTime(description="When the platform gave up.")
    errors = graphene.List(
        graphene.NonNull(JSON), description="The platform's errors of a failure."
    )
    past_errors = graphene.List(
        graphene.NonNull(JSON),
        description="Errors that were reported of a message that arrived all the same.",
    )
    last_error = graphene.Field(
        JSON, description="Why the last attempt failed, of a message that is tried again."
    )
    waiting = graphene.String(
        description="What holds a queued message, in a sentence: a pause of the tenant or number, "
        "a paused broadcast, its schedule, the pace to one person, a limit, its template."
    )
    pricing = graphene.Field(JSON, description="What the platform charges it as.")
