"""What processing hands down to be stored: an event, and whose it is."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

import msgspec

from messaging.events import (
    AddressBookName,
    IdentityChange,
    MarketingPreference,
    MessageEvent,
    Person,
    StatusUpdate,
)
from messaging.identities import Someone, identify
from workspaces.identity import Digester


class Incoming(msgspec.Struct, frozen=True):
    """One event for one workspace, and the Raw callback it came with.

    ``received_at`` and ``position`` (of the update among those of its callback, from 0) are the
    order of arrival; ``delivery_id`` tells callbacks apart that arrived at one moment.
    """

    tenant_id: UUID
    workspace_id: UUID
    delivery_id: int
    received_at: datetime
    event: MessageEvent | StatusUpdate | IdentityChange | MarketingPreference | AddressBookName
    position: int = 0

    @property
    def delivery_day(self) -> date:
        """The day whose key seals the callback."""
        return self.received_at.date()

    def identify(self, digest: Digester, person: Person) -> Someone:
        """Digest the identities of somebody of whom the event tells."""
        return identify(
            digest, self.tenant_id, person, workspace_id=self.workspace_id,
            at=self.event.timestamp, day=self.delivery_day,
        )  # fmt: skip
