"""Events on their way to tenants' apps: who wants which, what happened, who has it already.

An event is a row of the transaction that made it happen. It holds ids and states, no phone number
and no text of anybody's: whoever receives it asks for the rest with its API key.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class EventSubscription(models.Model):
    """A URL of a tenant's app that wants events, signed as Standard Webhooks describes.

    ``sealed_secrets`` holds the live signing secrets, sealed together, so that one can be replaced
    without a gap. ``disabled_at`` is set by us (``disabled_reason``) or by the tenant. An endpoint
    that only fails since ``failing_since`` is tried again at ``resting_until``, and then gently.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    url = models.URLField(max_length=2000)
    description = models.CharField(max_length=200, blank=True, default="", db_default="")
    # Types such as message.received; empty: all.
    types = ArrayField(models.CharField(max_length=64), default=list, db_default=[])
    sealed_secrets = models.BinaryField()
    disabled_at = models.DateTimeField(null=True)
    disabled_reason = models.TextField(blank=True, default="", db_default="")
    failing_since = models.DateTimeField(null=True)
    resting_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "event_subscriptions"
        indexes = (models.Index(fields=("id",), name="event_subscriptions_by_id"),)

    def __str__(self) -> str:
        return self.url


class OutgoingEvent(models.Model):
    """Something that happened: ``type`` and ``data`` as they are sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    type = models.CharField(max_length=64)
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict, db_default={})
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "outgoing_events"
        indexes = (
            models.Index(fields=("tenant_id", "-created_at"), name="outgoing_events_newest_first"),
            models.Index(fields=("created_at",), name="outgoing_events_age"),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class EventDelivery(models.Model):
    """One event for one subscription; ``next_attempt_at`` is NULL once it is delivered or
    dead.
    """

    tenant_id = models.UUIDField()
    event_id = models.UUIDField()
    subscription_id = models.UUIDField()
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True)
    last_status = models.IntegerField(null=True)
    last_error = models.CharField(max_length=200, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "event_deliveries"
        verbose_name_plural = "event deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "event_id", "subscription_id"), name="event_deliveries_once"
            ),
            # Pending, delivered or dead (``connectors.events.attempts.TIMES``).
            models.CheckConstraint(
                name="event_deliveries_one_state",
                condition=models.Q(next_attempt_at__isnull=False, delivered_at=None, dead_at=None)
                | models.Q(next_attempt_at=None, delivered_at__isnull=False, dead_at=None)
                | models.Q(next_attempt_at=None, delivered_at=None, dead_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="event_deliveries_by_id"),  # the admin's lists
            models.Index(
                fields=("tenant_id", "subscription_id", "next_attempt_at"),
                name="event_deliveries_pending",
                condition=models.Q(next_attempt_at__isnull=False),
            ),
            models.Index(fields=("tenant_id", "-created_at"), name="event_deliveries_newest"),
            models.Index(
                fields=("tenant_id", "subscription_id", "id"), name="event_deliveries_listed"
            ),
            models.Index(
                fields=("delivered_at",),
                name="event_deliveries_delivered",
                condition=models.Q(delivered_at__isnull=False),
            ),
            models.Index(
                fields=("dead_at",),
                name="event_deliveries_dead_age",
                condition=models.Q(dead_at__isnull=False),
            ),
            models.Index(
                fields=("tenant_id", "subscription_id", "id"),
                name="event_deliveries_dead",
                condition=models.Q(dead_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_id} → {self.subscription_id}"
