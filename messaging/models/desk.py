"""What the people of a business keep beside their conversations: labels, notes, canned replies."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class ConversationLabel(models.Model):
    """A word that a tenant puts on conversations; ``folded`` is its name without case. Which ones a
    conversation has is in ``conversations.label_ids``.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    name = models.CharField(max_length=50)
    folded = models.TextField()
    colour = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "labels"
        constraints = (
            models.UniqueConstraint(fields=("tenant_id", "folded"), name="labels_one_per_name"),
        )

    def __str__(self) -> str:
        return self.name


class ConversationNote(models.Model):
    """What somebody of the business wrote down about a conversation; no customer ever gets it.

    The text is sealed with the tenant's key. The author is a user, or the API key of that name.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    conversation_id = models.UUIDField()
    sealed_text = models.BinaryField()
    author_id = models.IntegerField(null=True)
    author_key = models.CharField(max_length=100, blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "conversation_notes"
        indexes = (
            models.Index(
                models.F("tenant_id"),
                models.F("conversation_id"),
                models.F("created_at").desc(),
                models.F("id").desc(),
                name="conversation_notes_newest",
            ),
        )

    def __str__(self) -> str:
        return str(self.id)


class CannedReply(models.Model):
    """A text that is kept to be sent again, for one number; ``folded`` is its shortcut without
    case.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    shortcut = models.CharField(max_length=50)
    folded = models.TextField()
    text = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "canned_replies"
        verbose_name_plural = "canned replies"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "workspace_id", "folded"),
                name="canned_replies_one_per_shortcut",
            ),
        )

    def __str__(self) -> str:
        return self.shortcut
