"""``start``, ``stop`` and ``restart``: write the wish down, and wait until it came true."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.core.management.base import CommandError, OutputWrapper

from connectors.linked_device import sessions
from connectors.linked_device.commands import choosing
from connectors.linked_device.commands.waiting import Judge, Verdict, Waiter
from connectors.models import SenderSession, SessionState

# Nothing that these wait for ends within a command's time.
STUCK = sessions.FINAL | sessions.TIMED


def start(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session run.

    Raises:
        CommandError: no phone is linked, or it is not connected within ``wait`` seconds.
    """
    session = _ask(name, sessions.start)
    if is_up(session, datetime.now(UTC)) is Verdict.DONE:
        out.write(f"{choosing.label(session.workspace)} is connected already.")
        return
    _after(out, session, is_up, wait, "is connected")


def stop(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session end, after the send that is under way.

    Raises:
        CommandError: its process has not ended within ``wait`` seconds.
    """
    session = choosing.one(name)
    ran = sessions.is_held(session, now=datetime.now(UTC))
    session = _ask(str(session.id), sessions.stop)
    if not ran:
        out.write(f"{choosing.label(session.workspace)} is stopped: no process has it.")
        return
    _after(out, session, is_down, wait, "is stopped")


def restart(out: OutputWrapper, *, name: str | None, wait: float) -> None:
    """Let a session end after the send that is under way, and start again after the gap.

    Raises:
        CommandError: no phone is linked, or it is not connected again within ``wait`` seconds.
    """
    session = _ask(name, sessions.restart)
    asked = session.restart_asked_at

    def is_back(session: SenderSession, now: datetime) -> Verdict:
        is_new = session.started_at and asked and session.started_at > asked
        verdict = is_up(session, now)
        return verdict if is_new or verdict is Verdict.FAILED else Verdict.WAIT

    _after(out, session, is_back, wait, "is connected again")


def is_up(session: SenderSession, now: datetime) -> Verdict:
    """Judge whether a session is connected, by a process that has it."""
    if session.state in STUCK:
        return Verdict.FAILED
    is_held = sessions.is_held(session, now=now)
    up = is_held and session.state == SessionState.CONNECTED
    return Verdict.DONE if up else Verdict.WAIT


def is_down(session: SenderSession, now: datetime) -> Verdict:
    """Judge whether no process has a session any more."""
    return Verdict.WAIT if sessions.is_held(session, now=now) else Verdict.DONE


def _ask(name: str | None, wish: Callable[..., SenderSession]) -> SenderSession:
    session = choosing.one(name)
    try:
        wish(session.id, now=datetime.now(UTC))
    except sessions.UnableTo as error:
        raise CommandError(error.message) from error
    return choosing.fresh(session.id)


def _after(
    out: OutputWrapper, session: SenderSession, judge: Judge, wait: float, done: str
) -> None:
    name = choosing.label(session.workspace)
    if wait <= 0:
        out.write(f"Asked for {name}; not waited for.")
        return
    Waiter(out, wait).wait(session, judge)
    out.write(f"{name} {done}.")
