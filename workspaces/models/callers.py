"""Who may act for a tenant: API keys and members; how members sign in."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now

from lib.ids import uuid7
from workspaces.models.tenants import Tenant, Workspace


class ApiKey(models.Model):
    """A tenant's key to the API: only a digest is kept, the key itself is shown once.

    One that is bound to a ``workspace`` opens the sender service alone, for that workspace.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="api_keys", db_index=False
    )
    workspace = models.ForeignKey(
        Workspace,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        db_constraint=False,  # the migration makes one with the tenant
    )
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16)
    digest = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=32), default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "api_keys"
        verbose_name = "API key"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "digest"), name="api_keys_one_per_digest"),
        )
        indexes = (
            # A request tells its key, and nothing of its tenant.
            models.Index(fields=("digest",), name="api_keys_by_digest"),
            models.Index(fields=("id",), name="api_keys_by_id"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Role(models.TextChoices):
    """What a tenant's member may do: ``VIEWER`` reads, ``MANAGER`` also changes and reads Raw."""

    VIEWER = "VIEWER"
    MANAGER = "MANAGER"


class Membership(models.Model):
    """A Django user's place in a tenant."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="memberships", db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=16, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "memberships"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "user"), name="memberships_one_per_tenant"),
        )

    def __str__(self) -> str:
        return f"{self.user} in {self.tenant}"


class SecondFactor(models.Model):
    """A user's authenticator app: its secret, wrapped by the master key, and recovery codes."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="second_factor",
    )
    wrapped = models.BinaryField()
    # Without it the app was not tried yet, and nobody is asked for its codes.
    confirmed_at = models.DateTimeField(null=True)
    # The step of time whose code was used last: a code is good once.
    last_step = models.BigIntegerField(default=0)
    recovery = ArrayField(models.BinaryField(max_length=32), default=list)

    class Meta:
        db_table = "second_factors"

    def __str__(self) -> str:
        return f"second factor of {self.user}"


class Throttle(models.Model):
    """How full a bucket of attempts is; see :mod:`lib.throttle`."""

    key = models.BinaryField(primary_key=True, max_length=32)
    full_at = models.DateTimeField()

    class Meta:
        db_table = "throttles"
        indexes = (models.Index(fields=("full_at",), name="throttles_full_at"),)

    def __str__(self) -> str:
        return bytes(self.key).hex()
