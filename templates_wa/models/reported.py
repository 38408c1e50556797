"""What Meta reported about message templates."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class TemplateEventRow(models.Model):
    """One reported change of a template, kept in order of arrival."""

    tenant_id = models.UUIDField()
    waba_id = models.CharField(max_length=64)
    template_id = models.CharField(max_length=64)
    name = models.CharField(max_length=512)
    language = models.CharField(max_length=32)
    change = models.CharField(max_length=64)
    event = models.CharField(max_length=64)
    reason = models.TextField(null=True)  # noqa: DJ001 - NULL: Meta gave none
    details = models.JSONField(default=dict, db_default={})
    occurred_at = models.DateTimeField()
    digest = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "template_events"
        verbose_name = "template event"
        constraints = (
            # Meta repeats callbacks; the digest covers WABA, change, time and value.
            models.UniqueConstraint(fields=("tenant_id", "digest"), name="template_events_once"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.event}"
