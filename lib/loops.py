"""What event loops share: threads for what asks the database, and how work under way is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")


async def cancel_others() -> None:
    """Cancel every other task of the running loop, and wait until all have ended."""
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class DatabaseThreads:
    """So many threads for work that asks the database, each with a connection of its own."""

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, name, self._begin)
        self._connections: list[BaseDatabaseWrapper] = []

    async def run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Return what ``work`` returns, or raise what it raises."""

        def step() -> T:
            close_old_connections()
            return work(*arguments, **named)

        return await asyncio.get_running_loop().run_in_executor(self._executor, step)

    def close(self) -> None:
        """Take nothing more, wait for what is under way, and close the connections."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for one in self._connections:
            one.close()

    def _begin(self) -> None:
        for one in connections.all():
            one.inc_thread_sharing()  # closed by whoever closes us
            self._connections.append(one)
