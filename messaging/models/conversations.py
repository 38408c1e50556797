"""What is said between one business number and one person."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class Conversation(models.Model):
    """One person's thread with one number: kept up in the transaction that stores a message.

    ``last_inbound_at`` opens the customer care window (24 hours; Meta, "Send messages": Customer
    service windows). ``unread_count`` counts live messages of the person since somebody of the
    business marked one as read. Where two threads turned out to be one person's, the one that was
    ``merged_into`` the other only leads there.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    contact_id = models.UUIDField()
    last_message_id = models.UUIDField()
    last_message_at = models.DateTimeField()
    last_inbound_at = models.DateTimeField(null=True)
    unread_count = models.PositiveIntegerField(default=0, db_default=0)
    merged_into = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "conversations"
        constraints = (
            models.UniqueConstraint(
                fields=("workspace_id", "contact_id"), name="conversations_one_per_contact"
            ),
        )
        indexes = (
            models.Index(
                models.F("workspace_id"), models.F("last_message_at").desc(), models.F("id").desc(),
                name="conversations_newest_first",
            ),
            models.Index(
                fields=("merged_into",), name="conversations_merged",
                condition=models.Q(merged_into__isnull=False),
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return str(self.id)
