"""One template to many people: the broadcast and its frozen audience."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class BroadcastState(models.TextChoices):
    """Where a broadcast is. ``DRAFT`` and ``REFUSED`` take recipients; from ``CHECKING`` on the
    audience is frozen, and what may follow stands in ``messaging.broadcasts.states``.
    """

    DRAFT = "DRAFT"
    CHECKING = "CHECKING"
    REFUSED = "REFUSED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class Broadcast(models.Model):
    """A template message to a list of people, each exactly once."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    name = models.CharField(max_length=200)
    template_name = models.CharField(max_length=512)
    language = models.CharField(max_length=32)
    # What all rows share: header media, button values …, as templates_wa.parameters writes them.
    shared = models.JSONField(default=dict, db_default={})
    state = models.CharField(
        max_length=16,
        choices=BroadcastState,
        default=BroadcastState.DRAFT,
        db_default=BroadcastState.DRAFT,
    )
    reason = models.TextField(blank=True, default="", db_default="")
    # Whether rows that do not fit the template are left out instead of refusing the whole.
    skip_invalid = models.BooleanField(default=False, db_default=False)
    # Rows up to this position were checked against the template.
    checked_to = models.IntegerField(default=0, db_default=0)
    # The brake judges rows behind this position, and failures since this time.
    judged_from = models.IntegerField(default=0, db_default=0)
    judged_since = models.DateTimeField(null=True)
    scheduled_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    purged_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "broadcasts"
        indexes = (
            models.Index(fields=("id",), name="broadcasts_by_id"),
            models.Index(fields=("tenant_id", "-created_at"), name="broadcasts_newest_first"),
            # Those that somebody has to look after: see messaging.broadcasts.tending.
            models.Index(
                fields=("state",),
                name="broadcasts_live",
                condition=models.Q(ended_at=None) & ~models.Q(state__in=("DRAFT", "REFUSED")),
            ),
        )

    def __str__(self) -> str:
        return self.name


class RecipientState(models.TextChoices):
    """Where a row of the list is; what became of a ``QUEUED`` one its message tells."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"


class BroadcastRecipient(models.Model):
    """One person of the list. Number and parameters are sealed together and purged; the caller's
    reference is sealed by itself and stays.

    ``position`` is the line of the file, or the place among the rows that the API added.
    """

    tenant_id = models.UUIDField()
    broadcast_id = models.UUIDField()
    position = models.IntegerField()
    # Digest of the number or BSUID: one row per person, however it was written.
    digest = models.CharField(max_length=64)
    sealed = models.BinaryField(null=True)
    sealed_reference = models.BinaryField(null=True)
    state = models.CharField(
        max_length=16,
        choices=RecipientState,
        default=RecipientState.PENDING,
        db_default=RecipientState.PENDING,
    )
    code = models.CharField(max_length=64, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="", db_default="")
    message_id = models.UUIDField(null=True)
    # How often it was sent again after its message had failed.
    retries = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "broadcast_recipients"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "broadcast_id", "digest"), name="broadcast_recipients_once"
            ),
            # The place of a row is part of its message's reference: the second guard against
            # sending twice.
            models.UniqueConstraint(
                fields=("tenant_id", "broadcast_id", "position"),
                name="broadcast_recipients_one_per_place",
            ),
        )
        indexes = (
            models.Index(
                fields=("tenant_id", "broadcast_id", "state", "position"),
                name="broadcast_recipients_next",
            ),
        )

    def __str__(self) -> str:
        return f"{self.position}"
