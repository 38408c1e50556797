"""Messages and sessions as the product would have stored them, for tests that look at them."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from connectors.linked_device import status
from connectors.linked_device.models import SenderSession, SessionLease, SessionState, Wanted
from connectors.linked_device.status import SessionStatus
from messaging.models import Message
from tests.conftest import Cast
from workspaces.models import Workspace


def linked(cast: Cast, name: str = "Front desk") -> Workspace:
    """Give a tenant a workspace whose account is a linked device."""
    return Workspace.objects.create(
        tenant=cast.tenant, name=name, external_id=str(uuid4()), transport="LINKED_DEVICE"
    )


def session_of(
    workspace: Workspace, now: datetime, state: str = "CONNECTED", **columns: object
) -> SenderSession:
    """Give a linked device a session that is paired and should run, since an hour."""
    paired = {"paired_at": now - timedelta(days=3), "wanted": Wanted.RUNNING, "home": "desk"}
    session = SenderSession.objects.create(
        tenant_id=workspace.tenant_id, workspace=workspace, **{**paired, **columns}
    )
    reason = f"Because it is {state.lower()}."
    status.write(
        session.id, SessionStatus(SessionState(state), reason), now=now - timedelta(hours=1)
    )
    return SenderSession.objects.get(pk=session.pk)


def hold(session: SenderSession, now: datetime, *, pid: int = 4711) -> SenderSession:
    """Let a process hold the session for another minute."""
    SessionLease.objects.update_or_create(
        session=session,
        defaults={
            "tenant_id": session.tenant_id,
            "owner": uuid4(),
            "host": session.home,
            "pid": pid,
            "fencing_token": 1,
            "acquired_at": now - timedelta(hours=1),
            "expires_at": now + timedelta(seconds=60),
        },
    )
    return SenderSession.objects.select_related("lease").get(pk=session.pk)


def message(
    workspace: Workspace | Cast, at: datetime, status: str | None = None, **columns: object
) -> Message:
    """Store one message: of ours with a status, received without."""
    place = workspace.workspace if isinstance(workspace, Cast) else workspace
    ours = {"direction": "OUTBOUND", "source": "API", "status": status}
    theirs = {"direction": "INBOUND", "source": "LIVE"}
    return Message.objects.create(
        tenant_id=place.tenant_id,
        workspace=place,
        type="text",
        timestamp_utc=at,
        **{**(ours if status else theirs), **columns},
    )


def messages(workspace: Workspace | Cast, at: datetime, *statuses: str) -> list[UUID]:
    """Store messages of ours with these statuses, at one moment."""
    return [message(workspace, at, status).pk for status in statuses]
