"""What an operator may ask of a session. Every verb may be repeated.

Nothing here talks to WhatsApp: the desired state is written, and the supervisor of the machine that
has the session's store acts on it (:mod:`connectors.linked_device.supervisor`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db import transaction

from connectors.linked_device import status
from connectors.linked_device.models import (
    FINAL,
    KEPT,
    TIMED,
    PairBy,
    SenderSession,
    SessionState,
    Wanted,
)
from connectors.linked_device.status import SessionStatus
from lib.envelope import CannotOpen, associated_data
from lib.numbering import NotInternational, international
from workspaces import keys
from workspaces.models import HOSTED, Workspace

PAIRING_PLACE, NUMBER_PLACE = "sender_sessions.sealed_pairing", "sender_sessions.sealed_pair_number"
NOTHING_SHOWN = {"sealed_pairing": None, "pairing_expires_at": None}
# What everybody who links a device must have read before, in the same words everywhere.
TERMS = (
    "Automating a linked device is outside WhatsApp's terms of service and may get the number "
    "banned, for a time or for good. Use a number you can do without, write to people who wrote "
    "first, and never in bulk."
)


class SessionErrorCode(StrEnum):
    """Why a request was refused."""

    NOT_FOUND = "NOT_FOUND"
    NOT_A_LINKED_DEVICE = "NOT_A_LINKED_DEVICE"
    NOT_PAIRED = "NOT_PAIRED"
    ALREADY_PAIRED = "ALREADY_PAIRED"
    INVALID_PHONE = "INVALID_PHONE"
    RUNNING = "RUNNING"
    NO_STORE = "NO_STORE"
    BAD_STORE = "BAD_STORE"
    BAD_BACKUP = "BAD_BACKUP"


class UnableTo(Exception):
    """A request was refused; the message says what to do instead."""

    def __init__(self, code: SessionErrorCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Pairing:
    """What a phone needs to link the account now: the text of a QR code, or a code to type."""

    by: PairBy
    code: str = field(repr=False)
    expires_at: datetime


def of_workspace(*, tenant_id: UUID, workspace_id: UUID) -> SenderSession:
    """Return the session of a linked device, made when it is first asked for.

    Raises:
        UnableTo: no such workspace of this tenant, or one of another transport.
    """
    workspace = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id).first()
    if workspace is None:
        raise UnableTo(SessionErrorCode.NOT_FOUND, "There is no such workspace.")
    if workspace.transport not in HOSTED:
        raise UnableTo(
            SessionErrorCode.NOT_A_LINKED_DEVICE,
            f"The workspace {workspace.name} goes through {workspace.transport}; only linked "
            "devices have sessions.",
        )
    session, _ = SenderSession.objects.get_or_create(
        workspace=workspace, defaults={"tenant_id": tenant_id}
    )
    return session


def find(session_id: UUID, *, lock: bool = False) -> SenderSession:
    """Return a session as it is now.

    Raises:
        UnableTo: it was removed.
    """
    rows = SenderSession.objects.filter(pk=session_id)
    found = (rows.select_for_update() if lock else rows).first()
    if found is None:
        raise UnableTo(SessionErrorCode.NOT_FOUND, "There is no such session.")
    return found


@transaction.atomic
def start(session_id: UUID, *, now: datetime) -> SenderSession:
    """Let a paired session run; one that waits for a time that WhatsApp named goes on waiting.

    Raises:
        UnableTo: no phone is linked.
    """
    session = find(session_id, lock=True)
    if session.paired_at is None:
        raise UnableTo(
            SessionErrorCode.NOT_PAIRED, "No phone is linked with this account: pair it first."
        )
    is_new = session.wanted == Wanted.STOPPED or session.state in FINAL
    _update(session_id, wanted=Wanted.RUNNING)
    if is_new and session.state not in TIMED:
        if session.is_held(now):  # it was asked to stop, and may not have seen that yet
            _update(session_id, restart_asked_at=now)
        _write_status(session_id, SessionState.WAITING, "Asked to start.", now)
    return find(session_id)


@transaction.atomic
def stop(session_id: UUID, *, now: datetime) -> SenderSession:
    """Let a session end, after the send that is under way; a pairing is given up."""
    session = find(session_id, lock=True)
    _update(session_id, wanted=Wanted.STOPPED, pair_by="", sealed_pair_number=None, **NOTHING_SHOWN)
    keeps = session.state in KEPT
    if not session.is_held(now) and not keeps and session.state != SessionState.STOPPED:
        _write_status(session_id, SessionState.STOPPED, "Stopped.", now)
    return find(session_id)


@transaction.atomic
def restart(session_id: UUID, *, now: datetime) -> SenderSession:
    """Let a session end after the send that is under way, and start again after the gap.

    Raises:
        UnableTo: no phone is linked.
    """
    start(session_id, now=now)
    _update(session_id, restart_asked_at=now)
    return find(session_id)


@transaction.atomic
def pair(
    session_id: UUID, *, by: PairBy, number: str | None = None, now: datetime
) -> SenderSession:
    """Ask for a QR code, or for a pairing code for the phone with ``number`` (international form).

    Asked again while a pairing is under way, nothing changes.

    Raises:
        UnableTo: a phone is linked already, or the number is not international.
    """
    session = find(session_id, lock=True)
    if session.paired_at is not None:
        raise UnableTo(
            SessionErrorCode.ALREADY_PAIRED,
            "A phone is linked with this account already. To link another one, stop the session "
            "and clear it first.",
        )
    digits = _digits(by, number)
    is_same = session.pair_by == by and number_to_pair(session) == digits
    is_over = session.state in FINAL
    if is_same and session.wanted == Wanted.RUNNING and not is_over:
        return session
    # A code that was shown before links a phone in another way, or no longer.
    sealed = None if digits is None else _sealed(session, NUMBER_PLACE, digits)
    _update(
        session_id, wanted=Wanted.RUNNING, pair_by=by, sealed_pair_number=sealed, **NOTHING_SHOWN
    )
    is_running = session.is_held(now)
    if is_running:
        _update(session_id, restart_asked_at=now)
    # One whose process is still closing is over too: it is not started before an operator decided.
    if is_over or not (is_running or session.state in TIMED):
        _write_status(session_id, SessionState.WAITING, "Asked to pair.", now)
    return find(session_id)


def pairing_of(session: SenderSession, *, now: datetime) -> Pairing | None:
    """Return what a phone needs to link the account, while it is good."""
    ends = session.pairing_expires_at
    if session.sealed_pairing is None or ends is None or ends <= now or not session.pair_by:
        return None
    try:
        code = _opened(session, PAIRING_PLACE, session.sealed_pairing)
    except (CannotOpen, keys.TenantHasNoKeys):
        return None
    return Pairing(PairBy(session.pair_by), code, ends)


def number_to_pair(session: SenderSession) -> str | None:
    """Return the digits of the number that a pairing code is wanted for."""
    sealed = session.sealed_pair_number
    return None if sealed is None else _opened(session, NUMBER_PLACE, sealed)


def seal_pairing(session: SenderSession, code: str) -> bytes:
    """Return a QR text or pairing code as it is stored."""
    return _sealed(session, PAIRING_PLACE, code)


def _digits(by: PairBy, number: str | None) -> str | None:
    if by == PairBy.QR:
        return None
    try:
        return international(number or "")
    except NotInternational as error:
        raise UnableTo(SessionErrorCode.INVALID_PHONE, str(error)) from None


def _sealed(session: SenderSession, place: str, text: str) -> bytes:
    bound = associated_data(session.tenant_id, place, session.id)
    return keys.field_cipher(session.tenant_id).seal(text.encode(), bound)


def _opened(session: SenderSession, place: str, sealed: bytes | memoryview) -> str:
    bound = associated_data(session.tenant_id, place, session.id)
    return keys.field_cipher(session.tenant_id).open(bytes(sealed), bound).decode()


def _update(session_id: UUID, **values: object) -> None:
    SenderSession.objects.filter(pk=session_id).update(**values)


def _write_status(session_id: UUID, state: SessionState, reason: str, now: datetime) -> None:
    status.write(session_id, SessionStatus(state, reason), now=now)
