"""The tables of templates: what may be sent, when it was read from Meta, and what Meta reported."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class Template(models.Model):
    """One template in one language. ``status``, ``category`` and ``quality`` are Meta's words; of
    the statuses only ``APPROVED`` may be sent, and a word we do not know may not.

    ``synced_at`` is the beginning of the sync that read it last; ``status_at``, ``quality_at`` and
    ``category_at`` are the times of the newest events about them, which nothing older overwrites.
    ``deleted_at`` is set when a sync no longer saw it; ``stale_at`` when Meta refused a send that
    the row allowed, so that the next sync is not waited for.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    waba_id = models.CharField(max_length=64)
    platform_template_id = models.CharField(max_length=64)
    name = models.CharField(max_length=512)
    language = models.CharField(max_length=32)
    category = models.CharField(max_length=64, blank=True, default="", db_default="")
    sub_category = models.CharField(max_length=64, blank=True, default="", db_default="")
    status = models.CharField(max_length=64)
    parameter_format = models.CharField(
        max_length=16, default="POSITIONAL", db_default="POSITIONAL"
    )
    components = models.JSONField(default=list, db_default=[])
    quality = models.CharField(max_length=16, blank=True, default="", db_default="")
    rejected_reason = models.CharField(max_length=64, blank=True, default="", db_default="")
    previous_category = models.CharField(max_length=64, blank=True, default="", db_default="")
    ttl_seconds = models.IntegerField(null=True)
    synced_at = models.DateTimeField()
    status_at = models.DateTimeField(null=True)
    quality_at = models.DateTimeField(null=True)
    category_at = models.DateTimeField(null=True)
    stale_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "templates"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "waba_id", "name", "language"),
                name="templates_one_per_language",
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="templates_by_id"),
            models.Index(
                fields=("tenant_id", "waba_id", "platform_template_id"),
                name="templates_platform_id",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.language})"


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


class TemplateExample(models.Model):
    """A file on its way to Meta, to be the example in a template's header: the upload that goes on
    from what Meta has. ``lease_until`` is how long the request that goes on with it may take.
    """

    tenant_id = models.UUIDField()
    media_id = models.UUIDField()
    session = models.TextField()
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "template_examples"
        verbose_name = "template example"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "media_id"), name="template_examples_one_per_file"
            ),
        )

    def __str__(self) -> str:
        return str(self.media_id)


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
