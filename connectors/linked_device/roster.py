"""The rows of a host's sessions: what it reads to plan, and what it writes when a process ended.

By the database's clock, as the leases are. What a session's process wrote about its end stays.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from connectors.linked_device import agenda, exits, leases, standing
from connectors.linked_device.agenda import Facts
from connectors.linked_device.children import told
from connectors.linked_device.sessions import FINAL, TIMED
from connectors.linked_device.standing import Standing
from connectors.models import SenderSession, SessionState, Wanted

# States that only a living process can be in.
LIVE = frozenset(
    {
        SessionState.STARTING,
        SessionState.PAIRING,
        SessionState.CONNECTED,
        SessionState.DISCONNECTED,
    }
)
STOPPED = Standing(SessionState.STOPPED, "Stopped.")
INTERRUPTED = Standing(
    SessionState.WAITING, "Its process ended, or its host did; it starts again by itself."
)
UNHEARD = "Its process {}, without a word; it starts again after a pause that grows."
KEPT = FINAL | TIMED
# These said themselves what there is to say, or lost their lease.
QUIET = frozenset({exits.DONE, exits.HELD, exits.LOST, exits.FINAL, -signal.SIGALRM})

FACTS = """
SELECT s.id, s.tenant_id, s.home, s.wanted, s.state, s.until, s.stopped_at,
       s.paired_at IS NOT NULL, s.pair_by,
       coalesce(w.is_active AND t.status <> 'ERASING', false),
       coalesce(l.host, ''), coalesce(l.pid, 0), l.renewed_at, l.expires_at, clock_timestamp()
FROM sender_sessions s
LEFT JOIN session_leases l ON l.session_id = s.id AND l.owner IS NOT NULL
LEFT JOIN workspaces w ON w.id = s.workspace_id
LEFT JOIN tenants t ON t.id = s.tenant_id
WHERE s.home = %(host)s OR (s.home = '' AND s.wanted = 'RUNNING') OR s.id = ANY(%(running)s)
ORDER BY s.id
"""
COLUMNS = (
    "session_id", "tenant_id", "home", "wanted", "state", "until", "stopped_at", "is_paired",
    "pair_by", "is_served", "holder", "holder_pid", "renewed_at", "expires_at",
)  # fmt: skip
# Nobody takes the lease while a dead owner's end is written down.
ENDED = """
SELECT host = %(host)s AND pid = %(pid)s, expires_at
FROM session_leases WHERE session_id = %(id)s AND owner IS NOT NULL FOR SHARE
"""
FORGET = """
UPDATE sender_sessions SET sealed_pairing = NULL, pairing_expires_at = NULL
WHERE pairing_expires_at < clock_timestamp() AND sealed_pairing IS NOT NULL
"""


def read(host: str, running: Collection[UUID]) -> tuple[list[Facts], datetime]:
    """Return what there is to know about the sessions that a host has, runs or may adopt, and the
    database's time.
    """
    with connection.cursor() as cursor:
        cursor.execute(FACTS, {"host": host, "running": list(running)})
        rows = cursor.fetchall()
        if not rows:
            cursor.execute("SELECT clock_timestamp()")
            return [], cursor.fetchone()[0]
    return [Facts(**dict(zip(COLUMNS, row, strict=False))) for row in rows], rows[0][-1]


def adopt(session_id: UUID, host: str) -> bool:
    """Make a host the home of a session that has none; return whether it is now."""
    rows = SenderSession.objects.filter(pk=session_id, home__in=("", host))
    return rows.update(home=host) == 1


@transaction.atomic
def end(session_id: UUID, *, host: str, pid: int, code: int, jitter: float, now: datetime) -> None:
    """Write down that a process of this host is dead, as far as it did not say so itself."""
    is_last, expires_at = _last(session_id, host, pid)
    session = _locked(session_id) if is_last else None
    if session is None:
        return
    leases.note_end(session_id, host=host, pid=pid)
    if session.state in KEPT or code in (exits.HELD, exits.FINAL):
        return
    if code in QUIET or session.wanted == Wanted.STOPPED:
        _settle(session, now)
    else:
        after = [now + agenda.pause(session.failures + 1, jitter=jitter)]
        after += [expires_at + leases.GRACE] if expires_at else []
        _fail(session, code, until=max(after), now=now)


@transaction.atomic
def settle(facts: Facts, *, now: datetime) -> None:
    """Correct the standing of a session of this host that no process has any more, such as after
    the host itself was killed.
    """
    if _corrected(facts.state, facts.wanted) is None or facts.is_held(now):
        return
    is_last, _ = _last(facts.session_id, facts.holder, facts.holder_pid)
    if is_last and (session := _locked(facts.session_id)) is not None:
        _settle(session, now)


def forget_pairings() -> None:
    """Remove QR texts and pairing codes that are over, whoever left them."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


def _last(session_id: UUID, host: str, pid: int) -> tuple[bool, datetime | None]:
    """Tell whether nobody but a dead process has the lease, and until when; up to the commit
    nobody can take it.
    """
    with connection.cursor() as cursor:
        cursor.execute(ENDED, {"id": session_id, "host": host, "pid": pid})
        row = cursor.fetchone()
    return (True, None) if row is None else row


def _locked(session_id: UUID) -> SenderSession | None:
    # After the lease, as whoever gives one back does it.
    rows = SenderSession.objects.select_for_update(no_key=True)
    return rows.filter(pk=session_id).first()


def _fail(session: SenderSession, code: int, *, until: datetime, now: datetime) -> None:
    SenderSession.objects.filter(pk=session.pk).update(failures=session.failures + 1)
    was_told = code == exits.FAILED and session.state == SessionState.FAILED
    reason = session.reason if was_told else UNHEARD.format(told(code))
    standing.write(session.pk, Standing(SessionState.FAILED, reason, until), now=now)


def _settle(session: SenderSession, now: datetime) -> None:
    corrected = _corrected(session.state, session.wanted)
    if corrected is not None:
        standing.write(session.pk, corrected, now=now)


def _corrected(state: str, wanted: str) -> Standing | None:
    """Return where a session without a process stands, if it does not say so already."""
    if wanted == Wanted.STOPPED:
        is_over = state in LIVE or state in (SessionState.WAITING, SessionState.FAILED)
        return STOPPED if is_over else None
    return INTERRUPTED if state in LIVE else None
