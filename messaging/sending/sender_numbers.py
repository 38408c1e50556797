"""The number that sends a message: its workspace, and what the platform said about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models.expressions import RawSQL

from messaging import locks, numbers
from messaging.models import NumberState
from messaging.sending.recipients import ContactCache
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import Recipient, SendRequest, TextContent
from workspaces.identity import digester
from workspaces.models import HOSTED, Workspace

# In these a linked device is on its way back by itself, and what is queued may wait for it.
REACHABLE = frozenset({"CONNECTED", "DISCONNECTED", "WAITING", "STARTING", "FAILED"})
NOT_LISTED = (
    "This workspace has a test number, and the recipient is not on its list; add them in Meta's "
    "app dashboard and in the list of the workspace."
)


@dataclass(frozen=True, slots=True)
class SenderNumber:
    """A workspace, its number (if the platform was asked yet) and the digest of that."""

    tenant_id: UUID
    workspace: Workspace
    number: NumberState | None = None
    own_phone: str | None = None

    @property
    def has_windows(self) -> bool:
        """Whether texts may be sent only within 24 hours of a person's last one: Meta's API."""
        return self.workspace.transport not in HOSTED

    def reasons(self, request: SendRequest) -> list[UnableToSend]:
        """Return why nothing, or not this, can be sent from here."""
        reasons = []
        if not self.workspace.is_active:
            why = "The workspace is not active."
            reasons.append(UnableToSend(SendErrorCode.WORKSPACE_INACTIVE, "workspace_id", why))
        if self.workspace.transport in HOSTED:
            reasons.extend(self._hosted(request))
        elif self.workspace.transport not in settings.SIGMA_CHANNELS:
            reasons.append(
                _unsupported(f"There is no connector for the transport {self.workspace.transport}.")
            )
        return reasons

    def _hosted(self, request: SendRequest) -> Iterator[UnableToSend]:
        """Yield why a linked device cannot send this, or nothing now."""
        transport, state = self.workspace.transport, self.number
        if not isinstance(request.content, TextContent):
            yield _unsupported(f"Over {transport} only texts can be sent.")
        if request.broadcast_id is not None:
            yield _unsupported(f"Over {transport} there are no broadcasts.")
        if request.reply_to is not None:
            yield _unsupported(f"Over {transport} messages cannot be quoted.")
        if request.recipient.user_id is not None:
            yield _unsupported(f"Over {transport} the recipient is a phone number.")
        if state is None or state.status not in REACHABLE:
            why = state.problem if state and state.problem else "It was never paired."
            yield UnableToSend(
                SendErrorCode.NOT_CONNECTED,
                "workspace_id",
                f"The linked device is not connected. {why}",
            )

    def reasons_against(self, recipient: Recipient, cache: ContactCache) -> list[UnableToSend]:
        """Return why this number may not write to a recipient (looked up)."""
        phones = cache.phones_of(recipient)
        if self.own_phone in phones:
            why = "This is the workspace's own number."
            return [UnableToSend(SendErrorCode.RECIPIENT_IS_SENDER, "recipient_phone", why)]
        allowed = self.number.test_recipients if self.number else ()
        if allowed and phones and not phones.intersection(allowed):
            return [UnableToSend(SendErrorCode.TEST_RECIPIENT, "recipient_phone", NOT_LISTED)]
        return []


def find(*, tenant_id: UUID, workspace_id: UUID) -> SenderNumber:
    """Return a workspace of a tenant as a sender; no contacts of the tenant are merged until the
    caller's transaction ends.

    Raises:
        UnableToSend: there is no such workspace.
    """
    rows = Workspace.objects.filter(tenant_id=tenant_id, pk=workspace_id)
    held = rows.annotate(held=RawSQL(locks.SENDING, ()))  # noqa: S611 - a constant of ours
    workspace = held.select_related("number").first()
    if workspace is None:
        raise UnableToSend(
            SendErrorCode.WORKSPACE_NOT_FOUND,
            "workspace_id",
            "Your tenant has no workspace with this id.",
        )
    number: NumberState | None = getattr(workspace, "number", None)
    return SenderNumber(tenant_id, workspace, number, _own_phone(number))


def _own_phone(number: NumberState | None) -> str | None:
    digits = numbers.number_of(number)
    return None if digits is None or number is None else digester(number.tenant_id).phone(digits)


def _unsupported(message: str) -> UnableToSend:
    return UnableToSend(SendErrorCode.UNSUPPORTED_TRANSPORT, "workspace_id", message)
