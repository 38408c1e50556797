"""The receiver's view of the tenants: in memory, fresh within a second, checked again before a
refusal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from workspaces import directory
from workspaces.directory import Directory, Route

logger = logging.getLogger("sigma.whatsapp.webhooks")

POLL_SECONDS = 1.0
# A stranger who hammers us with bad signatures must not become a load on the database.
RECHECK_SECONDS = 0.5

# Stands in for unknown tenants, so that they take as long to refuse as wrong signatures.
DECOY = Route(UUID(int=0), "", (os.urandom(32),), (os.urandom(32),))

T = TypeVar("T")
RunSync = Callable[[Callable[[], T]], Awaitable[T]]


class DirectoryUnavailable(Exception):
    """The tenants are not known yet: the database has been away since the process started."""


class Routes:
    """Keep the directory current; ``run_sync`` runs a function that may use the database in a
    thread.
    """

    def __init__(self, *, run_sync: RunSync[object]) -> None:
        self._run_sync = run_sync
        self._directory: Directory | None = None
        self._checked_at = 0.0
        self._lock = asyncio.Lock()

    async def find(self, segment: str, accepts: Callable[[Route], bool]) -> Route | None:
        """Return the route of a URL segment if ``accepts`` agrees, else ``None``.

        Before refusing, look once more whether the directory has changed: a secret that was rotated
        a moment ago counts.

        Raises:
            DirectoryUnavailable: nothing is known, so nothing can be judged.
        """
        seen = self._directory
        route = self._lookup(segment)
        if accepts(route):
            return route
        await self._recheck()
        if self._directory is None:
            raise DirectoryUnavailable
        if self._directory is seen:
            return None
        route = self._lookup(segment)
        return route if accepts(route) else None

    async def watch(self) -> None:
        """Refresh for as long as the process lives."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # whatever it was, the next round tries again
                logger.warning(
                    "whatsapp tenant directory not refreshed", extra={"error": type(error).__name__}
                )
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Load the directory again if it has changed."""
        async with self._lock:
            await self._run_sync(self._load_if_changed)
            self._checked_at = time.monotonic()

    def _lookup(self, segment: str) -> Route:
        return (self._directory and self._directory.find(segment)) or DECOY

    async def _recheck(self) -> None:
        if time.monotonic() - self._checked_at < RECHECK_SECONDS:
            return
        with suppress(Exception):  # the watcher logs it; the answer here is a refusal
            await self.refresh()

    def _load_if_changed(self) -> None:
        now, known = datetime.now(UTC), self._directory
        expired = known is not None and known.next_expiry is not None and known.next_expiry <= now
        if known is not None and not expired and directory.current_version() == known.version:
            return
        self._directory = directory.load(now)
