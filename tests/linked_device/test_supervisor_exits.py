"""How sessions' processes end, and what the supervisor does about it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors.linked_device import leases, status
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.models import SenderSession, SessionLease, SessionState
from connectors.linked_device.status import SessionStatus
from connectors.linked_device.supervisor import STUCK_SECONDS
from tests.conftest import Cast
from tests.linked_device.supervisors import (
    HOUR,
    SLEEP,
    Make,
    fresh,
    is_over,
    is_running,
    lease,
    make,
    session_of,
    sh,
    started,
)

__all__ = ("make",)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_crash_is_that_session_s_alone_and_the_pause_grows(
    acme: Cast, globex: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    broken, well = session_of(acme), session_of(globex)
    crash = sh("kill -ABRT $$")
    supervisor = make(argv=lambda session_id: crash if session_id == broken.pk else SLEEP)
    pauses = []
    for _ in range(3):
        SenderSession.objects.filter(pk=broken.pk).update(until=None)
        started(supervisor, broken)
        wait_for(lambda: is_over(supervisor, broken))
        supervisor.step()
        row = fresh(broken)
        pauses.append((row.until - timezone.now()).total_seconds())

    assert (row.state, row.failures) == (SessionState.FAILED, 3)
    assert "SIGABRT" in row.reason
    assert 3 < pauses[0] <= 5 < pauses[1] <= 10 < pauses[2] <= 20
    assert supervisor.processes.keys() == {well.pk}


@pytest.mark.parametrize("state", ["CONFLICT", "LOGGED_OUT", "BANNED", "RATE_LIMITED"])
@pytest.mark.parametrize("code", [ExitCode.FINAL, 1])
def test_it_leaves_what_a_session_said_about_its_own_end(
    acme: Cast,
    make: Make,
    wait_for: Callable[..., None],
    tmp_path: Path,
    state: str,
    code: int,
) -> None:
    session, later = session_of(acme), timezone.now() + HOUR
    go = tmp_path / "go"
    supervisor = make(argv=sh(f"until [ -e {go} ]; do sleep 0.01; done; exit {code}"))
    started(supervisor, session)
    said = SessionStatus(SessionState(state), "As WhatsApp said.", later)
    status.write(session.pk, said, now=timezone.now())

    go.touch()
    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()

    row = fresh(session)
    assert (row.state, row.reason, row.until) == (state, "As WhatsApp said.", later)
    assert not supervisor.processes


def test_a_dead_process_keeps_its_successor_waiting_for_its_lease(
    acme: Cast, make: Make, wait_for: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sigma.whatsapp.sender")
    session, supervisor = session_of(acme), make()
    process = started(supervisor, session)
    lease(session, process)
    status.write(session.pk, SessionStatus(SessionState.CONNECTED), now=timezone.now())
    os.kill(process.pid, signal.SIGSEGV)
    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()
    supervisor.step()

    row, ends = fresh(session), SessionLease.objects.get(pk=session.pk).expires_at
    assert (row.state, row.until) == (SessionState.FAILED, ends + leases.GRACE)
    assert row.stopped_at is not None
    assert not supervisor.processes
    said = [one.message for one in caplog.records if "session waits" in one.message]
    assert said == ["whatsapp session waits: FAILED: it has to wait"], "once, and why"


def test_it_kills_a_paused_process_before_anybody_else_may_start(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session, supervisor = session_of(acme), make()
    process = started(supervisor, session)
    lease(session, process)
    os.kill(process.pid, signal.SIGSTOP)
    supervisor.step()
    assert supervisor.processes
    long_ago = timezone.now() - timedelta(seconds=46)
    SessionLease.objects.filter(pk=session.pk).update(renewed_at=long_ago, expires_at=long_ago)

    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()

    assert not is_running(process.pid)
    assert not supervisor.processes, "the gap begins with its end, whatever the lease says"
    assert fresh(session).stopped_at > timezone.now() - timedelta(seconds=20)


def test_it_kills_what_does_not_end_when_it_should(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session = session_of(acme)
    supervisor = make(argv=sh("trap '' TERM; while :; do sleep 0.05; done"), ending=0.3)
    process = started(supervisor, session)
    lease(session, process)
    SenderSession.objects.filter(pk=session.pk).update(wanted="STOPPED", state="CONNECTED")

    supervisor.step()
    assert is_running(process.pid)
    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()

    assert fresh(session).state == SessionState.STOPPED
    assert not is_running(process.pid)


@pytest.mark.parametrize("way", ["removed", "inactive", "moved"])
def test_it_ends_a_session_that_is_not_to_be_served_here(
    acme: Cast, make: Make, wait_for: Callable[..., None], way: str
) -> None:
    session, supervisor = session_of(acme), make()
    started(supervisor, session)
    if way == "removed":
        SenderSession.objects.filter(pk=session.pk).delete()
    elif way == "moved":
        SenderSession.objects.filter(pk=session.pk).update(home="two")
    else:
        session.workspace.is_active = False
        session.workspace.save()

    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()

    assert not supervisor.processes


def test_it_does_not_ask_again_at_once_for_a_session_that_is_held(
    acme: Cast, make: Make, wait_for: Callable[..., None]
) -> None:
    session, now = session_of(acme), [0.0]
    supervisor = make(argv=sh(f"exit {ExitCode.HELD}"), clock=lambda: now[0])
    started(supervisor, session)
    wait_for(lambda: is_over(supervisor, session))
    supervisor.step()
    assert not supervisor.processes
    assert (fresh(session).state, fresh(session).failures) == ("WAITING", 0)

    now[0] = 10.0

    assert started(supervisor, session)


@pytest.mark.parametrize(
    ("state", "is_killed"), [("STARTING", True), ("DISCONNECTED", True), ("CONNECTED", False)]
)
def test_it_ends_a_process_that_only_keeps_its_lease(
    acme: Cast, make: Make, wait_for: Callable[..., None], state: str, is_killed: bool
) -> None:
    now = [time.monotonic()]
    session, supervisor = session_of(acme), make(clock=lambda: now[0])
    process = started(supervisor, session)
    lease(session, process)
    SenderSession.objects.update(state=state)
    for seconds in (0, STUCK_SECONDS):
        now[0] += seconds
        assert not is_over(supervisor, session)

    now[0] += 1
    supervisor.step()
    if is_killed:
        wait_for(lambda: is_over(supervisor, session))
    assert is_running(process.pid) != is_killed
