"""What the operator wants is done by a session's process within a second, and once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue

import pytest

from connectors.linked_device import events, sessions
from connectors.linked_device.events import LinkedAccount
from connectors.linked_device.leases import ExitCode
from connectors.linked_device.machine import Machine, MachineEvent, RateLimitWait
from connectors.linked_device.models import SenderSession, SessionState
from connectors.linked_device.record import DatabaseRetry, DesiredState, LastActivity, Record
from connectors.linked_device.session_loop import SessionEnd, SessionLoop
from tests.conftest import Cast
from tests.linked_device import sends


@dataclass
class Running:
    """The loop of a session that is connected, a second later at each step."""

    session: SenderSession
    now: datetime
    is_asked: bool = False

    def __post_init__(self) -> None:
        first = DesiredState(self.session.wanted, self.session.restart_asked_at)
        self.loop = SessionLoop(
            machine=Machine(is_paired=True, limit=RateLimitWait(), now=self.now),
            record=Record(self.session, sends.leased(self.session)),
            activity=LastActivity(),
            events=SimpleQueue[MachineEvent](),
            ask_code=lambda: None,
            first=first,
            retry=DatabaseRetry("test", wait=lambda _: None),
            is_asked_to_end=lambda: self.is_asked,
        )
        self.step(events.Connected(LinkedAccount()))

    def step(self, event: MachineEvent | None = None, *, seconds: float = 1) -> SessionEnd | None:
        """Let time pass, then take a step."""
        self.now += timedelta(seconds=seconds)
        return self.loop.step(event, now=self.now)


@pytest.fixture
def running(acme: Cast, now: datetime) -> Running:
    """A connected session that was restarted an hour ago."""
    asked = now - timedelta(hours=1)
    return Running(sends.linked(acme, wanted="RUNNING", paired_at=now, restart_asked_at=asked), now)


def ended(ending: SessionEnd | None) -> tuple[int, SessionState] | None:
    return (ending.code, ending.status.state) if ending and ending.status else None


def test_it_goes_on_while_nobody_wants_anything_else(running: Running) -> None:
    assert [running.step() for _ in range(5)] == [None] * 5


def test_it_stops_when_asked(running: Running) -> None:
    sessions.stop(running.session.id, now=running.now)

    assert running.step(seconds=0.5) is None, "it looks once a second"
    assert ended(running.step()) == (ExitCode.DONE, SessionState.STOPPED)


def test_it_restarts_when_asked_since_it_began(running: Running) -> None:
    sessions.restart(running.session.id, now=running.now)

    assert ended(running.step()) == (ExitCode.DONE, SessionState.WAITING)


def test_it_waits_for_its_host_when_that_is_stopped(running: Running) -> None:
    running.is_asked = True

    assert ended(running.step(seconds=0)) == (ExitCode.DONE, SessionState.WAITING)


def test_it_stays_stopped_when_its_host_ends_as_well(running: Running) -> None:
    sessions.stop(running.session.id, now=running.now)
    running.is_asked = True

    assert ended(running.step(seconds=0)) == (ExitCode.DONE, SessionState.STOPPED)


def test_it_ends_for_good_when_its_row_is_gone(running: Running) -> None:
    SenderSession.objects.all().delete()

    assert running.step() == SessionEnd(ExitCode.FINAL)


def test_a_stop_keeps_the_time_until_which_it_has_to_wait(running: Running) -> None:
    running.step(events.RateLimited(600), seconds=0)
    sessions.stop(running.session.id, now=running.now)

    assert ended(running.step()) == (ExitCode.DONE, SessionState.RATE_LIMITED)


def test_it_says_at_once_why_it_ends(running: Running) -> None:
    assert running.step(events.Replaced()) == SessionEnd(ExitCode.FINAL)
    assert SenderSession.objects.get().state == SessionState.CONFLICT


def test_it_writes_its_activity_every_ten_seconds(running: Running) -> None:
    first = SenderSession.objects.get().last_event_at
    running.step(events.KeptAlive())
    assert SenderSession.objects.get().last_event_at == first

    running.step(events.KeptAlive(), seconds=10)
    assert SenderSession.objects.get().last_event_at == running.now
