"""The account that a workspace sends from: whether it can send now, and if not, why."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from connectors.linked_device import health
from connectors.linked_device.models import SenderSession, SessionState
from connectors.sender.callers import ApiCaller
from connectors.sender.errors import ServiceError
from lib.masking import mask
from messaging import numbers
from messaging.delivery import pauses
from messaging.models import NumberState
from workspaces.access import Scope
from workspaces.acting import as_tenant
from workspaces.models import HOSTED, Workspace

NOT_ACTIVE = "The workspace is not active."
NEVER_PAIRED = "No phone is linked with this account: pair it first."
NO_PROCESS = "The process that held the connection is gone; its host starts another."


class SendingAccount(NamedTuple):
    """An account as its caller may see it; ``reason`` says why nothing can be sent (empty: it can),
    ``details`` are what ``/status`` says beside the number.
    """

    phone: str | None
    reason: str
    details: dict[str, object]

    def health(self) -> dict[str, object]:
        """Return the answer of ``/health``."""
        if self.reason:
            return {**unhealthy(self.reason), "phone": self.phone}
        return {"status": "healthy", "connected": True, "phone": self.phone}

    def status(self) -> dict[str, object]:
        """Return the answer of ``/status``; WhatsApp no longer tells a battery's level."""
        known = {"logged_in": True, "phone_number": self.phone, "battery": None}
        return {**known, **self.details}


def unhealthy(reason: str) -> dict[str, object]:
    """Return the answer of ``/health`` when something is wrong."""
    return {"status": "unhealthy", "connected": False, "phone": None, "reason": reason}


def ask_database() -> None:
    """Ask the database for nothing; blocks.

    Raises:
        django.db.DatabaseError: it is away.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def look(caller: ApiCaller, *, now: datetime) -> SendingAccount:
    """Return the account of the caller's workspace; blocks.

    Raises:
        ServiceError: the workspace is gone.
    """
    with as_tenant(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
        rows = Workspace.objects.filter(tenant_id=caller.tenant_id, pk=caller.workspace_id)
        workspace = rows.select_related("number").first()
        if workspace is None:
            raise ServiceError(404, "WORKSPACE_NOT_FOUND", "The workspace is not there any more.")
        state: NumberState | None = getattr(workspace, "number", None)
        phone = numbers.shown(state, in_clear=Scope.NUMBERS_READ in caller.scopes) or None
        if workspace.transport not in HOSTED:
            reason = mask(_number_reason(workspace, state, now))
            details = {"logged_in": not reason, "platform": "Cloud API"}
            return SendingAccount(phone, reason, details | ({"reason": reason} if reason else {}))
        sessions_of_it = SenderSession.objects.filter(workspace=workspace)
        session = sessions_of_it.select_related("lease").first()
        reason = mask(_session_reason(workspace, session, now))
        return SendingAccount(phone, reason, _session_details(session, reason))


def _number_reason(workspace: Workspace, state: NumberState | None, now: datetime) -> str:
    """Return why a number of the Cloud API sends nothing now."""
    if not workspace.is_active:
        return NOT_ACTIVE
    tenant_id, workspace_id = workspace.tenant_id, workspace.id
    paused = pauses.open_pauses(tenant_id=tenant_id, workspace_id=workspace_id, now=now).first()
    if paused is not None:
        return f"Sending is paused: {paused.reason}"
    if state is None:
        return ""
    if state.sync_error:
        return f"The number could not be asked about: {state.sync_error}"
    if not numbers.is_sendable(state):
        return state.problem or f"The number is {state.status or state.can_send}."
    return ""


def _session_reason(workspace: Workspace, session: SenderSession | None, now: datetime) -> str:
    """Return why a linked device sends nothing now."""
    if not workspace.is_active:
        return NOT_ACTIVE
    if session is None:
        return NEVER_PAIRED
    if health.is_unattended(session, now=now):
        return health.unattended(session)
    if session.state != SessionState.CONNECTED:
        return health.describe_status(session)
    return "" if session.is_held(now) else NO_PROCESS


def _session_details(found: SenderSession | None, reason: str) -> dict[str, object]:
    session = found or SenderSession()
    return {
        "logged_in": session.paired_at is not None,
        "platform": session.device_platform or None,
        "state": session.state,
        "reason": reason or None,
        "since": found and found.since.isoformat(),
        "until": session.until and session.until.isoformat(),
        "library": session.library or None,
    }
