"""Bring tenants, workspaces and API keys into being."""

from __future__ import annotations

import hashlib
import re
import secrets as random
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from workspaces import keys
from workspaces.models import ApiKey, Platform, Tenant, TenantStatus, Workspace
from workspaces.scopes import check_scopes

# Meta's ids are decimal numbers; nothing longer than 20 digits has been seen.
META_ID = re.compile(r"[0-9]{5,32}")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
KEY_PREFIX = "sigma_"


class WorkspaceErrorCode(StrEnum):
    """Why a workspace could not be created."""

    TENANT_NOT_FOUND = "TENANT_NOT_FOUND"
    DUPLICATE = "DUPLICATE"
    INVALID_ID = "INVALID_ID"
    INVALID_NAME = "INVALID_NAME"
    UNSUPPORTED_PLATFORM = "UNSUPPORTED_PLATFORM"


class UnableToCreateWorkspace(Exception):
    """The workspace was refused; ``code`` says why and ``field`` names the input at fault."""

    def __init__(self, code: WorkspaceErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


class UnableToCreateTenant(Exception):
    """The slug is taken, or is not lower-case letters, digits and hyphens (1 to 63)."""


@transaction.atomic
def create_tenant(*, slug: str, name: str, retention_days: int = 30) -> Tenant:
    """Create a tenant with keys of its own.

    Raises:
        UnableToCreateTenant: the slug cannot be used.
    """
    if not SLUG.fullmatch(slug):
        raise UnableToCreateTenant(f"{slug!r} must be lower-case letters, digits and hyphens.")
    if Tenant.objects.filter(slug=slug).exists():
        raise UnableToCreateTenant(f"There is a tenant {slug!r} already.")
    tenant = Tenant.objects.create(slug=slug, name=name, retention_days=retention_days)
    keys.create_tenant_keys(tenant)
    return tenant


def create_workspace(
    *, tenant_id: UUID, name: str, external_id: str, platform: int = Platform.WHATS_APP,
    waba_id: str = "",
) -> Workspace:  # fmt: skip
    """Create the workspace of one phone number.

    Raises:
        UnableToCreateWorkspace: unknown tenant, duplicate number, malformed id or name.
    """
    check_workspace(name=name, external_id=external_id, platform=platform, waba_id=waba_id)
    tenant = Tenant.objects.filter(pk=tenant_id, status=TenantStatus.ACTIVE).first()
    if tenant is None:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.TENANT_NOT_FOUND, "tenantId", "There is no such tenant."
        )
    try:
        with transaction.atomic():
            return Workspace.objects.create(
                tenant=tenant, name=name.strip(), platform=platform,
                external_id=external_id, waba_id=waba_id,
            )  # fmt: skip
    except IntegrityError:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.DUPLICATE,
            "externalId",
            "This tenant has a workspace with this phone number id already.",
        ) from None


def check_workspace(*, name: str, external_id: str, platform: int, waba_id: str) -> None:
    """Refuse what can be refused without looking at other workspaces.

    Raises:
        UnableToCreateWorkspace: malformed id or name, unknown platform.
    """
    if platform not in Platform.values:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.UNSUPPORTED_PLATFORM, "platform", "This platform is not supported."
        )
    if not 1 <= len(name.strip()) <= 200 or "\x00" in name:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.INVALID_NAME, "name", "A name must have 1 to 200 characters."
        )
    if not META_ID.fullmatch(external_id):
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.INVALID_ID,
            "externalId",
            "The phone number id must be the 5 to 32 digits that Meta shows, not the phone number.",
        )
    if waba_id and not META_ID.fullmatch(waba_id):
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.INVALID_ID, "wabaId", "The WABA id must be 5 to 32 digits."
        )


def issue_api_key(
    *, tenant: Tenant, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Create an API key; return its row and the key itself, which is not kept anywhere.

    Raises:
        workspaces.scopes.UnknownScope: a scope that does not exist.
    """
    check_scopes(scopes)
    clear = KEY_PREFIX + random.token_urlsafe(32)
    row = ApiKey.objects.create(
        tenant=tenant, name=name, prefix=clear[: len(KEY_PREFIX) + 4],
        digest=digest_api_key(clear), scopes=list(scopes), expires_at=expires_at,
    )  # fmt: skip
    return row, clear


def usable_api_keys(now: datetime) -> QuerySet[ApiKey]:
    """Return the API keys that are neither revoked nor expired at ``now``."""
    return ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def digest_api_key(clear: str) -> bytes:
    """Return the SHA-256 under which an API key is found (256 random bits need no slow hash)."""
    return hashlib.sha256(clear.encode("utf-8", "replace")).digest()
