"""Whether a number works, in sentences, over any transport, for people and for cron; and what is
shown of linked devices, the same for the API and for the admin.

``/health`` of the sender service asks less, and more often. A workspace that no one asked anything
of yet has a session as well, which was never started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Self
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from connectors.linked_device import statistics
from connectors.linked_device.models import (
    FINAL,
    NEEDS_OPERATOR,
    SenderSession,
    SessionState,
    Wanted,
)
from connectors.linked_device.statistics import MessageCounts
from lib import bulk
from messaging import numbers
from messaging.delivery import pauses
from messaging.models import NumberState
from workspaces.models import HOSTED, Workspace

# The share of the sends of a day that may fail, where there were at least so many.
WORST_RATE, FEWEST_SENDS = 0.2, 5
DAY = timedelta(days=1)
# A supervisor looks at its sessions every second; what is due for so long has none.
HOST_PATIENCE = timedelta(seconds=60)
# How far back the baseline looks: two week-ends. Fewer events than this make no baseline.
BASELINE_WINDOW, FEWEST_EVENTS = timedelta(days=14), 20
# No silence is reported sooner; one that is so much longer than any before is.
SHORTEST_SILENCE, SILENCE_FACTOR = timedelta(hours=1), 1.5
# What people wrote, what the owner wrote on another device, and receipts; keep-alives and
# reconnections do not count, for a number that receives nothing has those too. By the index
# messages_newest_first, in spells of a minute, or a busy number would have millions. A receipt's
# time is on its message, for the receipts' own table has no index by time.
ACTIVITY = """
SELECT min(a.at), max(a.at), count(*)
FROM workspaces w JOIN messages m ON m.tenant_id = w.tenant_id AND m.workspace_id = w.id
CROSS JOIN LATERAL (
    SELECT m.timestamp_utc WHERE m.source IN ('LIVE', 'ECHO')
    UNION ALL
    SELECT d.value::timestamptz FROM jsonb_each_text(m.delivery) d
    WHERE m.direction = 'OUTBOUND' AND d.key IN ('sent_at', 'delivered_at', 'read_at', 'played_at')
) a (at)
WHERE w.id = %(workspace)s AND m.timestamp_utc >= %(since)s AND m.source <> 'HISTORY'
  AND a.at >= %(since)s AND a.at <= %(now)s
GROUP BY date_trunc('minute', a.at) ORDER BY 1
"""
RESTORE = "Restore a backup, or clear it and pair again."
PAIR, START, NO_HOST = "Pair a phone.", "Start it.", "See that a session host runs on its machine."
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        SessionState.STOPPED: START,
        SessionState.PAIRING: "Scan the QR code with the phone, or type the code into it.",
        SessionState.CONFLICT: "Find and stop the other program that has this account, then start.",
        SessionState.RATE_LIMITED: "Wait; it goes on by itself.",
        SessionState.BANNED: "Wait; it goes on by itself. Then send less.",
        SessionState.LOGGED_OUT: PAIR,
        SessionState.OUTDATED: "Update the software, then start.",
        SessionState.FAILED: "It starts again by itself; if it goes on, read the sender's log.",
    }
)
MAKE_MISSING = """
INSERT INTO sender_sessions (tenant_id, workspace_id)
SELECT w.tenant_id, w.id FROM workspaces w
WHERE w.transport = ANY(%s) AND NOT EXISTS (
    SELECT FROM sender_sessions s WHERE s.tenant_id = w.tenant_id AND s.workspace_id = w.id
) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class NumberHealth:
    """What is wrong with a number (nothing: it is well), its last activity, how long a silence may
    last (``None``: not known, or not asked), and the counts of its last 24 hours.
    """

    problems: tuple[str, ...]
    last_activity_at: datetime | None
    tolerated_silence: timedelta | None
    last_day: MessageCounts

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(workspace: Workspace, *, now: datetime, worst_rate: float = WORST_RATE) -> NumberHealth:
    """Return the health of a workspace's number; ``worst_rate`` (0 to 1) is the share of the sends
    of the last 24 hours that may fail.
    """
    counts = statistics.between(workspace.id, now - DAY, now + timedelta(seconds=1))
    baseline = baseline_of(workspace.id, now=now)
    if workspace.transport in HOSTED:
        connected_since, problems = _linked(workspace, now)
    else:
        connected_since, problems = _cloud(workspace, now)
    if not problems:
        problems += _silence(baseline, connected_since, now)
    problems += _errors(counts, worst_rate)
    return NumberHealth(tuple(problems), baseline.last_at, baseline.tolerated, counts)


def is_unattended(session: SenderSession, *, now: datetime) -> bool:
    """Return whether no supervisor runs a session that should run: its host is down."""
    if session.wanted != Wanted.RUNNING or session.is_held(now):
        return False
    if session.state in FINAL:
        return False
    lease = getattr(session, "lease", None)
    free_at = lease.expires_at if lease else None  # released: when that was
    moments = (session.since, session.until, session.stopped_at, free_at)
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
        yield describe_status(session)


def unattended(session: SenderSession) -> str:
    """Return the sentence that no supervisor runs a session, and where one should."""
    where = f"on {session.home}" if session.home else "anywhere"
    return f"It should run, and no session host ({where}) runs it: is `manage.py sender host` up?"


def describe_status(session: SenderSession) -> str:
    """Return a session's status as a sentence: why, since when and until when."""
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


def _silence(
    baseline: SilenceBaseline, connected_since: datetime | None, now: datetime
) -> list[str]:
    silent_since = max(filter(None, (baseline.last_at, connected_since)), default=None)
    if silent_since is None or not baseline.is_exceeded(silent_since=silent_since, now=now):
        return []
    return [
        f"Connected, and nothing heard since {silent_since:%Y-%m-%d %H:%M} UTC; its longest "
        f"silence in two weeks was {_hours(baseline.longest)}. Write to the number from another "
        "phone; if nothing comes, restart it."
    ]


def _errors(counts: MessageCounts, worst_rate: float) -> list[str]:
    rate = counts.error_rate
    if rate is None or counts.messages - counts.waiting < FEWEST_SENDS or rate <= worst_rate:
        return []
    ended = counts.messages - counts.waiting
    return [f"{counts.errors:,} of {ended:,} messages of the last 24 hours failed ({rate:.0%})."]


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"


def baseline_of(workspace_id: UUID, *, now: datetime) -> SilenceBaseline:
    """Return a number's silences of the last two weeks.

    Where it received something within the last hour it is not silent, and only that hour is read:
    the baseline then has the last activity and tolerates nothing.
    """
    recent = _read(workspace_id, since=now - SHORTEST_SILENCE, now=now)
    if recent.last_at is not None:
        return SilenceBaseline(last_at=recent.last_at)
    return _read(workspace_id, since=now - BASELINE_WINDOW, now=now)


def _read(workspace_id: UUID, *, since: datetime, now: datetime) -> SilenceBaseline:
    with bulk.cursor() as cursor:
        cursor.execute(ACTIVITY, {"workspace": workspace_id, "since": since, "now": now})
        return SilenceBaseline.of(cursor.fetchall())


@dataclass(frozen=True, slots=True)
class SilenceBaseline:
    """A number's silences in the window: ``events`` it received, the ``longest`` time between two
    of them, and the last one's time. Pure.

    A connection may look well and carry nothing. Only the number's own past tells that from a
    shop's night, so it is measured against the longest silence it had.
    """

    events: int = 0
    longest: timedelta = timedelta()
    last_at: datetime | None = None

    @classmethod
    def of(cls, spells: Iterable[tuple[datetime, datetime, int]]) -> Self:
        """Return the baseline of spells (first time, last time, number of events), in order."""
        found = list(spells)
        if not found:
            return cls()
        within = (last - first for first, last, _ in found)
        between = (later[0] - earlier[1] for earlier, later in pairwise(found))
        longest = max((*within, *between), default=timedelta())
        return cls(sum(count for *_, count in found), longest, found[-1][1])

    @property
    def tolerated(self) -> timedelta | None:
        """How long a silence may last; ``None``: too few events to say."""
        if self.events < FEWEST_EVENTS:
            return None
        return max(SHORTEST_SILENCE, SILENCE_FACTOR * self.longest)

    def is_exceeded(self, *, silent_since: datetime, now: datetime) -> bool:
        """Return whether a connected number has been silent for longer than it may be.

        ``silent_since`` is its last activity, or when it was connected if that is later.
        """
        return self.tolerated is not None and now - silent_since > self.tolerated


def make_missing() -> None:
    """Give every linked device its row, so that lists have them all."""
    with connection.cursor() as cursor:
        cursor.execute(MAKE_MISSING, [list(HOSTED)])


def needing_operator(*, now: datetime) -> QuerySet[SenderSession]:
    """Return the sessions that wait for an operator, and those that should run and that no host
    runs (:func:`is_unattended` is the same for one).
    """
    due = now - HOST_PATIENCE
    # A process that died had its lease until then: its host is given the same minute after that.
    unheld = Q(lease=None) | Q(lease__expires_at=None) | Q(lease__expires_at__lt=due)
    unattended = unheld & Q(wanted=Wanted.RUNNING, since__lt=due)
    unattended &= Q(until=None) | Q(until__lt=due)
    unattended &= Q(stopped_at=None) | Q(stopped_at__lt=due)
    rows = SenderSession.objects.filter(Q(state__in=NEEDS_OPERATOR) | unattended)
    return rows.select_related("workspace", "lease").order_by("since")


def of_tenant(tenant_id: UUID) -> list[SenderSession]:
    """Return the sessions of a tenant's linked devices, by the names of their workspaces."""
    return [_session_of(each) for each in _workspaces_of(tenant_id).order_by("name", "id")]


def find(*, tenant_id: UUID, workspace_id: UUID) -> SenderSession | None:
    """Return the session of a linked device; ``None``: the tenant has no such linked device."""
    workspace = _workspaces_of(tenant_id).filter(pk=workspace_id).first()
    return _session_of(workspace) if workspace else None


def remedy(session: SenderSession, *, now: datetime) -> str:
    """Return what an operator should do next; empty: nothing."""
    if is_unattended(session, now=now):
        return NO_HOST
    if session.state == SessionState.STOPPED and session.paired_at is None:
        return PAIR
    if session.state == SessionState.LOGGED_OUT and session.paired_at is not None:
        return RESTORE  # an account, and no store: to pair is refused
    return REMEDIES.get(session.state, "")


def phone(session: SenderSession, *, in_clear: bool = False) -> str:
    """Return the account's number, masked unless ``in_clear``; empty: not known."""
    return numbers.shown(getattr(session.workspace, "number", None), in_clear=in_clear)


def _workspaces_of(tenant_id: UUID) -> QuerySet[Workspace]:
    rows = Workspace.objects.filter(tenant_id=tenant_id, transport__in=HOSTED)
    return rows.select_related("number", "sender_session", "sender_session__lease")


def _session_of(workspace: Workspace) -> SenderSession:
    found = getattr(workspace, "sender_session", None)
    if isinstance(found, SenderSession):
        return found
    return SenderSession(
        workspace=workspace, tenant_id=workspace.tenant_id, since=workspace.created_at
    )
