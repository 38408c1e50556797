"""What is shown of linked devices' sessions: the same for the API and for the admin.

A workspace that no one asked anything of yet has a session as well, which was never started.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from connectors.linked_device import health
from connectors.linked_device.models import NEEDS_OPERATOR, SenderSession, SessionState, Wanted
from messaging import numbers
from workspaces.models import HOSTED, Workspace

RESTORE = "Restore a backup, or clear it and pair again."
PAIR, START, NO_HOST = "Pair a phone.", "Start it.", "See that a session host runs on its machine."
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        SessionState.STOPPED: START,
        SessionState.PAIRING: "Scan the QR code with the phone, or type the code into it.",
        SessionState.CONFLICT: "Find and stop the other program that has this account, then start.",
        SessionState.RATE_LIMITED: "Wait; it goes on by itself.",
        SessionState.BANNED: "Wait; it goes on by itself. Then send less.",
        SessionState.LOGGED_OUT: PAIR,
        SessionState.OUTDATED: "Update the software, then start.",
        SessionState.FAILED: "It starts again by itself; if it goes on, read the sender's log.",
    }
)
MAKE_MISSING = """
INSERT INTO sender_sessions (tenant_id, workspace_id)
SELECT w.tenant_id, w.id FROM workspaces w
WHERE w.transport = ANY(%s) AND NOT EXISTS (
    SELECT FROM sender_sessions s WHERE s.tenant_id = w.tenant_id AND s.workspace_id = w.id
) ON CONFLICT DO NOTHING
"""


def make_missing() -> None:
    """Give every linked device its row, so that lists have them all."""
    with connection.cursor() as cursor:
        cursor.execute(MAKE_MISSING, [list(HOSTED)])


def needing_operator(*, now: datetime) -> QuerySet[SenderSession]:
    """Return the sessions that wait for an operator, and those that should run and that no host
    runs (:func:`connectors.linked_device.health.is_unattended` is the same for one).
    """
    due = now - health.HOST_PATIENCE
    unheld = Q(lease=None) | Q(lease__owner=None) | Q(lease__expires_at__lte=now)
    unattended = unheld & Q(wanted=Wanted.RUNNING, since__lt=due)
    unattended &= Q(until=None) | Q(until__lt=due)
    unattended &= Q(stopped_at=None) | Q(stopped_at__lt=due)
    rows = SenderSession.objects.filter(Q(state__in=NEEDS_OPERATOR) | unattended)
    return rows.select_related("workspace", "lease").order_by("since")


def of_tenant(tenant_id: UUID) -> list[SenderSession]:
    """Return the sessions of a tenant's linked devices, by the names of their workspaces."""
    return [_session_of(each) for each in _linked(tenant_id).order_by("name", "id")]


def find(*, tenant_id: UUID, workspace_id: UUID) -> SenderSession | None:
    """Return the session of a linked device; ``None``: the tenant has no such linked device."""
    workspace = _linked(tenant_id).filter(pk=workspace_id).first()
    return _session_of(workspace) if workspace else None


def remedy(session: SenderSession, *, now: datetime) -> str:
    """Return what an operator should do next; empty: nothing."""
    if health.is_unattended(session, now=now):
        return NO_HOST
    if session.state == SessionState.STOPPED and session.paired_at is None:
        return PAIR
    if session.state == SessionState.LOGGED_OUT and session.paired_at is not None:
        return RESTORE  # an account, and no store: to pair is refused
    return REMEDIES.get(session.state, "")


def phone(session: SenderSession, *, in_clear: bool = False) -> str:
    """Return the account's number, masked unless ``in_clear``; empty: not known."""
    return numbers.shown(getattr(session.workspace, "number", None), in_clear=in_clear)


def _linked(tenant_id: UUID) -> QuerySet[Workspace]:
    rows = Workspace.objects.filter(tenant_id=tenant_id, transport__in=HOSTED)
    return rows.select_related("number", "sender_session", "sender_session__lease")


def _session_of(workspace: Workspace) -> SenderSession:
    found = getattr(workspace, "sender_session", None)
    if isinstance(found, SenderSession):
        return found
    return SenderSession(
        workspace=workspace, tenant_id=workspace.tenant_id, since=workspace.created_at
    )
