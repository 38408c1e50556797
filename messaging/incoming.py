"""What processing hands down to be stored: an event, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from messaging.events import IdentityChange, MarketingPreference, MessageEvent, StatusUpdate


@dataclass(frozen=True, slots=True)
class Incoming:
    """One event for one workspace; ``delivery_id`` and ``delivery_day`` lead back to its Raw
    callback.
    """

    tenant_id: UUID
    workspace_id: UUID
    delivery_id: int
    delivery_day: date
    event: MessageEvent | StatusUpdate | IdentityChange | MarketingPreference
