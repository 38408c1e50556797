"""Whether a number does what it is there for, in sentences: over any transport.

For people and for cron; ``/health`` of the sender service asks less, and more often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.linked_device import hearing, rhythm, sessions, statistics
from connectors.linked_device.rhythm import Rhythm
from connectors.linked_device.statistics import Counts
from connectors.models import SenderSession, SessionState, Wanted
from messaging import numbers
from messaging.delivery import pauses
from messaging.models import NumberState
from workspaces.models import HOSTED, Workspace

# The share of sends of a day that may go wrong, once there were so many that it means something.
WORST_RATE, FEWEST_SENDS = 0.2, 5
DAY = timedelta(days=1)
# A host looks after its sessions every few seconds; whatever is due for so long has no host.
HOST_PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a number (nothing: it is well), when it last heard something, how long a
    silence is nothing special for it (``None``: not known, or not asked), and its last 24 hours.
    """

    problems: tuple[str, ...]
    heard_at: datetime | None
    patience: timedelta | None
    last_day: Counts

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def look(workspace: Workspace, *, now: datetime, worst_rate: float = WORST_RATE) -> Health:
    """Return how a workspace's number is; ``worst_rate`` (0 to 1) is the share of the sends of the
    last 24 hours that may go wrong.
    """
    counts = statistics.between(workspace.id, now - DAY, now + timedelta(seconds=1))
    heard = hearing.rhythm_of(workspace.id, now=now)
    if workspace.transport in HOSTED:
        connected_since, problems = _linked(workspace, now)
    else:
        connected_since, problems = _cloud(workspace, now)
    if not problems:
        problems += _deafness(heard, connected_since, now)
    return Health((*problems, *_errors(counts, worst_rate)), heard.last_at, heard.patience, counts)


def is_unattended(session: SenderSession, *, now: datetime) -> bool:
    """Tell whether a session that should run has nobody who runs it: its host is down."""
    if session.wanted != Wanted.RUNNING or sessions.is_held(session, now=now):
        return False
    if session.state in sessions.FINAL:
        return False
    lease = getattr(session, "lease", None)
    let_go = lease.expires_at if lease else None
    moments = (session.since, session.until, session.stopped_at, let_go)
    due: datetime = max(filter(None, moments))
    return now - due > HOST_PATIENCE


def _linked(workspace: Workspace, now: datetime) -> tuple[datetime | None, list[str]]:
    rows = SenderSession.objects.select_related("lease")
    session = rows.filter(workspace=workspace).first()
    if session is None:
        return None, ["No phone is linked: pair it."]
    return session.since, list(_of_session(session, now))


def _of_session(session: SenderSession, now: datetime) -> Iterator[str]:
    if is_unattended(session, now=now):
        yield unattended(session)
    elif session.wanted == Wanted.STOPPED and session.paired_at is None:
        yield "No phone is linked: pair it."
    elif session.state != SessionState.CONNECTED:
        yield stands(session)


def unattended(session: SenderSession) -> str:
    """Say that nobody runs a session, and where somebody should."""
    where = f"on {session.home}" if session.home else "anywhere"
    return f"It should run, and no session host ({where}) runs it: is `manage.py sender host` up?"


def stands(session: SenderSession) -> str:
    """Say where a session stands, why, since when and until when."""
    until = f", until {session.until:%Y-%m-%d %H:%M} UTC" if session.until else ""
    since = f"since {session.since:%Y-%m-%d %H:%M} UTC{until}"
    label = SessionState(session.state).label
    reason = "" if session.reason == f"{label}." else session.reason
    return f"{label} ({since}). {reason}".rstrip()


def _cloud(workspace: Workspace, now: datetime) -> tuple[datetime | None, list[str]]:
    state = NumberState.objects.filter(workspace=workspace).first()
    problems = []
    if not numbers.is_sendable(state) and state is not None:
        problems.append(f"The number may not send: {state.problem or state.status}.")
    for pause in pauses.open_pauses(
        tenant_id=workspace.tenant_id, workspace_id=workspace.id, now=now
    ):
        problems.append(f"Sending is paused ({pause.code}): {pause.reason}")
    return workspace.created_at, problems


def _deafness(heard: Rhythm, connected_since: datetime | None, now: datetime) -> list[str]:
    silent_since = max(filter(None, (heard.last_at, connected_since)), default=None)
    if silent_since is None or not rhythm.is_deaf(heard, silent_since=silent_since, now=now):
        return []
    return [
        f"Connected, and nothing heard since {silent_since:%Y-%m-%d %H:%M} UTC; its longest "
        f"silence in two weeks was {_hours(heard.longest)}. Write to the number from another "
        "phone; if nothing comes, restart it."
    ]


def _errors(counts: Counts, worst_rate: float) -> list[str]:
    rate = counts.error_rate
    if rate is None or counts.messages - counts.waiting < FEWEST_SENDS or rate <= worst_rate:
        return []
    ended = counts.messages - counts.waiting
    return [f"{counts.errors:,} of {ended:,} messages of the last 24 hours failed ({rate:.0%})."]


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"
