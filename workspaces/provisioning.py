"""Create tenants and workspaces."""

from __future__ import annotations

import re
import secrets as random
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from workspaces import keys
from workspaces.models import (
    HOSTED,
    Platform,
    Tenant,
    TenantStatus,
    Transport,
    Workspace,
)

# Meta's ids are decimal numbers; nothing longer than 20 digits has been seen.
META_ID = re.compile(r"[0-9]{5,32}")
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class WorkspaceErrorCode(StrEnum):
    """Why a workspace could not be created."""

    TENANT_NOT_FOUND = "TENANT_NOT_FOUND"
    DUPLICATE = "DUPLICATE"
    INVALID_ID = "INVALID_ID"
    INVALID_NAME = "INVALID_NAME"
    UNSUPPORTED_PLATFORM = "UNSUPPORTED_PLATFORM"
    UNSUPPORTED_TRANSPORT = "UNSUPPORTED_TRANSPORT"


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
    if is_uuid(slug):
        raise UnableToCreateTenant(f"{slug!r} could be another tenant's id.")
    if Tenant.objects.filter(slug=slug).exists():
        raise UnableToCreateTenant(f"There is a tenant {slug!r} already.")
    tenant = Tenant.objects.create(slug=slug, name=name, retention_days=retention_days)
    keys.create_tenant_keys(tenant)
    return tenant


def is_uuid(slug: str) -> bool:
    """Return whether ``slug`` would be read as a tenant's UUID where either may stand."""
    try:
        UUID(slug)
    except ValueError:
        return False
    return True


def create_workspace(
    *,
    tenant_id: UUID,
    name: str,
    external_id: str = "",
    platform: int = Platform.WHATS_APP,
    waba_id: str = "",
    transport: str = Transport.CLOUD_API,
) -> Workspace:
    """Create the workspace of one phone number.

    A linked device has no id that Meta gave it: leave ``external_id`` out, and one is made.

    Raises:
        UnableToCreateWorkspace: unknown tenant, a number in use, malformed id or name.
    """
    check_workspace(
        name=name, external_id=external_id, platform=platform, waba_id=waba_id, transport=transport
    )
    tenant = Tenant.objects.filter(pk=tenant_id, status=TenantStatus.ACTIVE).first()
    if tenant is None:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.TENANT_NOT_FOUND, "tenantId", "There is no such tenant."
        )
    external_id = external_id or made_up_id()
    try:
        with transaction.atomic():
            refuse_number_in_use(tenant_id=tenant_id, external_id=external_id, platform=platform)
            return Workspace.objects.create(
                tenant=tenant,
                name=name.strip(),
                platform=platform,
                external_id=external_id,
                waba_id=waba_id,
                transport=transport,
            )
    except IntegrityError:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.DUPLICATE,
            "externalId",
            "This tenant has a workspace with this phone number id already.",
        ) from None


def made_up_id() -> str:
    """Return an id of 15 random digits, in the form of Meta's: it says nothing about a number."""
    return str(random.randbelow(9 * 10**14) + 10**14)


def refuse_number_in_use(*, tenant_id: UUID, external_id: str, platform: int) -> None:
    """Refuse a number that another tenant's access token reads, in an active workspace.

    What was only typed keeps nobody out. The look across tenants is the database's
    (``number_in_use``).

    Raises:
        UnableToCreateWorkspace: in use.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT number_in_use(%s, %s, %s)", [tenant_id, platform, external_id])
        (in_use,) = cursor.fetchone()
    if in_use:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.DUPLICATE, "externalId", "This phone number id is in use already."
        )


def check_workspace(
    *,
    name: str,
    external_id: str,
    platform: int,
    waba_id: str,
    transport: str = Transport.CLOUD_API,
) -> None:
    """Refuse what can be refused without looking at other workspaces.

    Raises:
        UnableToCreateWorkspace: malformed id or name, unknown platform or transport.
    """
    if platform not in Platform.values:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.UNSUPPORTED_PLATFORM, "platform", "This platform is not supported."
        )
    if transport not in Transport.values:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.UNSUPPORTED_TRANSPORT, "transport", "There is no such transport."
        )
    if not 1 <= len(name.strip()) <= 200 or "\x00" in name:
        raise UnableToCreateWorkspace(
            WorkspaceErrorCode.INVALID_NAME, "name", "A name must have 1 to 200 characters."
        )
    if transport in HOSTED:
        _refuse_metas_ids(external_id, waba_id)
    else:
        _check_metas_ids(external_id, waba_id)


def _refuse_metas_ids(external_id: str, waba_id: str) -> None:
    # Digits that the caller chose could be the phone number, which is kept nowhere in plaintext.
    for given, field in ((external_id, "externalId"), (waba_id, "wabaId")):
        if given:
            raise UnableToCreateWorkspace(
                WorkspaceErrorCode.INVALID_ID,
                field,
                "A linked device has no id of Meta's; leave this out, and an id is made.",
            )


def _check_metas_ids(external_id: str, waba_id: str) -> None:
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


def callback_url(slug: str, *, base_url: str | None = None) -> str:
    """Return the callback URL of a tenant, as entered in Meta's app dashboard under Webhooks."""
    return f"{base_url or settings.SIGMA_PUBLIC_URL}/webhooks/whatsapp/{slug}"
