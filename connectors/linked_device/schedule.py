"""When a session may be started on a host, and why not now. Pure.

One rule per line: the log names the rule that held a session back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from connectors.linked_device import leases
from connectors.linked_device.models import SessionState, Wanted
from connectors.linked_device.sessions import FINAL, TIMED

# Only these are over at a time that is written beside them.
UNTIL = TIMED | {SessionState.FAILED}
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What the database says about a session.

    ``home`` is the machine with its store, empty: there is none yet. ``holder`` and ``holder_pid``
    are of the process that did not give its lease back, ``is_served``: its tenant and its
    workspace are in use.
    """

    session_id: UUID
    tenant_id: UUID
    home: str = ""
    wanted: str = Wanted.STOPPED
    state: str = SessionState.STOPPED
    until: datetime | None = None
    stopped_at: datetime | None = None
    is_paired: bool = False
    pair_by: str = ""
    is_served: bool = True
    holder: str = ""
    holder_pid: int = 0
    renewed_at: datetime | None = None
    expires_at: datetime | None = None

    def is_held_by(self, host: str, pid: int) -> bool:
        """Return whether a process is the one that has the lease, or had it last."""
        return self.expires_at is not None and (self.holder, self.holder_pid) == (host, pid)

    def is_held(self, now: datetime) -> bool:
        """Return whether any process has the session now."""
        return self.expires_at is not None and self.expires_at > now


@dataclass(frozen=True, slots=True)
class Start:
    """Start it now; without a home it becomes the host's."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Start it later, unless something changes before."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Leave:
    """It is not to be started, unless something changes."""

    why: str


Plan = Start | Wait | Leave


def plan(facts: SessionFacts, *, host: str, now: datetime) -> Plan:
    """Return what ``host`` is to do about a session that it does not run."""
    if (why := _why_not(facts, host)) is not None:
        return Leave(why)
    waits = [wait for wait in _waits(facts) if wait.until > now]
    return max(waits, key=lambda wait: wait.until) if waits else Start()


def why_not_here(facts: SessionFacts, *, host: str) -> str | None:
    """Return why a session must not run on ``host``, other than that its operator says so."""
    if not facts.is_served:
        return "its workspace is not in use"
    return None if facts.home in ("", host) else f"its store is on {facts.home}"


def pause(failures: int, *, jitter: float) -> timedelta:
    """Return how long to wait after so many failures in a row: 5 s, doubled up to 5 minutes.

    ``jitter`` (0 to 1) takes up to a fifth away, so that sessions do not come back together.
    """
    longest = min(FIRST_PAUSE * (1 << min(max(failures - 1, 0), 10)), LONGEST_PAUSE)
    return longest * (1 - 0.2 * jitter)


def _why_not(facts: SessionFacts, host: str) -> str | None:
    if facts.wanted != Wanted.RUNNING:
        return "nobody wants it to run"
    if facts.state in FINAL:
        return f"{facts.state}: an operator has to decide"
    if not facts.is_paired and not facts.pair_by:
        return "no phone is linked, and none is asked to"
    return why_not_here(facts, host=host)


def _waits(facts: SessionFacts) -> list[Wait]:
    waits = []
    if facts.until is not None and facts.state in UNTIL:
        waits.append(Wait(facts.until, f"{facts.state}: it has to wait"))
    if facts.stopped_at is not None:
        waits.append(Wait(facts.stopped_at + leases.GAP, "it stopped a moment ago"))
    if facts.expires_at is not None:
        until = facts.expires_at + leases.GRACE
        waits.append(Wait(until, f"{facts.holder} did not give it back"))
    return waits
