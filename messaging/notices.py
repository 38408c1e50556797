"""What tenants' apps are told about messages that arrive: ids and types, nothing of the content."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from workspaces import outbox

RECEIVED = "message.received"


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


def received(tenants: Collection[UUID], arrivals: Callable[[], Iterable[Arrival]]) -> None:
    """Tell of messages of these tenants in the caller's transaction, where one of them listens."""
    outbox.announce(tenants, lambda: map(_event, arrivals()))


def _event(arrival: Arrival) -> outbox.Event:
    return outbox.Event(arrival.tenant_id, RECEIVED, arrival.data, arrival.sent_at)
