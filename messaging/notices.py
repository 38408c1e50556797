"""What tenants' apps are told about messages: ids, types and states, nothing of the content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from workspaces import outbox

RECEIVED = "message.received"
STATUS = "message.status"


class Arrival(NamedTuple):
    """A customer's message that was stored just now."""

    tenant_id: UUID
    workspace_id: UUID
    message_id: UUID
    contact_id: UUID | None
    type: str
    sent_at: datetime

    @property
    def data(self) -> dict[str, object]:
        """What is told."""
        return {
            "message_id": str(self.message_id),
            "workspace_id": str(self.workspace_id),
            "contact_id": self.contact_id and str(self.contact_id),
            "type": self.type,
        }


class Change(NamedTuple):
    """A message of the business that went into a new state (:mod:`messaging.states`);
    ``error_codes`` are the platform's, or ours in letters.
    """

    message_id: UUID
    tenant_id: UUID
    workspace_id: UUID
    status: str
    error_codes: Sequence[object] = ()

    @property
    def data(self) -> dict[str, object]:
        """What is told."""
        return {
            "message_id": str(self.message_id),
            "workspace_id": str(self.workspace_id),
            "status": self.status,
            "error_codes": list(self.error_codes),
        }


def received(tenants: Collection[UUID], arrivals: Callable[[], Iterable[Arrival]]) -> None:
    """Tell of messages of these tenants in the caller's transaction, where one of them listens."""
    outbox.announce(tenants, lambda: map(_arrived, arrivals()))


def changed(changes: Collection[Change], *, now: datetime) -> None:
    """Tell of new states in the caller's transaction, which makes the changes; at most one query
    where nobody listens.
    """
    tenants = {change.tenant_id for change in changes}
    outbox.announce(tenants, lambda: [_moved(change, now) for change in changes])


def _arrived(arrival: Arrival) -> outbox.Event:
    return outbox.Event(arrival.tenant_id, RECEIVED, arrival.data, arrival.sent_at)


def _moved(change: Change, now: datetime) -> outbox.Event:
    return outbox.Event(change.tenant_id, STATUS, change.data, now)
