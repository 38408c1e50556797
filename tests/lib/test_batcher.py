"""Who collects items to write them together leaves nobody waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from lib.batcher import ThreadBatcher


class Numbers(ThreadBatcher[int, int]):
    """Writes numbers; of a batch that holds 0 it cannot."""

    def __init__(self) -> None:
        super().__init__(thread="numbers", pause=0.01, most=3)
        self.batches: list[Sequence[int]] = []

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(items)
        return [10 // item for item in items]


@pytest.fixture
def numbers() -> Iterator[Numbers]:
    numbers = Numbers()
    yield numbers
    numbers.close()


def run(scene: Callable[[], Awaitable[list[int | None]]]) -> list[int | None]:
    async def bounded() -> list[int | None]:
        async with asyncio.timeout(5):
            return await scene()

    return asyncio.run(bounded())


def test_it_writes_together_what_comes_together(numbers: Numbers) -> None:
    async def scene() -> list[int | None]:
        return list(await asyncio.gather(*(numbers.add(n) for n in (1, 2, 5, 10))))

    assert run(scene) == [10, 5, 2, 1]
    assert numbers.batches == [[1, 2, 5], [10]]


def test_after_a_write_that_failed_it_writes_what_comes_then(
    numbers: Numbers, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> list[int | None]:
        first = list(await asyncio.gather(*(numbers.add(n) for n in (1, 2, 0, 10))))
        return [*first, await numbers.add(0), await numbers.add(5)]

    assert run(scene) == [None, None, None, 1, None, 2]
    assert caplog.text.count("ZeroDivisionError") == 2
