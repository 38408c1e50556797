"""Callbacks as they arrived (Raw), which of them are pending, and what could not be stored."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class WebhookDelivery(models.Model):
    """Raw: one callback's sealed body. Append-only, partitioned by UTC day, never updated.

    The migration makes the table: Django does not know partitions. ``tenant_id`` is the nil UUID
    for callbacks of an app that several tenants share, until processing files them under their
    tenants.
    """

    id = models.BigIntegerField(primary_key=True)
    received_at = models.DateTimeField()
    tenant_id = models.UUIDField()
    size = models.IntegerField()
    digest = models.BinaryField(max_length=32)
    body = models.BinaryField()

    class Meta:
        db_table = "webhook_deliveries"
        managed = False

    def __str__(self) -> str:
        return str(self.id)


class WebhookPending(models.Model):
    """A callback that waits for its processing; deleted in the transaction that stores the result.

    ``size`` is that of the plain body in bytes. ``attempts`` are recorded only for callbacks that
    have waited long, the last of them at ``tried_at``.
    """

    delivery_id = models.BigIntegerField(primary_key=True)
    received_at = models.DateTimeField()
    tenant_id = models.UUIDField()
    size = models.IntegerField(default=0, db_default=0)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    tried_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "webhook_pending"
        verbose_name = "pending callback"

    def __str__(self) -> str:
        return str(self.delivery_id)


class DeadKind(models.TextChoices):
    """``DEAD``: could not be parsed or stored. ``QUARANTINE``: belongs to no workspace of the
    tenant.
    """

    DEAD = "DEAD"
    QUARANTINE = "QUARANTINE"


class DeadState(models.TextChoices):
    """``OPEN`` waits for an operator; ``REPLAYED`` was processed after all."""

    OPEN = "OPEN"
    REPLAYED = "REPLAYED"


class WebhookDead(models.Model):
    """One update (or one unreadable body) that could not be stored, sealed, with the reason.

    An empty ``sealed`` stands for the whole callback, which lies in Raw. A row may stand for
    several ``updates`` of one callback; ``positions`` say which of its updates they were, so that a
    replay makes the order that there would have been.
    """

    tenant_id = models.UUIDField()
    kind = models.CharField(max_length=16, choices=DeadKind)
    reason = models.TextField()
    field = models.CharField(max_length=64, blank=True, default="", db_default="")
    phone_number_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    sealed = models.BinaryField()
    updates = models.PositiveIntegerField(default=1, db_default=1)
    positions = ArrayField(models.IntegerField(), null=True)
    delivery_id = models.BigIntegerField()
    received_at = models.DateTimeField()
    state = models.CharField(
        max_length=16, choices=DeadState, default=DeadState.OPEN, db_default=DeadState.OPEN
    )
    attempts = models.PositiveIntegerField(default=1, db_default=1)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "webhook_dead"
        verbose_name = "dead or quarantined update"
        indexes = (
            models.Index(fields=("tenant_id", "state", "kind"), name="webhook_dead_open"),
            models.Index(fields=("tenant_id", "received_at"), name="webhook_dead_received"),
            models.Index(fields=("id",), name="webhook_dead_by_id"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class WebhookLedger(models.Model):
    """Where a tenant's updates ended, counted in the transactions that put them there."""

    tenant_id = models.UUIDField(primary_key=True)
    callbacks = models.BigIntegerField(default=0, db_default=0)
    updates = models.BigIntegerField(default=0, db_default=0)
    processed = models.BigIntegerField(default=0, db_default=0)
    quarantined = models.BigIntegerField(default=0, db_default=0)
    dead = models.BigIntegerField(default=0, db_default=0)
    duplicates = models.BigIntegerField(default=0, db_default=0)
    unhandled = models.BigIntegerField(default=0, db_default=0)
    purged_callbacks = models.BigIntegerField(default=0, db_default=0)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "webhook_ledger"
        verbose_name = "ledger"

    def __str__(self) -> str:
        return str(self.tenant_id)


class WebhookUnhandled(models.Model):
    """How often an update came that is kept in Raw but not modelled."""

    tenant_id = models.UUIDField()
    field = models.CharField(max_length=64)
    kind = models.CharField(max_length=64)
    count = models.BigIntegerField(default=0)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "webhook_unhandled"
        verbose_name = "unhandled kind of update"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "field", "kind"), name="webhook_unhandled_one_per_kind"
            ),
        )

    def __str__(self) -> str:
        return f"{self.field}/{self.kind}"
