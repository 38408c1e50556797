"""``start``, ``stop`` and ``restart``: record what is wanted, and wait until it is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import health, registry, sessions, supervisor
from connectors.linked_device.commands import choosing
from connectors.linked_device.models import KEPT, SenderSession, SessionState, Wanted
from lib import clock

STEP_SECONDS = 0.25
# A supervisor that runs acts within a second or two.
HOST_SECONDS = timedelta(seconds=10)


class Verdict(Enum):
    """What a look at the session says: go on waiting, done, or it will never be done."""

    WAIT = "WAIT"
    DONE = "DONE"
    FAILED = "FAILED"


Judge = Callable[[SenderSession, datetime], Verdict]


def start(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session run.

    Raises:
        CommandError: it is not connected within ``wait`` seconds.
        sessions.UnableTo: no phone is linked.
    """
    session = _ask(name, sessions.start)
    if is_up(session, clock.now()) is Verdict.DONE:
        out.write(f"{choosing.label(session.workspace)} is connected already.")
        return
    _wait(out, session, is_up, wait, "is connected")


def stop(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session end, after the send that is under way.

    Raises:
        CommandError: its process has not ended within ``wait`` seconds.
    """
    session = choosing.one(name)
    ran = session.is_held(clock.now())
    session = _ask(str(session.id), sessions.stop)
    if not ran:
        out.write(f"{choosing.label(session.workspace)} is stopped: no process has it.")
        return
    _wait(out, session, is_down, wait, "is stopped")


def restart(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session end after the send that is under way, and start again after the gap.

    Raises:
        CommandError: it is not connected again within ``wait`` seconds.
        sessions.UnableTo: no phone is linked.
    """
    session = _ask(name, sessions.restart)
    asked = session.restart_asked_at

    def is_back(session: SenderSession, now: datetime) -> Verdict:
        is_new = session.started_at and asked and session.started_at > asked
        verdict = is_up(session, now)
        return verdict if is_new or verdict is Verdict.FAILED else Verdict.WAIT

    _wait(out, session, is_back, wait, "is connected again")


def is_up(session: SenderSession, now: datetime) -> Verdict:
    """Return whether a session is connected, by a process that has it."""
    if session.state in KEPT:  # until what does not happen within a command's time
        return Verdict.FAILED
    is_held = session.is_held(now)
    up = is_held and session.state == SessionState.CONNECTED
    return Verdict.DONE if up else Verdict.WAIT


def is_down(session: SenderSession, now: datetime) -> Verdict:
    """Return whether no process has a session any more."""
    return Verdict.WAIT if session.is_held(now) else Verdict.DONE


def _ask(name: str | None, verb: Callable[..., SenderSession]) -> SenderSession:
    session = choosing.one(name)
    verb(session.id, now=clock.now())
    return choosing.fresh(session.id)


def _wait(
    out: OutputWrapper, session: SenderSession, is_done: Judge, seconds: float, done: str
) -> None:
    """Wait until a session did what was asked; report whenever it waits for something else.

    Raises:
        CommandError: it will not do it, or not within the time.
    """
    name = choosing.label(session.workspace)
    if seconds <= 0:
        out.write(f"Asked for {name}; not waited for.")
        return
    ends, reported = time.monotonic() + seconds, ""
    while True:
        session, now = choosing.fresh(session.id), clock.now()
        verdict = is_done(session, now)
        if verdict is Verdict.DONE:
            out.write(f"{name} {done}.")
            return
        if verdict is Verdict.FAILED:
            raise CommandError(health.describe_status(session))
        topic, why = waits_for(session, now)
        if time.monotonic() >= ends:
            raise CommandError(_not_done(seconds, why))
        if topic != reported:
            reported = topic
            out.write(f"… {why}")
            out.flush()
        time.sleep(STEP_SECONDS)


def waits_for(session: SenderSession, now: datetime) -> tuple[str, str]:
    """Return what a session waits for: a word for it, and a sentence with the seconds left."""
    if session.is_held(now):
        return _of_process(session)
    if session.home == settings.SIGMA_SENDER_HOST and not supervisor.is_alive():
        return "host", health.unattended(session)
    if (left := _left(registry.gap_ends(session), now)) > 0:
        return "gap", f"at least 30 s between stop and start: {left:.0f} s left"
    if (left := _left(registry.lease_ends(session), now)) > 0:
        where = session.lease.host or "a host"
        return (
            "lease",
            f"its last process (on {where}) did not say that it ended: {left:.0f} s left",
        )
    if session.until is not None and session.until > now:
        return "until", health.describe_status(session)
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


def _left(ends: datetime | None, now: datetime) -> float:
    return (ends - now).total_seconds() if ends else 0.0


def _asked_at(session: SenderSession) -> datetime:
    """Return since when the supervisor could have acted."""
    moments = (
        session.since,
        session.restart_asked_at,
        registry.gap_ends(session),
        registry.lease_ends(session),
    )
    return max(filter(None, moments))
