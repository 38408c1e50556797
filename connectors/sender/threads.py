"""Ask the database away from the event loop: a few threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

T = TypeVar("T")


class Threads:
    """So many threads for work that blocks."""

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, name, self._begin)
        self._connections: list[BaseDatabaseWrapper] = []

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _with_fresh_connection, work)

    def close(self) -> None:
        """Take nothing more, wait for what is under way, and hang up."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for one in self._connections:
            one.close()

    def _begin(self) -> None:
        for one in connections.all():
            one.inc_thread_sharing()  # closed by whoever closes us
            self._connections.append(one)


def _with_fresh_connection(work: Callable[[], T]) -> T:
    close_old_connections()
    return work()
