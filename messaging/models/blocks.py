"""Whom a number blocks at its platform, and what makes it block more."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class BlockState(models.TextChoices):
    """Where a block is: ``BLOCKING`` and ``UNBLOCKING`` are pending, the platform is still asked;
    ``REFUSED``: it did not block the person.
    """

    BLOCKED = "BLOCKED"
    BLOCKING = "BLOCKING"
    UNBLOCKING = "UNBLOCKING"
    UNBLOCKED = "UNBLOCKED"
    REFUSED = "REFUSED"


class ContactBlock(models.Model):
    """A person whom a number blocks, was to block, or blocked a short while ago.

    ``by`` is who wanted the last change, and ``asked_at`` when: ``user`` or ``api_key`` and an id,
    ``rule``, or ``platform`` for what was found in the platform's own list. A pending change has a
    time (``due_at``); whoever carries it out has a lease, under which nobody else does, whatever is
    wanted meanwhile.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    contact_id = models.UUIDField()
    state = models.CharField(max_length=16, choices=BlockState)
    by = models.CharField(max_length=64)
    asked_at = models.DateTimeField()
    changed_at = models.DateTimeField(db_default=Now())
    blocked_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    error_code = models.IntegerField(null=True)
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        db_table = "contact_blocks"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "workspace_id", "contact_id"),
                name="contact_blocks_one_per_number",
            ),
            models.CheckConstraint(
                name="contact_blocks_pending_has_a_time",
                condition=models.Q(state__in=("BLOCKING", "UNBLOCKING"), due_at__isnull=False)
                | (~models.Q(state__in=("BLOCKING", "UNBLOCKING")) & models.Q(due_at=None)),
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="contact_blocks_by_id"),  # the admin's lists
            models.Index(fields=("tenant_id", "contact_id"), name="contact_blocks_of_one"),
            models.Index(
                models.F("tenant_id"),
                models.F("workspace_id"),
                models.F("changed_at").desc(),
                models.F("id").desc(),
                name="contact_blocks_newest",
            ),
            models.Index(
                fields=("due_at",),
                name="contact_blocks_due",
                condition=models.Q(due_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.contact_id} {self.state}"


class BlockList(models.Model):
    """A number's list at its platform as it was read last, and the rule that adds to it.

    ``messages_a_minute``: whoever writes more is blocked; NULL: nobody is. ``listed`` is how many
    the platform names, ``strangers`` how many of them are no contacts of the tenant.
    """

    workspace_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    messages_a_minute = models.PositiveSmallIntegerField(null=True)
    listed = models.IntegerField(default=0, db_default=0)
    strangers = models.IntegerField(default=0, db_default=0)
    synced_at = models.DateTimeField(null=True)
    # When it is read next (NULL: as soon as possible), and why the last time gave nothing.
    sync_due_at = models.DateTimeField(null=True)
    sync_error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        db_table = "block_lists"
        indexes = (
            models.Index(fields=("workspace_id",), name="block_lists_by_id"),
            models.Index(
                fields=("tenant_id",),
                name="block_lists_with_a_rule",
                condition=models.Q(messages_a_minute__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return str(self.workspace_id)
