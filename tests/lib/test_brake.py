"""A brake is shared by the threads of a process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lib.brake import MOST_ALIKE, Brake, Stopped

THREADS, ROUNDS = 8, 2_000


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_it_is_judged_by_many_threads_at_once() -> None:
    brake = Brake("test")
    trouble: list[Exception] = []
    start = threading.Barrier(THREADS)

    def work(own: int) -> None:
        start.wait()
        try:
            for n in range(ROUNDS):
                kind = own, n % 50
                with suppress(Stopped):
                    brake.judge([(None, ValueError())], step="work", passed=False, kind=kind)
                brake.judge((), step="work", passed=True, kind=kind)
        except Exception as error:
            trouble.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert trouble == []


def test_it_counts_every_failure_of_every_thread() -> None:
    brake = Brake("test")
    stopped: list[Stopped] = []

    def fail() -> None:
        try:
            brake.judge([(None, ValueError())], step="work", passed=False)
        except Stopped as stop:
            stopped.append(stop)

    threads = [threading.Thread(target=fail) for _ in range(MOST_ALIKE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(stopped) == 1
