"""``add``: give a tenant a workspace whose account is a linked device."""

from __future__ import annotations

from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import sessions
from connectors.linked_device.terms import TERMS
from workspaces import provisioning
from workspaces.lookup import NoSuchTenant, find_tenant
from workspaces.models import HOSTED, Tenant, Transport, Workspace


def add(out: OutputWrapper, *, tenant: str, name: str) -> None:
    """Make the workspace and its session, or say that they are there.

    Raises:
        CommandError: there is no such tenant, or the name cannot be used.
    """
    try:
        owner = find_tenant(tenant)
        workspace, is_new = _make(owner, name)
    except (NoSuchTenant, provisioning.UnableToCreateWorkspace) as error:
        raise CommandError(str(error)) from error
    session = sessions.of_workspace(tenant_id=owner.id, workspace_id=workspace.id)
    label = f"{owner.slug}/{workspace.name}"
    out.write(f"{label} is {'made' if is_new else 'there already'}.")
    out.write(f"Workspace  {workspace.id}")
    out.write(f"Session    {session.id}")
    out.write(TERMS)
    if session.paired_at is None:
        out.write(f'Next: manage.py sender pair "{label}" --phone +27… (or --qr)')


def _make(tenant: Tenant, name: str) -> tuple[Workspace, bool]:
    mine = Workspace.objects.filter(tenant=tenant, transport__in=HOSTED, name=name.strip())
    found = mine.order_by("created_at").first()
    if found is not None:
        return found, False
    made = provisioning.create_workspace(
        tenant_id=tenant.id, name=name, transport=Transport.LINKED_DEVICE
    )
    return made, True
