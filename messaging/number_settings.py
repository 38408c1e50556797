"""What a tenant sees of a number and decides about it: ask again, go on, whom a test may reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lib.numbering import NotInternational, international
from messaging import number_sync, numbers
from messaging.delivery import pauses
from messaging.models import NumberState, SendingPause
from workspaces import token_checks
from workspaces.identity import digester
from workspaces.models import TokenCheck, Workspace

# Meta, "Test numbers": five recipients, each of whom had to confirm.
MOST_TEST_RECIPIENTS = 5


class NumberErrorCode(StrEnum):
    """Why nothing was done about a number."""

    WORKSPACE_NOT_FOUND = "WORKSPACE_NOT_FOUND"
    INVALID_PHONE = "INVALID_PHONE"
    TOO_MANY = "TOO_MANY"


class UnableToManageNumber(Exception):
    """Nothing was done; ``code`` is the reason, ``field`` the input at fault."""

    def __init__(self, code: NumberErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


@dataclass(frozen=True, slots=True)
class NumberSettings:
    """A number with all that decides whether it can send; ``token`` is the newest one checked."""

    state: NumberState
    pauses: tuple[SendingPause, ...]
    token: TokenCheck | None

    @property
    def may_send(self) -> bool:
        """Whether neither the platform nor a pause holds it back."""
        return numbers.is_sendable(self.state) and not self.pauses


def find(*, tenant_id: UUID, workspace_id: UUID, now: datetime) -> NumberSettings | None:
    """Return a tenant's number, or ``None`` if there is no such workspace."""
    rows = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id)
    workspace = rows.select_related("number").first()
    if workspace is None:
        return None
    state: NumberState | None = getattr(workspace, "number", None)
    found = pauses.open_pauses(tenant_id=tenant_id, workspace_id=workspace_id, now=now)
    unknown = NumberState(workspace_id=workspace_id, tenant_id=tenant_id)
    return NumberSettings(state or unknown, tuple(found), token_checks.latest(tenant_id))


def ask_again(*, tenant_id: UUID, workspace_id: UUID, now: datetime) -> NumberSettings:
    """Let the platform be asked about a number as soon as the caller's transaction is committed.

    Raises:
        UnableToManageNumber: there is no such workspace.
    """
    number = _find(tenant_id, workspace_id, now)
    number_sync.want([workspace_id])
    return number


def resume(*, tenant_id: UUID, workspace_id: UUID, by: str, now: datetime) -> NumberSettings:
    """End what holds a number's messages back, the tenant's own pauses included.

    Raises:
        UnableToManageNumber: there is no such workspace.
    """
    _find(tenant_id, workspace_id, now)
    pauses.lift(tenant_id=tenant_id, workspace_id=workspace_id, by=by, now=now)
    return _find(tenant_id, workspace_id, now)


def set_test_recipients(
    *, tenant_id: UUID, workspace_id: UUID, phones: Sequence[str], now: datetime
) -> NumberSettings:
    """Say whom a test number may write to (E.164), as its list at Meta's says; only digests are
    kept. An empty list takes the restriction away.

    Raises:
        UnableToManageNumber: no such workspace, more than five, or not phone numbers.
    """
    number = _find(tenant_id, workspace_id, now)
    if len(phones) > MOST_TEST_RECIPIENTS:
        message = f"A test number has at most {MOST_TEST_RECIPIENTS} recipients, not {len(phones)}."
        raise UnableToManageNumber(NumberErrorCode.TOO_MANY, "phones", message)
    state = number.state
    state.test_recipients = sorted(set(_digests(tenant_id, phones)))
    NumberState.objects.bulk_create(
        [state],
        update_conflicts=True,
        unique_fields=["tenant_id", "workspace"],
        update_fields=["test_recipients"],
    )
    return number


def _find(tenant_id: UUID, workspace_id: UUID, now: datetime) -> NumberSettings:
    number = find(tenant_id=tenant_id, workspace_id=workspace_id, now=now)
    if number is None:
        raise UnableToManageNumber(
            NumberErrorCode.WORKSPACE_NOT_FOUND,
            "workspaceId",
            "Your tenant has no workspace with this id.",
        )
    return number


def _digests(tenant_id: UUID, phones: Sequence[str]) -> list[str]:
    digest = digester(tenant_id).phone
    found = []
    for position, phone in enumerate(phones):
        try:
            found.append(digest(international(phone)))
        except NotInternational as error:
            message = f"Number {position + 1} of the list: {error}"
            raise UnableToManageNumber(NumberErrorCode.INVALID_PHONE, "phones", message) from None
    return found
