"""Erasures of single people: asked for, performed, and what was removed."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class PersonErasure(models.Model):
    """The removal of what is known of one person, or (``is_dry_run``) a count of it.

    Pending until ``ended_at``. ``removed`` are rows by table; ``receipt`` is JSON, signed with the
    tenant's key (Ed25519); neither has anything of the person but the id that they had here.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    contact_id = models.UUIDField()
    is_dry_run = models.BooleanField(default=False, db_default=False)
    keeps_opt_out = models.BooleanField(default=True, db_default=True)
    requested_by = models.CharField(max_length=150)
    requested_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    removed = models.JSONField(default=dict, db_default={})
    receipt = models.TextField(blank=True, default="", db_default="")
    signature = models.BinaryField(null=True)

    class Meta:
        db_table = "person_erasures"
        indexes = (
            models.Index(
                fields=("tenant_id", "requested_at"),
                name="person_erasures_pending",
                condition=models.Q(ended_at=None),
            ),
        )

    def __str__(self) -> str:
        return str(self.id)
