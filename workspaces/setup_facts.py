"""Gather what the set-up check looks at."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from workspaces import access, setup_check
from workspaces.checks import master_key_is_generated
from workspaces.models import HOSTED, KeyPurpose, Tenant, TenantSecret, TokenCheck, Workspace
from workspaces.setup_check import Finding, SecretFacts, SetUp, TokenState, WorkspaceFacts


def findings_of(tenant: Tenant, *, now: datetime) -> list[Finding]:
    """Return what is missing in a tenant's set-up, errors first."""
    return setup_check.check(gather(tenant, now=now), now=now)


def gather(tenant: Tenant, *, now: datetime) -> SetUp:
    """Read the facts of one tenant."""
    configured = settings.SIGMA_WHATSAPP
    workspaces = list(tenant.workspaces.order_by("name", "id"))
    return SetUp(
        status=tenant.status,
        has_keys=tenant.keys.values("purpose").distinct().count() == len(KeyPurpose),
        secrets=tuple(_secret(row) for row in _secrets(tenant)),
        configured_app_secret=bool(configured.app_secrets_of(tenant.slug, tenant.id)),
        configured_verify_token=bool(configured.verify_token),
        workspaces=tuple(map(_workspace, workspaces)),
        numbers_shared_with_others=_shared(tenant, workspaces),
        public_url=settings.SIGMA_PUBLIC_URL,
        master_key_is_generated=master_key_is_generated(),
        has_readers=_has_readers(tenant, now),
    )


def _workspace(row: Workspace) -> WorkspaceFacts:
    return WorkspaceFacts(row.name, row.waba_id, row.is_active, row.transport in HOSTED)


def _secrets(tenant: Tenant) -> QuerySet[TenantSecret]:
    return tenant.secrets.defer("sealed").select_related("token_check").order_by("id")


def _secret(row: TenantSecret) -> SecretFacts:
    check: TokenCheck | None = getattr(row, "token_check", None)
    if check is None:
        return SecretFacts(row.kind, row.label, row.expires_at)
    token = TokenState(check.is_valid, check.expires_at, check.problem)
    return SecretFacts(row.kind, row.label, row.expires_at, token)


def _shared(tenant: Tenant, workspaces: list[Workspace]) -> bool:
    numbers = [workspace.external_id for workspace in workspaces if workspace.is_active]
    others = Workspace.objects.filter(external_id__in=numbers, is_active=True)
    return others.exclude(tenant=tenant).exists()


def _has_readers(tenant: Tenant, now: datetime) -> bool:
    usable = access.usable_api_keys(now).filter(tenant=tenant)
    return usable.exists() or tenant.memberships.exists()
