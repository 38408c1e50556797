"""Whom to write to: the demo tenant of ``make up``, or any tenant of this installation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from connectors.simulator.updates import Business
from workspaces import demo_facts, directory
from workspaces.models import HOSTED, Workspace


class NobodyToWriteTo(Exception):
    """There is no such tenant here, or it lacks an app secret or a workspace."""


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """A callback URL, the app secret that signs for it, and the number that is written to."""

    callback_url: str
    app_secret: bytes = field(repr=False)
    business: Business


def of_demo(home: Path) -> TenantFacts:
    """Return the facts that ``make up`` wrote to ``<home>/demo.json``.

    Raises:
        NobodyToWriteTo: no such file, or one that lacks a fact.
    """
    known = demo_facts.read(home)
    if known is None:
        path = home / demo_facts.FILE_NAME
        raise NobodyToWriteTo(f"{path} is missing or incomplete. Start the demo with: make up")
    business = Business(known.waba_id, known.phone_number_id)
    return TenantFacts(known.callback_url, known.app_secret.encode(), business)


def of_tenant(tenant: str, *, base_url: str, now: datetime) -> TenantFacts:
    """Return the facts of a tenant (slug or UUID) from the database.

    Raises:
        NobodyToWriteTo: unknown tenant, or one without app secret or active workspace.
    """
    route = directory.load(now).find(tenant)
    if route is None or not route.app_secrets:
        raise NobodyToWriteTo(f"There is no tenant {tenant!r}, or it has no app secret.")
    workspace = (
        Workspace.objects.filter(tenant_id=route.tenant_id, is_active=True)
        .exclude(transport__in=HOSTED)
        .first()
    )
    if workspace is None:
        raise NobodyToWriteTo(f"The tenant {tenant!r} has no active workspace.")
    business = Business(workspace.waba_id or "102290129340398", workspace.external_id)
    url = f"{base_url.rstrip('/')}/webhooks/whatsapp/{route.slug}"
    return TenantFacts(url, route.app_secrets[0], business)
