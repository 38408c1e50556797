"""The work loop leaves nobody uncalled behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from lib import wakeups, work
from lib.brake import Brake
from lib.wakeups import WakeUp

WAKE_UP = WakeUp(name="test-work", task="test.none", queue="test-work")


class Steps(work.Work):
    """Work whose steps find what a test says."""

    what = "steps"
    wake_up = WAKE_UP
    brake = Brake("test-work")
    logger = logging.getLogger("sigma.test")
    idle_wait = 0.0

    def __init__(self, *found: int) -> None:
        self._found = iter(found)

    def step(self) -> int:
        return next(self._found)

    def pause(self, count: int, spent: float) -> float:
        return 0.0

    def end_turn(self) -> None:
        WAKE_UP.hold()  # as a turn does that waits for what is under way


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    wakeups.broker().delete(WAKE_UP.queue, WAKE_UP.key())


def test_what_the_last_look_finds_calls_another_turn() -> None:
    assert work.run(Steps(0, 1)) == 1
    assert wakeups.broker().llen(WAKE_UP.queue) == 1


def test_a_turn_that_finds_nothing_leaves_no_key() -> None:
    assert work.run(Steps(3, 0, 0)) == 3
    assert not wakeups.broker().exists(WAKE_UP.key())
    assert WAKE_UP.notify()


def test_nobody_is_called_for_a_moment_while_the_database_is_away(monkeypatch, db: None) -> None:
    class Away(Steps):
        def step(self) -> int:
            raise OperationalError

    monkeypatch.setattr(work.connection, "close", lambda: None)
    assert work.run(Away()) == 0
    assert 0 < wakeups.broker().pttl(WAKE_UP.key()) <= 1_000 * work.AWAY_SECONDS
