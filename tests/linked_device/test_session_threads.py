"""What people wrote is in the inbox before it is acknowledged; sends stop when they must."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import pytest
from django.db import OperationalError

from connectors.linked_device import session_loop
from connectors.linked_device.events import Content, Event, RateLimited, Sent
from connectors.linked_device.intake import Intake, NotKept
from connectors.linked_device.leases import LeaseLost
from connectors.linked_device.record import LastActivity
from connectors.linked_device.session_loop import Dispatch, observed
from tests.linked_device import sends
from workspaces.channel_errors import Rejected, Throttled


class Inbox:
    """An inbox that is away ``misses`` times, and takes nothing that says ``poison``."""

    def __init__(self, misses: int = 0) -> None:
        self.kept: list[Content] = []
        self.misses, self.open = misses, threading.Event()
        self.open.set()

    def keep(self, contents: Sequence[Content], now: datetime) -> None:
        """Keep them all, or none."""
        self.open.wait(120)
        if self.misses:
            self.misses -= 1
            raise OperationalError("away")
        if any(getattr(one, "text", "") == "poison" for one in contents):
            raise ValueError("poison")
        self.kept += contents


@pytest.fixture
def intake() -> Iterator[Callable[[Inbox], Intake]]:
    """Begin to write into an inbox."""
    begun: list[Intake] = []

    def begin(inbox: Inbox) -> Intake:
        begun.append(Intake(inbox.keep))
        begun[-1].start()
        return begun[-1]

    yield begin
    for one in begun:
        one.stop(5)


def test_it_returns_when_the_inbox_has_it_however_often_that_was_away(
    intake: Callable[[Inbox], Intake], now: datetime
) -> None:
    inbox = Inbox(misses=1)

    intake(inbox).take(sends.said(now))
    assert inbox.kept == [sends.said(now)]


def test_it_keeps_everybody_waiting_until_it_is_kept(
    intake: Callable[[Inbox], Intake], now: datetime, wait_for: Callable[..., None]
) -> None:
    inbox = Inbox()
    inbox.open.clear()
    one = intake(inbox)
    said = [sends.said(now, f"3EB0{n}") for n in range(8)]
    threads = [threading.Thread(target=one.take, args=[content]) for content in said]
    for thread in threads:
        thread.start()
    assert [thread.is_alive() for thread in threads] == [True] * 8

    inbox.open.set()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))
    assert {content.id for content in inbox.kept} == {content.id for content in said}


def test_what_cannot_be_kept_is_its_callers_trouble_alone(
    intake: Callable[[Inbox], Intake], now: datetime, wait_for: Callable[..., None]
) -> None:
    inbox = Inbox()
    inbox.open.clear()
    one = intake(inbox)
    good = [threading.Thread(target=one.take, args=[sends.said(now, f"3EB0{n}")]) for n in (1, 2)]
    for thread in good:
        thread.start()
    inbox.open.set()

    with pytest.raises(ValueError, match="poison"):
        one.take(sends.said(now, text="poison"))
    wait_for(lambda: len(inbox.kept) == 2)


def test_it_says_so_when_it_ended_before(intake: Callable[[Inbox], Intake], now: datetime) -> None:
    inbox = Inbox()
    one = intake(inbox)
    one.stop(5)

    with pytest.raises(NotKept):
        one.take(sends.said(now))
    assert inbox.kept == []


class Turns:
    """Turns of sending, each as a test wants it."""

    def __init__(self, answer: Callable[[], float]) -> None:
        self.count, self.settled, self.lost, self.time = 0, 0, [], 0.0
        self.answer, self.may_send = answer, True
        self.dispatch = Dispatch(
            self.turn,
            settle=self.settle,
            may_send=lambda: self.may_send,
            on_lost=self.lost.append,
            clock=lambda: self.time,
        )

    def turn(self, now: datetime) -> float:
        """Take a turn."""
        self.count += 1
        return self.answer()

    def settle(self, now: datetime) -> bool:
        """Need a second try."""
        self.settled += 1
        return self.settled == 2


def raised(error: Exception) -> float:
    raise error


def test_it_takes_no_turn_while_nothing_may_be_sent(now: datetime) -> None:
    turns = Turns(lambda: 3.0)
    turns.may_send = False
    turns.dispatch.step(now)
    assert turns.count == 0

    turns.may_send = True
    assert (turns.dispatch.step(now), turns.count) == (3.0, 1)


def test_it_ends_the_process_when_the_lease_is_lost(now: datetime) -> None:
    turns = Turns(lambda: raised(LeaseLost("gone")))
    turns.dispatch.step(now)

    assert turns.lost == ["whatsapp session lost its lease: gone"]


def test_it_goes_on_after_the_database_was_away(now: datetime) -> None:
    turns = Turns(lambda: raised(OperationalError("away")))

    assert 0 < turns.dispatch.step(now) < 1


def test_it_waits_for_the_send_under_way_and_settles_it(wait_for: Callable[..., None]) -> None:
    begun, done = threading.Event(), threading.Event()
    turns = Turns(lambda: float(begun.set() or done.wait(120)))
    turns.dispatch.start()
    begun.wait(120)
    assert not turns.dispatch.stop(0.05), "it is in the middle of a send"

    done.set()
    assert turns.dispatch.stop(10)
    assert (turns.count, turns.settled) == (1, 2)


def test_it_reports_a_send_that_does_not_come_back(wait_for: Callable[..., None]) -> None:
    begun, done = threading.Event(), threading.Event()
    turns = Turns(lambda: float(begun.set() or done.wait(120)))
    turns.dispatch.start()
    begun.wait(120)
    turns.time = session_loop.HUNG_SECONDS
    assert not turns.dispatch.hangs

    turns.time += 1
    assert turns.dispatch.hangs
    done.set()
    wait_for(lambda: not turns.dispatch.hangs)
    assert turns.dispatch.stop(10)


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (Throttled(60), [RateLimited(60)]),
        (Throttled(), [RateLimited(None)]),
        (Rejected(1, "no"), []),
    ],
    ids=["throttled", "throttled for a time nobody knows", "rejected"],
)
def test_the_session_learns_that_whatsapp_asks_to_slow_down(
    answer: Exception, events: list[Event]
) -> None:
    reported: list[Event] = []
    activity = LastActivity()
    fake = sends.FakeDevice(lambda *_: answer)
    send_text = observed(fake.send_text, listen=reported.append, activity=activity)

    with pytest.raises(type(answer)):
        send_text("27711558396", "Hello")
    assert (reported, activity.take()) == (events, {})


def test_the_session_notices_that_something_left() -> None:
    activity = LastActivity()
    fake = sends.FakeDevice(lambda *_: Sent("3EB0"))
    send_text = observed(fake.send_text, listen=print, activity=activity)
    send_text("27711558396", "Hello")

    assert set(activity.take()) == {"last_sent_at"}
    assert activity.take() == {}
