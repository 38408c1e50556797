"""Collect items for a moment and write them together, in a thread with a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from django.db import connections

logger = logging.getLogger("sigma.whatsapp.batcher")

Item = TypeVar("Item")
Result = TypeVar("Result")
T = TypeVar("T")


class Batcher(ABC, Generic[Item, Result]):
    """Writes for one event loop: one batch at a time, up to ``most`` items in each, and those that
    come within ``pause`` seconds together.
    """

    def __init__(self, *, thread: str, pause: float, most: int) -> None:
        self._pause, self._most = pause, most
        self._waiting: list[tuple[Item, asyncio.Future[Result | None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=thread)

    @abstractmethod
    async def write(self, items: Sequence[Item]) -> Sequence[Result | None]:
        """Write a batch; return the result of each item, in their order."""

    async def add(self, item: Item) -> Result | None:
        """Return an item's result once its batch is written; ``None`` where that failed or was cut
        off.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result | None] = loop.create_future()
        self._waiting.append((item, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        return await done

    async def in_thread(self, work: Callable[[Sequence[Item]], T], items: Sequence[Item]) -> T:
        """Return what ``work`` does with the items, in the thread for it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, items)

    def close(self) -> None:
        """End the thread and its connection."""
        self._executor.submit(connections.close_all)
        self._executor.shutdown()

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._pause)
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._write(batch)
        finally:
            self._writing = None

    async def _write(self, batch: Sequence[tuple[Item, asyncio.Future[Result | None]]]) -> None:
        results: Sequence[Result | None] = [None] * len(batch)
        try:
            results = await self.write([item for item, _ in batch])
        except Exception as error:  # a bug: the next batch may not meet it
            logger.error("whatsapp batch not written", exc_info=error)
        finally:
            for (_, done), result in zip(batch, results, strict=True):
                if not done.done():  # else it was cancelled: the process ends
                    done.set_result(result)
