"""A working day of a session on a clock that a test turns: nothing is missed, and nothing grows."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from random import Random

import pytest
from django.db import OperationalError
from pytest_django.fixtures import Settings

from connectors.linked_device import events, logs
from connectors.linked_device.delivering import IDLE_SECONDS as NOTHING_DUE
from connectors.linked_device.delivering import Deliverer
from connectors.linked_device.events import LinkedAccount, MessageArrived, Sent
from connectors.linked_device.intake import DeviceInbox
from connectors.linked_device.leases import Lease, LeaseKeeper
from connectors.linked_device.machine import Machine, MachineEvent, RateLimitWait
from connectors.linked_device.models import SenderSession, SessionState
from connectors.linked_device.record import DatabaseRetry, DesiredState, LastActivity, Record
from connectors.linked_device.session_loop import IDLE_SECONDS as NOT_NOW
from connectors.linked_device.session_loop import Dispatch, SessionLoop, observed
from connectors.whatsapp.models import WebhookPending
from messaging.models import Message
from tests.conftest import Cast
from tests.linked_device import sends
from workspaces.channel_errors import Throttled

# The keeper hangs up when the database is away, which ends a transaction around a test.
pytestmark = pytest.mark.django_db(transaction=True)

MINUTE, HOUR = 60.0, 3600.0
DAY = 8 * HOUR
# What happens, and for how long: WhatsApp asks to slow down, a connection and a database are lost.
SLOW, GONE, AWAY = (3 * HOUR, HOUR / 2), (5 * HOUR, 40.0), (6 * HOUR, 30.0)
NOTHING_TO_DO = (NOTHING_DUE, NOT_NOW)
ACCOUNT = LinkedAccount(number="447700900123")
FILE_BYTES, FILES = 2_000, 3


def within(spell: tuple[float, float], seconds: float) -> bool:
    """Return whether a time of the day is in a spell: its begin, and how long it lasts."""
    return spell[0] <= seconds < sum(spell)


class Clock:
    """Time that passes when a test says so; what was planned happens in turn."""

    def __init__(self, start: datetime) -> None:
        self.start, self.seconds = start, 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def now(self) -> datetime:
        """The moment it is."""
        return self.start + timedelta(seconds=self.seconds)

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan something for a time of the day."""
        heapq.heappush(self._plans, (max(seconds, self.seconds), next(self._order), action))

    def every(self, pause: float, action: Callable[[], None]) -> None:
        """Do something now and again after every pause."""
        action()
        self.at(self.seconds + pause, lambda: self.every(pause, action))

    def run(self, until: float) -> None:
        """Let the time pass."""
        while self._plans and self._plans[0][0] <= until:
            self.seconds, _, action = heapq.heappop(self._plans)
            action()
        self.seconds = until


class Notes(Record):
    """The session's record; what is written thousands of times is only counted."""

    def __init__(self, session: SenderSession, lease: Lease) -> None:
        super().__init__(session, lease)
        self.stood: list[str] = []
        self.signed = 0

    def desired_state(self) -> DesiredState:
        """Nobody wants anything else all day."""
        return DesiredState("RUNNING")

    def write_activity(self, taken: dict[str, datetime]) -> None:
        """Count it."""
        self.signed += bool(taken)

    def write_status(self, new, *, now: datetime) -> None:
        """Write it down, and remember the order."""
        self.stood.append(new.state.value)
        super().write_status(new, now=now)


class Day:
    """A session at work, without threads; the phone, the people and the database as planned."""

    def __init__(self, session: SenderSession, lease: Lease, start: datetime) -> None:
        self.clock, self.events = Clock(start), SimpleQueue[MachineEvent]()
        self.renewals: list[float] = []
        self.lost: list[str] = []
        self.sent: list[float] = []
        self.longest_queue = 0
        self.was_throttled = False
        self.record, activity = Notes(session, lease), LastActivity()
        self.machine = Machine(is_paired=True, limit=RateLimitWait(), now=start)
        device = sends.FakeDevice(self.answer)
        send_text = observed(device.send_text, listen=self.events.put, activity=activity)
        deliverer = Deliverer(
            session=session,
            lease=lease,
            send_text=send_text,
            clock=lambda: self.clock.seconds,
            chance=Random(8),
        )
        self.dispatch = Dispatch(
            deliverer.send_next,
            settle=deliverer.settle,
            may_send=lambda: self.machine.may_send,
            on_lost=self.lost.append,
        )
        self.inbox = DeviceInbox(session=session)
        self.keeper = LeaseKeeper(
            lease, on_lost=self.lost.append, clock=lambda: self.clock.seconds, renew=self.renew
        )
        self.loop = SessionLoop(
            machine=self.machine,
            record=self.record,
            activity=activity,
            events=self.events,
            ask_code=lambda: None,
            retry=DatabaseRetry("day", wait=lambda _: None),
            first=DesiredState("RUNNING"),
            is_asked_to_end=lambda: False,
        )

    def answer(self, number: str, text: str) -> Sent | Exception:
        """Take a message, or ask once to slow down."""
        if self.clock.seconds >= SLOW[0] and not self.was_throttled:
            self.was_throttled = True
            return Throttled(SLOW[1])
        self.sent.append(self.clock.seconds)
        return Sent(f"3EB0{len(self.sent):016X}")

    def renew(self, lease: Lease) -> None:
        """Renew, unless the database is away."""
        if within(AWAY, self.clock.seconds):
            raise OperationalError("away")
        self.renewals.append(self.clock.seconds)

    def beat(self) -> None:
        """Keep the lease, and plan to do so again when its keeper says."""
        self.keeper.check(self.clock.seconds)
        pause = self.keeper.renew_if_due(self.clock.seconds)
        self.clock.at(self.clock.seconds + pause, self.beat)

    def send(self) -> None:
        """Take turns at sending while there is anything to send."""
        pause = self.dispatch.step(self.clock.now)
        if pause not in NOTHING_TO_DO:
            self.clock.at(self.clock.seconds + max(pause, 0.01), self.send)

    def keep_alive(self) -> None:
        """Let the server answer, while there is a connection."""
        if self.machine.status.state != SessionState.DISCONNECTED:
            self.handle(events.KeptAlive())

    def handle(self, event: events.Event) -> None:
        """Let the device report something."""
        if isinstance(event, MessageArrived):
            self.inbox.keep([event], now=self.clock.now)
        else:
            self.events.put(event)
            self.step()

    def step(self) -> None:
        """Let the loop handle all there is."""
        self.longest_queue = max(self.longest_queue, self.events.qsize())
        for _ in range(self.events.qsize() + 1):
            assert self.loop.step(self.loop.wait(0), now=self.clock.now) is None


@pytest.fixture
def log(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """The folder of the session's log files, small ones."""
    settings.SIGMA_SENDER_STORE = tmp_path
    before = list(logs.logger.handlers)
    logs.attach("day", size=FILE_BYTES, files=FILES)
    yield tmp_path / "logs"
    for handler in set(logs.logger.handlers) - set(before):
        logs.logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def day(acme: Cast, now: datetime, log: Path) -> Day:
    """A working day: people write, people are written to, and three things go wrong."""
    session = sends.linked(acme, wanted="RUNNING", paired_at=now, failures=3)
    one = Day(session, sends.leased(session), now)
    clock = one.clock
    one.step()
    one.beat()
    clock.at(1, lambda: one.handle(events.Connected(ACCOUNT)))
    clock.at(2, lambda: clock.every(25, one.keep_alive))
    clock.at(GONE[0], lambda: one.handle(events.Disconnected("EOF")))
    clock.at(sum(GONE), lambda: one.handle(events.Connected(ACCOUNT)))

    def write(number: int) -> None:
        sends.queue(acme, clock.now, number=f"2783{number:07}")
        one.send()

    def read(number: int) -> None:
        one.handle(sends.said(clock.now, f"3EB0{number:04}"))

    busy = [HOUR] * 8 + [SLOW[0], SLOW[0] + MINUTE, GONE[0] + 10]
    for number, at in enumerate([*busy, *(HOUR * n / 2 for n in range(1, 16))]):
        clock.at(at, partial(write, number))
        clock.at(at, partial(read, number))
    for minute in range(0, 8 * 60, 5):  # as its thread would, much more often
        clock.at(minute * MINUTE, one.send)
    return one


def lasted(day: Day) -> None:
    """Its lease was renewed in time, its states followed the day, and nothing piled up."""
    assert day.lost == []
    assert max(after - before for before, after in pairwise([*day.renewals, DAY])) <= 45
    assert day.record.stood == [
        "STARTING",
        "CONNECTED",
        "RATE_LIMITED",
        "CONNECTED",
        "DISCONNECTED",
        "CONNECTED",
    ]
    assert (day.events.qsize(), day.machine.ignored) == (0, {})
    assert day.longest_queue <= 2
    assert SenderSession.objects.get().failures == 0
    assert DAY / 60 < day.record.signed <= DAY / 10, "often enough, and not for each event"


def worked(day: Day) -> None:
    """Everything was sent at a person's pace, and nothing while WhatsApp was away or throttled."""
    assert set(Message.objects.values_list("status", flat=True)) == {"accepted"}
    assert len(day.sent) == Message.objects.count() == WebhookPending.objects.count() == 26
    assert min(after - before for before, after in pairwise(day.sent)) >= 1.0
    assert not [at for at in day.sent if within(SLOW, at - 5) or within(GONE, at)]
    assert [at for at in day.sent if within((sum(SLOW), 10 * MINUTE), at)], "it goes on by itself"


def was_written_down(folder: Path) -> None:
    """Its log went round, and never outgrew its files."""
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["day.log", "day.log.1", "day.log.2"]
    assert all(file.stat().st_size <= FILE_BYTES for file in files)
    assert "message sent" in files[1].read_text()


def test_it_lasts_for_eight_hours(day: Day, log: Path) -> None:
    day.clock.run(DAY)

    lasted(day)
    worked(day)
    was_written_down(log)
