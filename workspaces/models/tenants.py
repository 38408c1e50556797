"""Tenants, their workspaces, and the keys and secrets that belong to them."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7

# Callbacks of an app that several tenants share belong to no tenant until they are processed.
INSTALLATION_ID = UUID(int=0)


class Platform(models.IntegerChoices):
    """The messaging platforms; the numbers are part of the SQL contract."""

    WHATS_APP = 5, "WhatsApp"


class Transport(models.TextChoices):
    """How a workspace's number is reached."""

    CLOUD_API = "CLOUD_API", "Cloud API"
    LINKED_DEVICE = "LINKED_DEVICE", "Linked device"


# Sends over these are made by the process that holds the number's connection, and by no other.
HOSTED = (Transport.LINKED_DEVICE.value,)


class TenantStatus(models.TextChoices):
    """What a tenant may do: ``SUSPENDED`` still receives, ``ERASING`` is on its way out."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    ERASING = "ERASING"


class ArchiveKey(models.TextChoices):
    """Whether a tenant keeps the files that people send, and what seals them: ``DAY`` ends with
    Raw, ``FIELD`` may last longer.
    """

    OFF = "OFF", "No"
    DAY = "DAY", "Yes, under the key of the day"
    FIELD = "FIELD", "Yes, under the tenant's key"


class Tenant(models.Model):
    """A customer of the platform, isolated from every other."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=200)
    retention_days = models.PositiveSmallIntegerField(default=30, db_default=30)
    # Whether people can be answered after their Raw was purged; docs/privacy.md says what it means.
    keeps_addresses = models.BooleanField(default=False, db_default=False)
    archive = models.CharField(
        max_length=8, choices=ArchiveKey, default=ArchiveKey.OFF, db_default=ArchiveKey.OFF
    )
    # NULL: as long as Raw. Under the key of a day never longer than that.
    archive_days = models.PositiveSmallIntegerField(null=True, blank=True)
    status = models.CharField(
        max_length=16,
        choices=TenantStatus,
        default=TenantStatus.ACTIVE,
        db_default=TenantStatus.ACTIVE,
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "tenants"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(retention_days__gte=1, retention_days__lte=3650),
                name="tenants_retention_between_1_and_3650_days",
            ),
            models.CheckConstraint(
                condition=models.Q(archive_days__gte=1, archive_days__lte=3650),
                name="tenants_archive_between_1_and_3650_days",
            ),
        )

    def __str__(self) -> str:
        return self.name


class KeyPurpose(models.TextChoices):
    """``SALT`` digests identities; ``FIELD`` seals values that are not tied to a day."""

    SALT = "SALT"
    FIELD = "FIELD"


class TenantKey(models.Model):
    """A tenant's data key, wrapped by a master key. Deleting the rows of a tenant erases it."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="keys", db_index=False
    )
    purpose = models.CharField(max_length=8, choices=KeyPurpose)
    version = models.PositiveSmallIntegerField(default=1, db_default=1)
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "tenant_keys"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "purpose", "version"), name="tenant_keys_one_per_version"
            ),
        )

    def __str__(self) -> str:
        return f"{self.purpose} v{self.version}"


class Proof(models.IntegerChoices):
    """How a number or an account proved to be its tenant's; see :mod:`workspaces.ownership`."""

    TYPED = 0, "none: somebody typed it"
    CALLBACK = 1, "a callback signed with the tenant's own app secret"
    TOKEN = 2, "the tenant's access token reads it"


class RawKey(models.Model):
    """The key of one tenant's Raw of one UTC day; without the row that day is unreadable."""

    tenant_id = models.UUIDField()
    day = models.DateField()
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "raw_keys"
        constraints = (
            models.UniqueConstraint(fields=("tenant_id", "day"), name="raw_keys_one_per_day"),
        )
        # A sealed value names its key by the id alone.
        indexes = (models.Index(fields=("id",), name="raw_keys_by_id"),)

    def __str__(self) -> str:
        return f"{self.day}"


class SecretKind(models.TextChoices):
    """What a stored secret is for."""

    APP_SECRET = "APP_SECRET", "App secret"
    VERIFY_TOKEN = "VERIFY_TOKEN", "Verify token"
    ACCESS_TOKEN = "ACCESS_TOKEN", "Access token"


class TenantSecret(models.Model):
    """A sealed secret. Several of one kind may be live, so that rotation needs no downtime."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="secrets", db_index=False
    )
    kind = models.CharField(max_length=16, choices=SecretKind)
    label = models.CharField(max_length=100, blank=True, default="", db_default="")
    sealed = models.BinaryField()
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "tenant_secrets"
        verbose_name = "secret"
        indexes = (models.Index(fields=("id",), name="tenant_secrets_by_id"),)

    def __str__(self) -> str:
        return self.label or self.get_kind_display()


class TokenCheck(models.Model):
    """What the platform last said about an access token (Meta, "Debug-token"), or about an app
    secret: that is valid where it fits a live token, for both belong to one app.
    """

    secret = models.OneToOneField(
        TenantSecret,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="token_check",
        db_constraint=False,  # the migration makes one with the tenant
    )
    tenant_id = models.UUIDField()
    # As the secret's, which no tenant's request may look at.
    kind = models.CharField(
        max_length=16, default=SecretKind.ACCESS_TOKEN, db_default=SecretKind.ACCESS_TOKEN
    )
    checked_at = models.DateTimeField()
    is_valid = models.BooleanField()
    # NULL: the token does not expire.
    expires_at = models.DateTimeField(null=True)
    scopes = ArrayField(models.CharField(max_length=64), default=list, db_default=[])
    account_ids = ArrayField(models.CharField(max_length=64), default=list, db_default=[])
    problem = models.TextField(blank=True, default="", db_default="")
    # Of a token: which app secret was found to fit it. No foreign key: the secret may go.
    app_secret_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "token_checks"
        indexes = (models.Index(fields=("secret",), name="token_checks_by_id"),)

    def __str__(self) -> str:
        return self.problem or "valid"


class Workspace(models.Model):
    """One business phone number of a tenant; ``external_id`` is Meta's phone number id, or one that
    we made for a linked device.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="workspaces", db_index=False
    )
    name = models.CharField(max_length=200)
    platform = models.PositiveSmallIntegerField(choices=Platform, default=Platform.WHATS_APP)
    external_id = models.CharField("phone number ID", max_length=64)
    waba_id = models.CharField("WABA ID", max_length=64, blank=True, default="", db_default="")
    transport = models.CharField(
        max_length=32,
        choices=Transport,
        default=Transport.CLOUD_API,
        db_default=Transport.CLOUD_API,
    )
    is_active = models.BooleanField(default=True, db_default=True)
    # Back to what was typed when the id changes: a trigger sees to that, whoever changes it.
    number_proof = models.PositiveSmallIntegerField(
        choices=Proof, default=Proof.TYPED, db_default=Proof.TYPED, editable=False
    )
    account_proof = models.PositiveSmallIntegerField(
        choices=Proof, default=Proof.TYPED, db_default=Proof.TYPED, editable=False
    )
    number_proven_at = models.DateTimeField(null=True, editable=False)
    account_proven_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "workspaces"
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "platform", "external_id"),
                name="workspaces_one_per_phone_number",
            ),
        )
        indexes = (
            models.Index(fields=("id",), name="workspaces_by_id"),
            models.Index(fields=("external_id",), name="workspaces_external_id"),
            models.Index(fields=("waba_id",), name="workspaces_waba_id"),
        )

    def __str__(self) -> str:
        return self.name


class DirectoryVersion(models.Model):
    """One row that triggers raise when a tenant, key or secret changes; web processes poll it."""

    version = models.BigIntegerField(default=0)

    class Meta:
        db_table = "directory_version"

    def __str__(self) -> str:
        return str(self.version)
