"""The cache of keys, from many threads at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from lib.ttl import TtlCache

THREADS, SIZE = 8, 50


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads interrupt one another at every step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_it_is_safe_between_threads_once_it_is_full(hasty: None) -> None:
    cache: TtlCache[int, int] = TtlCache(seconds=60, size=SIZE)
    barrier = Barrier(THREADS)

    def use(thread: int) -> None:
        barrier.wait()
        for number in range(5_000):
            key = thread * 10_000 + number % 200
            assert cache.put(key, key) == key
            assert cache.get_or_load(key, lambda key=key: key) == key
            assert cache.get(key - 1) in (None, key - 1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(use, range(THREADS)))

    assert (
        sum(
            cache.get(thread * 10_000 + n) is not None
            for thread in range(THREADS)
            for n in range(200)
        )
        <= SIZE
    )


def test_it_forgets_what_was_not_used_for_longest() -> None:
    cache: TtlCache[str, int] = TtlCache(seconds=60, size=2)
    cache.put("first", 1)
    cache.put("second", 2)
    cache.get("first")
    cache.put("third", 3)

    assert [cache.get(key) for key in ("first", "second", "third")] == [1, None, 3]
    cache.forget("first")
    cache.forget("absent")
    assert [cache.get(key) for key in ("first", "third")] == [None, 3]
    cache.clear()
    assert cache.get("third") is None
