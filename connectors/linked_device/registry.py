"""The rows of a machine's sessions: what its supervisor reads to plan, and what it writes when a
process ended.

All times are of the database's clock, as those of the leases are. What a session's process wrote
about its end stays.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from connectors.linked_device import leases, schedule, status
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import SenderSession, SessionState, Wanted
from connectors.linked_device.schedule import SessionFacts
from connectors.linked_device.sessions import FINAL, TIMED
from connectors.linked_device.status import SessionStatus

# States that only a living process can be in.
LIVE = frozenset(
    {
        SessionState.STARTING,
        SessionState.PAIRING,
        SessionState.CONNECTED,
        SessionState.DISCONNECTED,
    }
)
STOPPED = SessionStatus(SessionState.STOPPED, "Stopped.")
INTERRUPTED = SessionStatus(
    SessionState.WAITING, "Its process ended, or its host did; it starts again by itself."
)
UNEXPLAINED = "Its process {}, without a word; it starts again after a pause that grows."
KEPT = FINAL | TIMED
# The process wrote down itself why it ended, or lost its lease (SIGALRM: of its own alarm).
EXPECTED_EXITS = frozenset(
    {ExitCode.DONE, ExitCode.HELD, ExitCode.LOST, ExitCode.FINAL, -signal.SIGALRM}
)

FACTS = """
SELECT s.id AS session_id, s.tenant_id, s.home, s.wanted, s.state, s.until, s.stopped_at,
       s.paired_at IS NOT NULL AS is_paired, s.pair_by,
       coalesce(w.is_active AND t.status <> 'ERASING', false) AS is_served,
       coalesce(l.host, '') AS holder, coalesce(l.pid, 0) AS holder_pid,
       l.renewed_at, l.expires_at
FROM sender_sessions s
LEFT JOIN session_leases l ON l.session_id = s.id AND l.owner IS NOT NULL
LEFT JOIN workspaces w ON w.id = s.workspace_id
LEFT JOIN tenants t ON t.id = s.tenant_id
WHERE s.home = %(host)s OR (s.home = '' AND s.wanted = 'RUNNING') OR s.id = ANY(%(running)s)
ORDER BY s.id
"""
# No process takes the lease while the end of a dead owner is written.
ENDED = """
SELECT host = %(host)s AND pid = %(pid)s, expires_at
FROM session_leases WHERE session_id = %(id)s AND owner IS NOT NULL FOR SHARE
"""
FORGET = """
UPDATE sender_sessions SET sealed_pairing = NULL, pairing_expires_at = NULL
WHERE pairing_expires_at < clock_timestamp() AND sealed_pairing IS NOT NULL
"""


def read(host: str, running: Collection[UUID]) -> tuple[list[SessionFacts], datetime]:
    """Return the facts about the sessions that a host has, runs or may adopt, and the database's
    time.
    """
    with connection.cursor() as cursor:
        cursor.execute(FACTS, {"host": host, "running": list(running)})
        names = [column.name for column in cursor.description]
        known = [SessionFacts(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
        cursor.execute("SELECT clock_timestamp()")
        return known, cursor.fetchone()[0]


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
        after = [now + schedule.pause(session.failures + 1, jitter=jitter)]
        after += [expires_at + leases.GRACE] if expires_at else []
        _fail(session, code, until=max(after), now=now)


@transaction.atomic
def correct(facts: SessionFacts, *, now: datetime) -> None:
    """Correct the status of a session of this host that no process has any more, such as after the
    supervisor itself was killed.
    """
    if _corrected(facts.state, facts.wanted) is None or facts.is_held(now):
        return
    is_last, _ = _last(facts.session_id, facts.holder, facts.holder_pid)
    if is_last and (session := _locked(facts.session_id)) is not None:
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
