"""The account that a workspace sends from: whether it can send now, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection

from connectors.linked_device import health, sessions
from connectors.models import SenderSession, SessionState
from connectors.sender.callers import Caller
from connectors.sender.refusals import Refused
from lib.masking import mask
from messaging import numbers
from messaging.delivery import pauses
from messaging.models import NumberState
from workspaces.models import HOSTED, Workspace
from workspaces.scope import tenant_scope
from workspaces.scopes import Scope

# What the Cloud API is, where a linked device says what phone it belongs to.
CLOUD_API = "Cloud API"
NEVER_PAIRED = "No phone is linked with this account: pair it first."
NOBODY = "The process that held the connection is gone; its host starts another."


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its caller may see it; ``reason`` says why nothing can be sent (empty: it can).

    ``session`` is there for linked devices that were ever asked for.
    """

    workspace: Workspace
    phone: str | None
    reason: str
    session: SenderSession | None = None

    @property
    def is_linked_device(self) -> bool:
        """Whether it is one of WhatsApp's linked devices."""
        return self.workspace.transport in HOSTED

    def health(self) -> dict[str, object]:
        """Return the answer of ``/health``."""
        if self.reason:
            return {**unhealthy(self.reason), "phone": self.phone}
        return {"status": "healthy", "connected": True, "phone": self.phone}

    def status(self) -> dict[str, object]:
        """Return the answer of ``/status``; WhatsApp no longer tells a battery's level."""
        if not self.is_linked_device:
            common = self._common(not self.reason, CLOUD_API)
            return {**common, "reason": self.reason} if self.reason else common
        session = self.session or SenderSession()
        since = session.since if self.session else None
        return {
            **self._common(session.paired_at is not None, session.device_platform or None),
            "state": session.state,
            "reason": self.reason or None,
            "since": since and since.isoformat(),
            "until": session.until and session.until.isoformat(),
            "library": session.library or None,
        }

    def _common(self, logged_in: bool, platform: str | None) -> dict[str, object]:
        return {
            "logged_in": logged_in, "phone_number": self.phone, "battery": None,
            "platform": platform,
        }  # fmt: skip


def unhealthy(reason: str) -> dict[str, object]:
    """Return the answer of ``/health`` when something is wrong."""
    return {"status": "unhealthy", "connected": False, "phone": None, "reason": reason}


def database_answers() -> None:
    """Ask the database for nothing; blocks.

    Raises:
        django.db.DatabaseError: it is away.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def look(caller: Caller, *, now: datetime) -> Account:
    """Return the account of the caller's workspace; blocks.

    Raises:
        Refused: the workspace is gone.
    """
    with tenant_scope(caller.tenant_id, timeout_ms=settings.SIGMA_GRAPHQL_TIMEOUT_MS):
        rows = Workspace.objects.filter(tenant_id=caller.tenant_id, pk=caller.workspace_id)
        workspace = rows.select_related("number").first()
        if workspace is None:
            raise Refused(404, "WORKSPACE_NOT_FOUND", "The workspace is not there any more.")
        state: NumberState | None = getattr(workspace, "number", None)
        phone = numbers.shown(state, in_clear=Scope.NUMBERS_READ in caller.scopes) or None
        if workspace.transport not in HOSTED:
            return Account(workspace, phone, mask(_cloud_reason(workspace, state, now)))
        session = (
            SenderSession.objects.filter(workspace=workspace).select_related("lease").first()
        )  # fmt: skip
        reason = _device_reason(workspace, session, now)
        return Account(workspace, phone, mask(reason), session)


def _cloud_reason(workspace: Workspace, state: NumberState | None, now: datetime) -> str:
    """Return why a number of the Cloud API sends nothing now."""
    if not workspace.is_active:
        return "The workspace is not active."
    paused = pauses.open_pauses(
        tenant_id=workspace.tenant_id, workspace_id=workspace.id, now=now
    ).first()  # fmt: skip
    if paused is not None:
        return f"Sending is paused: {paused.reason}"
    if state is None:
        return ""
    if state.sync_error:
        return f"The number could not be asked about: {state.sync_error}"
    if not numbers.is_sendable(state):
        return state.problem or f"The number is {state.status or state.can_send}."
    return ""


def _device_reason(workspace: Workspace, session: SenderSession | None, now: datetime) -> str:
    """Return why a linked device sends nothing now."""
    if not workspace.is_active:
        return "The workspace is not active."
    if session is None:
        return NEVER_PAIRED
    if health.is_unattended(session, now=now):
        return health.unattended(session)
    if session.state != SessionState.CONNECTED:
        return health.stands(session)
    return "" if sessions.is_held(session, now=now) else NOBODY
