"""A tenant to try things with: made once, kept as it is, repaired where something is missing.

What the facts file knows and the database still accepts is kept; all else is renewed, and said.
"""

from __future__ import annotations

import hmac
import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import transaction

from workspaces import access, demo_facts, provisioning, secrets
from workspaces.access import ALL_SCOPES, Scope
from workspaces.demo_facts import DemoFacts
from workspaces.models import (
    HOSTED,
    ApiKey,
    SecretKind,
    Tenant,
    TenantSecret,
    TenantStatus,
    Transport,
    Workspace,
)

SLUG = "demo"
LABEL = "demo"
ADMIN = "admin"


class DemoIsBeingErased(Exception):
    """The demo tenant is being erased; run this again when it is gone."""


@dataclass(slots=True)
class Demo:
    """What was made; ``notes`` are sentences for the operator about everything that was renewed."""

    facts: DemoFacts
    path: Path
    notes: list[str]


@dataclass(slots=True)
class _Visit:
    """One run: what the file said, when it is, and what there is to tell."""

    known: DemoFacts | None
    now: datetime
    notes: list[str] = field(default_factory=list)

    def knew(self, name: str) -> str:
        """Return a fact as the file had it, or nothing."""
        return str(getattr(self.known, name, ""))


def ensure(
    *,
    home: Path,
    base_url: str,
    sender_url: str,
    now: datetime,
    graph_url: str = "",
    simulator_url: str = "",
) -> Demo:
    """Create or complete the demo tenant and write its facts into ``home``.

    With a ``simulator_url`` it has an access token, which only the simulator there knows.

    Raises:
        DemoIsBeingErased: its erasure has begun.
    """
    visit = _Visit(demo_facts.read(home), now)
    base_url = base_url.rstrip("/")
    with transaction.atomic():
        tenant = _tenant(visit)
        workspace = _workspace(tenant, visit)
        facts = DemoFacts(
            base_url=base_url,
            callback_url=provisioning.callback_url(tenant.slug, base_url=base_url),
            tenant_id=str(tenant.id),
            tenant_slug=tenant.slug,
            workspace_id=str(workspace.id),
            phone_number_id=workspace.external_id,
            waba_id=workspace.waba_id,
            app_secret=_secret(tenant, SecretKind.APP_SECRET, random.token_hex(16), visit),
            verify_token=_secret(tenant, SecretKind.VERIFY_TOKEN, random.token_urlsafe(32), visit),
            api_key=_api_key(tenant, visit),
            admin_url=f"{base_url}/admin/",
            admin_user=ADMIN,
            admin_password=_admin_password(visit),
            sender_url=sender_url.rstrip("/"),
            access_token=_access_token(tenant, visit, is_simulated=bool(simulator_url)),
            graph_url=graph_url,
            simulator_url=simulator_url.rstrip("/"),
            sender_key=_sender_key(workspace, visit),
            device_workspace_id=str(_device(tenant).id),
        )
    return Demo(facts, demo_facts.write(home, facts), visit.notes)


def _tenant(visit: _Visit) -> Tenant:
    tenant = Tenant.objects.select_for_update().filter(slug=SLUG).first()
    if tenant is None:
        visit.known = None  # facts about another database
        return provisioning.create_tenant(slug=SLUG, name="Demo")
    if tenant.status == TenantStatus.ERASING:
        raise DemoIsBeingErased("The demo tenant is being erased; run this again when it is gone.")
    if visit.known is None:
        visit.notes.append(f"{demo_facts.FILE_NAME} was lost: its secrets were made anew.")
    return tenant


def _workspace(tenant: Tenant, visit: _Visit) -> Workspace:
    workspaces = tenant.workspaces.exclude(transport__in=HOSTED).order_by("created_at", "id")
    known = visit.knew("phone_number_id")
    found = workspaces.filter(external_id=known).first() or workspaces.first()
    return found or provisioning.create_workspace(
        tenant_id=tenant.id,
        name="Demo",
        external_id=provisioning.made_up_id(),
        waba_id=provisioning.made_up_id(),
    )


def _device(tenant: Tenant) -> Workspace:
    """Return the workspace of the account that is linked as a device; it is paired by hand."""
    devices = tenant.workspaces.filter(transport=Transport.LINKED_DEVICE)
    return devices.order_by("created_at", "id").first() or provisioning.create_workspace(
        tenant_id=tenant.id, name="Demo device", external_id="", transport=Transport.LINKED_DEVICE
    )


def _access_token(tenant: Tenant, visit: _Visit, *, is_simulated: bool) -> str:
    if is_simulated:
        return _secret(tenant, SecretKind.ACCESS_TOKEN, f"EAA{random.token_hex(40)}", visit)
    # Meta would refuse it, and what is sent with it.
    _forget_secret(tenant, SecretKind.ACCESS_TOKEN)
    return ""


def _secret(tenant: Tenant, kind: SecretKind, new: str, visit: _Visit) -> str:
    """Return the secret that the file knew, as long as it is live, else the ``new`` one."""
    known = visit.knew(kind.value.lower())
    live = secrets.live(visit.now).filter(tenant=tenant, kind=kind)
    if any(hmac.compare_digest(secrets.reveal(row).encode(), known.encode()) for row in live):
        return known
    if known:
        visit.notes.append(f"The {kind.label.lower()} was no longer valid and was made anew.")
    _forget_secret(tenant, kind)
    secrets.add(tenant=tenant, kind=kind, value=new, label=LABEL)
    return new


def _forget_secret(tenant: Tenant, kind: SecretKind) -> None:
    TenantSecret.objects.filter(tenant=tenant, kind=kind, label=LABEL).delete()


def _api_key(tenant: Tenant, visit: _Visit) -> str:
    known = visit.knew("api_key")
    key = _key(tenant, known, LABEL, sorted(ALL_SCOPES), visit)
    if known not in ("", key):
        visit.notes.append("The API key was no longer valid and was made anew.")
    return key


def _sender_key(workspace: Workspace, visit: _Visit) -> str:
    known, scopes = visit.knew("sender_key"), [Scope.MESSAGES_SEND, Scope.MESSAGES_READ]
    return _key(workspace.tenant, known, f"{LABEL} sender", scopes, visit, workspace=workspace)


def _key(
    tenant: Tenant,
    known: str,
    name: str,
    scopes: Sequence[str],
    visit: _Visit,
    *,
    workspace: Workspace | None = None,
) -> str:
    """Return the key that is known, as long as it may be used, else a new one in its place."""
    usable = access.usable_api_keys(visit.now).filter(tenant=tenant)
    if usable.filter(digest=access.digest_api_key(known)).exists():
        return known
    ApiKey.objects.filter(tenant=tenant, name=name, revoked_at=None).update(revoked_at=visit.now)
    return access.issue_api_key(tenant=tenant, name=name, scopes=scopes, workspace=workspace)[1]


def _admin_password(visit: _Visit) -> str:
    users = get_user_model()
    admin = users.objects.filter(username=ADMIN).first()
    known = visit.knew("admin_password")
    if admin is not None and known:
        if not admin.check_password(known):
            # Whoever changed it meant it: putting the old one back would undo a precaution.
            visit.notes.append(f"The password of {ADMIN!r} was changed since and is left alone.")
        return known
    password = random.token_urlsafe(18)
    if admin is None:
        users.objects.create_superuser(username=ADMIN, password=password)
        return password
    admin.set_password(password)
    admin.save(update_fields=("password",))
    visit.notes.append(f"The user {ADMIN!r} existed already and has a new password.")
    return password
