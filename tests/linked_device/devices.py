"""Linked devices of the cast, as far as a test wants them to be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.test import Client
from django.urls import reverse

from connectors.linked_device import sessions
from connectors.linked_device.models import PairBy, SenderSession
from tests.conftest import Cast
from workspaces import provisioning
from workspaces.models import Transport, Workspace

QR_TEXT = "2@c2VjcmV0LW9mLWEtcXItY29kZQ==,ref,key,identity"
CODE = "ABCD-EFGH"


def linked(cast: Cast, name: str = "") -> Workspace:
    """Return a new workspace of a linked device."""
    return provisioning.create_workspace(
        tenant_id=cast.tenant.id,
        name=name or f"Device of {cast.tenant.slug}",
        transport=Transport.LINKED_DEVICE,
    )


def session_of(workspace: Workspace, **columns: object) -> SenderSession:
    """Return the workspace's session, with these columns."""
    session = sessions.of_workspace(tenant_id=workspace.tenant_id, workspace_id=workspace.id)
    SenderSession.objects.filter(pk=session.pk).update(**columns)
    return SenderSession.objects.get(pk=session.pk)


def show(session: SenderSession, code: str, *, by: PairBy, until: datetime) -> None:
    """Seal a pairing as the session's process does it."""
    SenderSession.objects.filter(pk=session.pk).update(
        state="PAIRING",
        pair_by=by,
        wanted="RUNNING",
        pairing_expires_at=until,
        sealed_pairing=sessions.seal_pairing(session, code),
    )


def pairing(workspace: Workspace, now: datetime, by: PairBy = PairBy.QR) -> SenderSession:
    """Return a session that shows a QR code, or a code, for a minute."""
    session = session_of(workspace)
    code = QR_TEXT if by == PairBy.QR else CODE
    show(session, code, by=by, until=now + timedelta(seconds=60))
    return SenderSession.objects.get(pk=session.pk)


def html(client: Client, url: str) -> str:
    """Return a page that is there."""
    response = client.get(url)
    assert response.status_code == 200, url
    return str(response.content.decode())


def url_of(name: str, session: SenderSession, *more: str) -> str:
    """Return an address of the admin that is about a session."""
    return reverse(f"admin:linked_device_sendersession_{name}", args=(session.pk, *more))


def asked(session: SenderSession) -> dict[str, Any]:
    """Return what is wanted of a session now."""
    return SenderSession.objects.values("wanted", "pair_by", "restart_asked_at").get(pk=session.pk)
