"""What a linked device's page in the admin shows of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.utils import timezone
from django.utils.timesince import timesince

from connectors.linked_device import health, overview, sessions, statistics, stores
from connectors.models import SenderSession, SessionState

COLOURS = {
    SessionState.CONNECTED: "success",
    SessionState.WAITING: "info",
    SessionState.STARTING: "info",
    SessionState.PAIRING: "info",
    SessionState.DISCONNECTED: "warning",
    SessionState.RATE_LIMITED: "warning",
    SessionState.FAILED: "danger",
    **dict.fromkeys(overview.NEEDS_SOMEBODY, "danger"),
}
Fact = Callable[[SenderSession], Any]


def _fact(title: str) -> Callable[[Fact], Fact]:
    return admin.display(description=title)


@_fact("number")
def number(obj: SenderSession) -> str:
    """Return the account's number, masked."""
    return overview.phone(obj) or "–"


@_fact("store on this machine")
def store(obj: SenderSession) -> str:
    """Return for how long the store did not change, where this machine has it."""
    try:
        written = stores.age(obj, timezone.now()).written
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if written is None:
        return "none here"
    return f"written {timesince(timezone.now() - written)} ago"


@_fact("held by")
def holder(obj: SenderSession) -> str:
    """Return whose process has the connection."""
    lease = getattr(obj, "lease", None)
    if lease is None or not sessions.is_held(obj, now=timezone.now()):
        return "nobody"
    return f"{lease.host}, process {lease.pid}, token {lease.fencing_token}"


@_fact("lease")
def lease(obj: SenderSession) -> str:
    """Return when the lease was taken and renewed, and when it ends."""
    row = getattr(obj, "lease", None)
    if row is None or row.renewed_at is None or row.expires_at is None:
        return "–"
    ends = f"ends {row.expires_at:%H:%M:%S}" if row.owner else "released"
    return f"taken {row.acquired_at:%d %b %H:%M:%S}, renewed {row.renewed_at:%H:%M:%S}, {ends} UTC"


@_fact("today")
def today(obj: SenderSession) -> str:
    """Return today's messages (UTC)."""
    (found,) = statistics.of([obj.workspace_id], now=timezone.now(), days=1)
    counts = found.today
    rate = "" if counts.error_rate is None else f" ({counts.error_rate:.0%})"
    return (
        f"{counts.messages:,} to send, {counts.waiting:,} of them waiting, "
        f"{counts.errors:,} errors{rate}; {counts.received:,} received"
    )


FIELDSETS: Any = (
    ("Now", {"fields": ("workspace", "tenant", "wanted", "since", "until")}),
    ("Account", {"fields": (number, "push_name", "device_platform", "library", "paired_at")}),
    (
        "Process",
        {"fields": ("home", holder, lease, "started_at", "stopped_at", "failures")},
    ),
    ("Traffic", {"fields": ("last_event_at", "last_inbound_at", "last_sent_at", today)}),
    ("Store", {"fields": (store, "backed_up_at")}),
)
NAMES = tuple(name for _, options in FIELDSETS for name in options["fields"])


def context_of(session: SenderSession, *, now: datetime) -> dict[str, object]:
    """Return what the top of the page shows."""
    return {
        "label": SessionState(session.state).label,
        "colour": COLOURS.get(SessionState(session.state), ""),
        # Where it stands is said above them.
        "problems": [each for each in _problems(session, now) if each != health.stands(session)],
        "is_paired": session.paired_at is not None,
    }


def _problems(session: SenderSession, now: datetime) -> tuple[str, ...]:
    return health.look(session.workspace, now=now).problems
