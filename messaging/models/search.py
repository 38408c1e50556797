"""The words of messages, and which messages' words are not read yet."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models.functions import Now


class MessageWords(models.Model):
    """The words of one message (`messaging.search_index`). It goes with its message, and with the
    message's text: triggers on ``messages`` see to that, whoever changes it.
    """

    message_id = models.UUIDField(primary_key=True)
    tenant_id = models.UUIDField()
    words = SearchVectorField()

    class Meta:
        db_table = "message_words"
        # What PostgreSQL would put off is read through by every search until it is done.
        indexes = (GinIndex(fields=("words",), name="message_words_gin", fastupdate=False),)

    def __str__(self) -> str:
        return str(self.message_id)


class PendingWords(models.Model):
    """Messages of one number that came, or whose text changed, in one statement; a trigger on
    ``messages`` writes the row.
    """

    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    message_ids = ArrayField(models.UUIDField())
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "message_words_pending"

    def __str__(self) -> str:
        return str(self.pk)
