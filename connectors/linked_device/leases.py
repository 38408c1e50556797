"""Who may hold a session's connection to WhatsApp: one process, by the database's clock.

Two connections with the same keys fight for the account, and a sender that was paused may wake up
long after another one took over. So each owner gets a higher fencing token than the one before, and
whatever an owner writes is written only while its token is the newest (:func:`insist`,
:func:`connectors.linked_device.standing.write`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.transaction import TransactionManagementError

from connectors.models import SenderSession

TTL = timedelta(seconds=60)
RENEW_SECONDS = 10.0
# Clocks, sockets and WhatsApp's view of who is connected lag behind the lease.
GRACE = timedelta(seconds=30)
# Between the end of one connection and the start of the next, whoever makes it.
GAP = timedelta(seconds=30)
# Who asks must have time left to draw his conclusions before the lease ends.
STATEMENT_SECONDS = 5
# An owner that is paused inside of a transaction would keep its lock, and everybody out.
IDLE_SECONDS = 20

MAKE = """
INSERT INTO session_leases (session_id, tenant_id)
SELECT id, tenant_id FROM sender_sessions WHERE id = %(id)s FOR KEY SHARE
ON CONFLICT (session_id) DO NOTHING
"""
LOCK = "SELECT tenant_id FROM session_leases WHERE session_id = %(id)s FOR UPDATE"
# A statement of its own after the lock, so that it sees what the last owner wrote on his way out.
LOOK = """
SELECT CASE WHEN l.owner IS NULL THEN '' ELSE l.host END, greatest(
    CASE WHEN l.owner IS NOT NULL THEN l.expires_at + %(grace)s END, s.stopped_at + %(gap)s
)
FROM session_leases l JOIN sender_sessions s ON s.id = l.session_id
WHERE l.session_id = %(id)s AND greatest(
    CASE WHEN l.owner IS NOT NULL THEN l.expires_at + %(grace)s END, s.stopped_at + %(gap)s
) > clock_timestamp()
"""
TAKE = """
UPDATE session_leases SET owner = %(owner)s, host = %(host)s, pid = %(pid)s,
    fencing_token = fencing_token + 1, acquired_at = clock_timestamp(),
    renewed_at = clock_timestamp(), expires_at = clock_timestamp() + %(ttl)s
WHERE session_id = %(id)s RETURNING fencing_token
"""
MINE = "session_id = %(id)s AND owner = %(owner)s AND fencing_token = %(token)s"
RENEW = f"""
UPDATE session_leases
SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + %(ttl)s
WHERE {MINE} AND expires_at > clock_timestamp() RETURNING 1
"""  # noqa: S608 - our own constant
RELEASE = f"""
WITH freed AS (
    UPDATE session_leases SET owner = NULL, pid = 0, expires_at = clock_timestamp()
    WHERE {MINE} RETURNING session_id
)
UPDATE sender_sessions s SET stopped_at = clock_timestamp(), updated_at = clock_timestamp()
FROM freed WHERE s.id = freed.session_id
"""  # noqa: S608
# Keeps everybody from taking the lease before the caller's transaction ends.
INSIST = f"""
SELECT 1 FROM session_leases WHERE {MINE} AND expires_at > clock_timestamp() FOR SHARE
"""  # noqa: S608
# Not a release: the successor waits for the lease's end too, however sure this machine is.
NOTE_END = """
UPDATE sender_sessions s SET stopped_at = clock_timestamp(), updated_at = clock_timestamp()
FROM session_leases l
WHERE s.id = %(id)s AND l.session_id = s.id AND l.owner IS NOT NULL
  AND l.host = %(host)s AND l.pid = %(pid)s
"""


class Held(Exception):
    """Somebody has the session, or had it a moment ago: nobody may have it before ``until``.

    ``host`` is the machine that has it, empty where only the gap after its last stop is missing.
    """

    def __init__(self, host: str, until: datetime) -> None:
        super().__init__(f"{host or 'Its last stop'} keeps the session until {until:%H:%M:%S}.")
        self.host, self.until = host, until


class Lost(Exception):
    """The session is not ours any more: end at once, send nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one process (``owner``, made up at its start) to a session."""

    session_id: UUID
    tenant_id: UUID
    owner: UUID
    fencing_token: int


def acquire(session_id: UUID, *, owner: UUID, host: str, pid: int) -> Lease:
    """Take a session that nobody has; from then on it has to be renewed every ten seconds.

    Raises:
        Held: somebody has it, did not give it back and ended less than 30 seconds ago, or gave it
            back less than 30 seconds ago.
        SenderSession.DoesNotExist: there is no such session.
    """
    facts: dict[str, Any] = {
        "id": session_id, "owner": owner, "host": host[:128], "pid": pid,
        "ttl": TTL, "grace": GRACE, "gap": GAP,
    }  # fmt: skip
    with _bounded() as cursor:
        cursor.execute(MAKE, facts)
        cursor.execute(LOCK, facts)
        if (row := cursor.fetchone()) is None:
            raise SenderSession.DoesNotExist(f"There is no session {session_id}.")
        cursor.execute(LOOK, facts)
        if (held := cursor.fetchone()) is not None:
            raise Held(*held)
        cursor.execute(TAKE, facts)
        return Lease(session_id, row[0], owner, cursor.fetchone()[0])


def renew(lease: Lease) -> None:
    """Keep a session for another 60 seconds.

    Raises:
        Lost: somebody else has it, or it ended before.
    """
    with _bounded() as cursor:
        cursor.execute(RENEW, _mine(lease) | {"ttl": TTL})
        if cursor.fetchone() is None:
            raise Lost("The lease ended, or somebody else has it.")


def release(lease: Lease) -> None:
    """Give a session back, after its connection was closed; nothing where it is not ours."""
    with _bounded() as cursor:
        cursor.execute(RELEASE, _mine(lease))


def insist(lease: Lease) -> None:
    """Let the caller's transaction go on only while the session is ours, up to its commit.

    Raises:
        Lost: it is not.
        TransactionManagementError: there is no transaction to protect.
    """
    if not connection.in_atomic_block:
        raise TransactionManagementError("A lease is insisted on inside of a transaction.")
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        cursor.execute(INSIST, _mine(lease))
        if cursor.fetchone() is None:
            raise Lost("The lease ended, or somebody else has it.")


def note_end(session_id: UUID, *, host: str, pid: int) -> None:
    """Write down that the process of this machine that has a session is dead.

    For one that was paused for so long that its lease is over: the gap begins with its end.
    """
    with _bounded() as cursor:
        cursor.execute(NOTE_END, {"id": session_id, "host": host[:128], "pid": pid})


def _mine(lease: Lease) -> dict[str, Any]:
    return {"id": lease.session_id, "owner": lease.owner, "token": lease.fencing_token}


@contextmanager
def _bounded() -> Iterator[CursorWrapper]:
    """Open a transaction whose statements give up after some seconds, locks included."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
        yield cursor
