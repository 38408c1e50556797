"""Wait at the terminal until a session did what was asked, and say meanwhile what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import health, host, leases, sessions
from connectors.linked_device.commands import choosing
from connectors.models import SenderSession, SessionState, Wanted

STEP_SECONDS = 0.25
# A host that is up has taken a wish within a second or two.
HOST_SECONDS = timedelta(seconds=10)


class Verdict(Enum):
    """What a look at the session says: go on waiting, done, or it will not come."""

    WAIT = "WAIT"
    DONE = "DONE"
    FAILED = "FAILED"


Judge = Callable[[SenderSession, datetime], Verdict]


@dataclass(frozen=True, slots=True)
class Waiter:
    """Looks at a session until it is done; says whenever it waits for something else."""

    out: OutputWrapper
    seconds: float

    def wait(self, session: SenderSession, judge: Judge) -> SenderSession:
        """Return the session once ``judge`` says that it is done.

        Raises:
            CommandError: it will not come, or not within the time.
        """
        ends = time.monotonic() + self.seconds
        said = ""
        while True:
            session, now = choosing.fresh(session.id), datetime.now(UTC)
            verdict = judge(session, now)
            if verdict is Verdict.DONE:
                return session
            if verdict is Verdict.FAILED:
                raise CommandError(health.stands(session))
            topic, why = waits_for(session, now)
            if time.monotonic() >= ends:
                raise CommandError(_not_done(self.seconds, why))
            if topic != said:
                said = topic
                self.out.write(f"… {why}")
                self.out.flush()
            time.sleep(STEP_SECONDS)


def waits_for(session: SenderSession, now: datetime) -> tuple[str, str]:
    """Return what a session waits for: a word for it, and a sentence with the seconds left."""
    if sessions.is_held(session, now=now):
        return _of_process(session)
    if session.home == settings.SIGMA_SENDER_HOST and not host.is_alive():
        return "host", health.unattended(session)
    if (left := _left(_gap_ends(session), now)) > 0:
        return "gap", f"at least 30 s between stop and start: {left:.0f} s left"
    if (left := _left(_lease_ends(session), now)) > 0:
        where = session.lease.host or "a host"
        return (
            "lease",
            f"its last process (on {where}) did not say that it ended: {left:.0f} s left",
        )
    if session.until is not None and session.until > now:
        return "until", health.stands(session)
    if now - _asked_at(session) > HOST_SECONDS:
        return "host", health.unattended(session)
    return "next", "its session host takes it up"


def _of_process(session: SenderSession) -> tuple[str, str]:
    asked, began = session.restart_asked_at, session.started_at
    if session.wanted == Wanted.STOPPED or (asked and began and asked > began):
        return "ending", "its process ends, after the send that is under way"
    return session.state, session.reason or SessionState(session.state).label


def _not_done(seconds: float, why: str) -> str:
    return (
        f"Not done within {seconds:.0f} s: {why.rstrip('.')}. What was asked stays asked; "
        "manage.py sender status says how it goes on."
    )


def _gap_ends(session: SenderSession) -> datetime | None:
    return session.stopped_at + leases.GAP if session.stopped_at else None


def _lease_ends(session: SenderSession) -> datetime | None:
    lease = getattr(session, "lease", None)
    if lease is None or lease.owner is None or lease.expires_at is None:
        return None
    ends: datetime = lease.expires_at + leases.GRACE
    return ends


def _left(ends: datetime | None, now: datetime) -> float:
    return (ends - now).total_seconds() if ends else 0.0


def _asked_at(session: SenderSession) -> datetime:
    """Return since when the host could have done something about it."""
    moments = (session.since, session.restart_asked_at, _gap_ends(session), _lease_ends(session))
    return max(filter(None, moments))
