"""Files that applications gave us to send, and what they are called at the platform."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7


class UploadState(models.TextChoices):
    """Whether the bytes are in the storage; what stays ``STORING`` was cut off."""

    STORING = "STORING"
    READY = "READY"


class Upload(models.Model):
    """A file to send, sealed in the storage under ``stored_as``.

    ``id`` is a keyed digest of the file, its type and its name, so that the same file has the same
    id within its tenant. ``used_at`` is until when a send may need it, or when it came; ``begun``
    are the names under which it was begun to be stored, and not ended.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant_id = models.UUIDField()
    workspace_id = models.UUIDField()
    stored_as = models.UUIDField()
    begun = ArrayField(models.UUIDField(), default=list, db_default=[])
    state = models.CharField(
        max_length=16,
        choices=UploadState,
        default=UploadState.STORING,
        db_default=UploadState.STORING,
    )
    mime_type = models.CharField(max_length=128)
    size_bytes = models.BigIntegerField()
    sealed_name = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    used_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "uploads"
        indexes = (models.Index(fields=("tenant_id", "used_at"), name="uploads_by_use"),)

    def __str__(self) -> str:
        return f"{self.mime_type} {self.id}"


class UploadHandle(models.Model):
    """What a file is called at the platform, for one number; made by one sender at a time.

    ``lease_until`` is until when the sender that uploads it is taken to be alive, which it renews
    with ``sent_bytes``; ``due_at`` is when the next may try. With an ``error_code`` the platform
    refused it. ``renewed_at`` is when the platform was last found to have forgotten it.
    """

    tenant_id = models.UUIDField()
    upload_id = models.UUIDField()
    workspace_id = models.UUIDField()
    platform_media_id = models.CharField(max_length=128, blank=True, default="", db_default="")
    expires_at = models.DateTimeField(null=True)
    renewed_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    sent_bytes = models.BigIntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    error_code = models.IntegerField(null=True)
    error = models.TextField(blank=True, default="", db_default="")

    class Meta:
        db_table = "upload_handles"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant_id", "upload_id", "workspace_id"),
                name="upload_handles_one_per_number",
            ),
        )

    def __str__(self) -> str:
        return f"{self.upload_id} {self.platform_media_id}"
