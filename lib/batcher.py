"""Collect items and write them together: those that come while a batch is being written, or within
a moment, are the next one.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from django.db import connections

logger = logging.getLogger("sigma.whatsapp.batcher")

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")
Waiting = tuple[Item, asyncio.Future[Result | None]]


class Batcher(ABC, Generic[Item, Result]):
    """Writes for one event loop: one batch at a time, up to ``most`` items in each, and those that
    come within ``pause`` seconds together. Who waits is answered whatever happens.

    One task, the ``writer``, writes batch after batch and ends when none is ``waiting``. Another
    may take its place: then it neither goes on nor answers anybody.
    """

    def __init__(self, *, most: int, pause: float = 0.0) -> None:
        self._most, self._pause = most, pause
        self.waiting: list[Waiting[Item, Result]] = []
        self.writer: asyncio.Task[None] | None = None

    @abstractmethod
    async def write(self, items: Sequence[Item]) -> Sequence[Result | None]:
        """Write a batch; return the result of each item, in their order."""

    def add(self, item: Item) -> asyncio.Future[Result | None]:
        """Return an item's result, to be awaited: it is there once its batch is written; ``None``
        where that failed or was cut off.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result | None] = loop.create_future()
        self.waiting.append((item, done))
        if self.writer is None:
            self.writer = loop.create_task(self.write_all())
        return done

    def next_count(self) -> int:
        """Return how many of those that wait are the next batch."""
        return min(len(self.waiting), self._most)

    def take(self, count: int) -> list[Waiting[Item, Result]]:
        """Take so many from the front of those that wait."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    async def write_all(self, *, after: Callable[[], Awaitable[None]] | None = None) -> None:
        """Write what waits, as the writer, once ``after`` has ended."""
        try:
            if after is not None:
                await after()
            while self.waiting and self.is_writer():
                # Also without a pause: those whose batch was just written go on, and what they add
                # at once is in this one. Fewer and larger batches cost less for each item.
                await asyncio.sleep(self._pause)
                await self.write_batch(self.take(self.next_count()))
        except BaseException as error:  # the process ends: nobody is left who would answer them
            if self.is_writer():
                self.refuse(self.take(len(self.waiting)), error)
            raise
        finally:
            if self.is_writer():
                self.writer = None

    async def write_batch(self, batch: Sequence[Waiting[Item, Result]]) -> None:
        """Write a batch, and answer those who wait for it."""
        try:
            results = await self.write([item for item, _ in batch])
        except Exception as error:  # a bug: the next batch may not meet it
            logger.error("whatsapp batch not written", exc_info=error)
            self.refuse(batch, error)
        except BaseException as error:
            self.refuse(batch, error)
            raise
        else:
            self.answer(batch, results)

    def is_writer(self) -> bool:
        """Whether the running task still is the writer."""
        return asyncio.current_task() is self.writer

    def answer(
        self, batch: Sequence[Waiting[Item, Result]], results: Sequence[Result | None]
    ) -> None:
        """Give everybody their result."""
        for (_, done), result in zip(batch, results, strict=True):
            if not done.done():  # else who waited was cancelled
                done.set_result(result)

    def refuse(self, batch: Sequence[Waiting[Item, Result]], error: BaseException) -> None:
        """Tell all of a batch that it was not written."""
        self.answer(batch, [None] * len(batch))


class ThreadBatcher(Batcher[Item, Result]):
    """A batcher that writes in a thread with a connection of its own."""

    def __init__(self, *, thread: str, pause: float, most: int) -> None:
        super().__init__(most=most, pause=pause)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=thread)

    async def in_thread(self, work: Callable[[Sequence[Item]], T], items: Sequence[Item]) -> T:
        """Return what ``work`` does with the items, in the thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, items)

    def close(self) -> None:
        """End the thread and its connection."""
        self._executor.submit(connections.close_all)
        self._executor.shutdown()
