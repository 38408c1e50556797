"""The customer care window: 24 hours from a person's last message to one number.

Rule: Meta, "Send messages": Customer service windows.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from lib.sql import select

LENGTH = timedelta(hours=24)

HEARD = """
SELECT contact_id, last_inbound_at FROM conversations
WHERE tenant_id = %s AND workspace_id = %s AND contact_id = ANY(%s) AND last_inbound_at IS NOT NULL
"""


class _Heard(NamedTuple):
    contact_id: UUID
    last_inbound_at: datetime


def still_open(end: datetime | None, *, now: datetime) -> datetime | None:
    """Return when a window closes; ``None``: it never opened, or is closed at ``now``."""
    return end if end is not None and end > now else None


def ends(
    *, tenant_id: UUID, workspace_id: UUID, contact_ids: Collection[UUID]
) -> dict[UUID, datetime]:
    """Return when the window of each person who ever wrote closes or closed."""
    parameters = [tenant_id, workspace_id, list(contact_ids)]
    heard = select(_Heard, HEARD, parameters) if contact_ids else []
    return {row.contact_id: row.last_inbound_at + LENGTH for row in heard}
