"""All that is shown of one linked device, gathered once for the table and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.linked_device import health, overview, sessions, stores
from connectors.linked_device.commands import choosing
from connectors.linked_device.health import Health
from connectors.models import SenderSession, SessionLease

SHOWN = (
    "state", "reason", "since", "until", "wanted", "home", "library", "device_platform",
    "failures", "paired_at", "started_at", "stopped_at", "last_event_at", "last_inbound_at",
    "last_sent_at", "backed_up_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """A session with its workspace's name, account (masked), holder, health and store; the store's
    size (bytes) is known on the machine that has it.
    """

    session: SenderSession
    name: str
    phone: str
    holder: SessionLease | None
    health: Health
    remedy: str
    store_size: int | None

    def plain(self) -> dict[str, Any]:
        """Return the facts for machines."""
        holder = self.holder
        process = None
        if holder is not None:
            names = ("host", "pid", "acquired_at", "renewed_at", "expires_at", "fencing_token")
            process = {name: getattr(holder, name) for name in names}
        return {
            "name": self.name,
            "workspace_id": self.session.workspace_id,
            "session_id": self.session.id,
            "phone": self.phone or None,
            **{name: getattr(self.session, name) for name in SHOWN},
            "process": process,
            "healthy": self.health.ok,
            "problems": list(self.health.problems),
            "remedy": self.remedy,
            "heard_at": self.health.heard_at,
            "store_bytes": self.store_size,
        }


def gather(session: SenderSession, *, now: datetime) -> Facts:
    """Return what is known of a session, here and in the database."""
    return Facts(
        session=session,
        name=choosing.label(session.workspace),
        phone=overview.phone(session),
        holder=session.lease if sessions.is_held(session, now=now) else None,
        health=health.look(session.workspace, now=now),
        remedy=overview.remedy(session, now=now),
        store_size=_store_size(session),
    )


def _store_size(session: SenderSession) -> int | None:
    """Return how large the store is; ``None`` where this machine has none, or must not look."""
    try:
        return stores.size(session) or None
    except OSError:
        return None
