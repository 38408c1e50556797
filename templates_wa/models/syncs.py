"""When each account's templates were read from Meta, and when they are due again."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class TemplateSync(models.Model):
    """The sync of one WhatsApp Business Account of a tenant.

    ``due_at`` is when the next one is due (NULL: no workspace uses the account any more); while one
    runs it is the end of its lease. ``attempts`` are those that failed since ``synced_at``, the
    last for ``error``.
    """

    tenant_id = models.UUIDField()
    waba_id = models.CharField(max_length=64)
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    synced_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "template_syncs"
        verbose_name = "template sync"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "waba_id"), name="template_syncs_one_per_account"
            ),
        )
        indexes = (models.Index(fields=("due_at",), name="template_syncs_due"),)

    def __str__(self) -> str:
        return self.waba_id
