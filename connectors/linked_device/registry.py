"""The rows of a machine's sessions: what its supervisor reads, when each may be started, and what
is written when a process ended.

All times are of the database's clock, as those of the leases are. What a session's process wrote
about its end stays.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from connectors.linked_device import leases, status
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import (
    FINAL,
    KEPT,
    LIVE,
    TIMED,
    SenderSession,
    SessionState,
    Wanted,
)
from connectors.linked_device.status import SessionStatus
from lib.clock import database_now
from workspaces.models import TenantStatus

# Only these are over at a time that is written beside them.
UNTIL = TIMED | {SessionState.FAILED}
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=5)
STOPPED = SessionStatus(SessionState.STOPPED, "Stopped.")
INTERRUPTED = SessionStatus(
    SessionState.WAITING, "Its process ended, or its host did; it starts again by itself."
)
UNEXPLAINED = "Its process {}, without a word; it starts again after a pause that grows."
# The process wrote down itself why it ended, or lost its lease (SIGALRM: of its own alarm).
EXPECTED_EXITS = frozenset(
    {ExitCode.DONE, ExitCode.HELD, ExitCode.LOST, ExitCode.FINAL, -signal.SIGALRM}
)

# No process takes the lease while the end of a dead owner is written.
ENDED = """
SELECT host = %(host)s AND pid = %(pid)s, expires_at
FROM session_leases WHERE session_id = %(id)s AND owner IS NOT NULL FOR SHARE
"""
FORGET = """
UPDATE sender_sessions SET sealed_pairing = NULL, pairing_expires_at = NULL
WHERE pairing_expires_at < clock_timestamp() AND sealed_pairing IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A session is not started before ``until``, or (``None``) unless something changes."""

    why: str
    until: datetime | None = None


def read(host: str, running: Collection[UUID]) -> tuple[list[SenderSession], datetime]:
    """Return the sessions that a host has, runs or may adopt, with what :func:`held_back` looks at,
    and the database's time.
    """
    adoptable = Q(home="", wanted=Wanted.RUNNING)
    rows = SenderSession.objects.filter(Q(home=host) | adoptable | Q(pk__in=running))
    whole = rows.select_related("workspace__tenant", "lease").order_by("pk")
    return list(whole.defer("sealed_pairing", "sealed_pair_number")), database_now()


def held_back(session: SenderSession, *, host: str, now: datetime) -> HeldBack | None:
    """Return why ``host`` does not start a session that it does not run; ``None``: it is due.

    One rule per line: the log names the rule that held a session back.
    """
    if (why := _why_not(session, host)) is not None:
        return HeldBack(why)
    waits = [(until, why) for until, why in _waits(session) if until is not None and until > now]
    if not waits:
        return None
    until, why = max(waits, key=lambda wait: wait[0])
    return HeldBack(why, until)


def why_not_here(session: SenderSession, *, host: str) -> str | None:
    """Return why a session must not run on ``host``, other than that its operator says so."""
    workspace = session.workspace
    if not workspace.is_active or workspace.tenant.status == TenantStatus.ERASING:
        return "its workspace is not in use"
    return None if session.home in ("", host) else f"its store is on {session.home}"


def gap_ends(session: SenderSession) -> datetime | None:
    """Return when the gap after a session's last stop is over."""
    return session.stopped_at + leases.GAP if session.stopped_at else None


def lease_ends(session: SenderSession) -> datetime | None:
    """Return when a lease that was not given back has certainly ended, with its process."""
    lease = session.held_lease
    return lease.expires_at + leases.GRACE if lease and lease.expires_at else None


def pause(failures: int, *, jitter: float) -> timedelta:
    """Return how long to wait after so many failures in a row: 5 s, doubled up to 5 minutes.

    ``jitter`` (0 to 1) takes up to a fifth away, so that sessions do not come back together.
    """
    longest = min(FIRST_PAUSE * (1 << min(max(failures - 1, 0), 10)), LONGEST_PAUSE)
    return longest * (1 - 0.2 * jitter)


def _why_not(session: SenderSession, host: str) -> str | None:
    if session.wanted != Wanted.RUNNING:
        return "nobody wants it to run"
    if session.state in FINAL:
        return f"{session.state}: an operator has to decide"
    if session.paired_at is None and not session.pair_by:
        return "no phone is linked, and none is asked to"
    return why_not_here(session, host=host)


def _waits(session: SenderSession) -> Iterator[tuple[datetime | None, str]]:
    yield session.until if session.state in UNTIL else None, f"{session.state}: it has to wait"
    yield gap_ends(session), "it stopped a moment ago"
    if lease := session.held_lease:
        yield lease_ends(session), f"{lease.host} did not give it back"


def adopt(session_id: UUID, host: str) -> bool:
    """Make a host the home of a session that has none; return whether it is now."""
    rows = SenderSession.objects.filter(pk=session_id, home__in=("", host))
    return rows.update(home=host) == 1


@transaction.atomic
def end(session_id: UUID, *, host: str, pid: int, code: int, jitter: float, now: datetime) -> None:
    """Write down that a process of this host has ended, unless it wrote so itself."""
    is_last, expires_at = _last(session_id, host, pid)
    session = _locked(session_id) if is_last else None
    if session is None:
        return
    leases.record_end(session_id, host=host, pid=pid)
    if session.state in KEPT or code in (ExitCode.HELD, ExitCode.FINAL):
        return
    if code in EXPECTED_EXITS or session.wanted == Wanted.STOPPED:
        _correct(session, now)
    else:
        after = [now + pause(session.failures + 1, jitter=jitter)]
        after += [expires_at + leases.GRACE] if expires_at else []
        _fail(session, code, until=max(after), now=now)


@transaction.atomic
def correct(seen: SenderSession, *, now: datetime) -> None:
    """Correct the status of a session of this host that no process has any more, such as after the
    supervisor itself was killed.
    """
    if _corrected(seen.state, seen.wanted) is None or seen.is_held(now):
        return
    lease = seen.held_lease
    is_last, _ = _last(seen.pk, lease.host if lease else "", lease.pid if lease else 0)
    if is_last and (session := _locked(seen.pk)) is not None:
        _correct(session, now)


def forget_pairings() -> None:
    """Remove QR texts and pairing codes that have expired."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


def describe_exit(code: int) -> str:
    """Return how a process ended, for people."""
    if code >= 0:
        return f"ended with code {int(code)}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _last(session_id: UUID, host: str, pid: int) -> tuple[bool, datetime | None]:
    """Return whether only a dead process has the lease, if any, and until when; no process can take
    it before the commit.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENDED, {"id": session_id, "host": host, "pid": pid})
        row = cursor.fetchone()
    return (True, None) if row is None else row


def _locked(session_id: UUID) -> SenderSession | None:
    # Locked after the lease, in the order of a release.
    rows = SenderSession.objects.select_for_update(no_key=True)
    return rows.filter(pk=session_id).first()


def _fail(session: SenderSession, code: int, *, until: datetime, now: datetime) -> None:
    SenderSession.objects.filter(pk=session.pk).update(failures=session.failures + 1)
    is_explained = code == ExitCode.FAILED and session.state == SessionState.FAILED
    reason = session.reason if is_explained else UNEXPLAINED.format(describe_exit(code))
    status.write(session.pk, SessionStatus(SessionState.FAILED, reason, until), now=now)


def _correct(session: SenderSession, now: datetime) -> None:
    corrected = _corrected(session.state, session.wanted)
    if corrected is not None:
        status.write(session.pk, corrected, now=now)


def _corrected(state: str, wanted: str) -> SessionStatus | None:
    """Return the status of a session without a process; ``None``: it has that already."""
    if wanted == Wanted.STOPPED:
        is_over = state in LIVE or state in (SessionState.WAITING, SessionState.FAILED)
        return STOPPED if is_over else None
    return INTERRUPTED if state in LIVE else None
