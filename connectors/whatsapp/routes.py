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
NEVER = float("inf")


class DirectoryUnavailable(Exception):
    """The tenants are not known yet: the database has been away since the process started."""


class Routes:
    """Keep the directory current; ``run_sync`` runs a function that may use the database in a
    thread.
    """

    def __init__(self, *, run_sync: RunSync[Directory | None]) -> None:
        self._run_sync = run_sync
        # As loaded; and without what has expired since.
        self._directory: Directory | None = None
        self._live: Directory | None = None
        self._next_expiry = NEVER
        # App secrets of the tenant who has most of them.
        self.most_secrets = 1
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
            await self._load()

    def _lookup(self, segment: str) -> Route:
        if time.time() >= self._next_expiry and self._directory is not None:
            self._show(self._directory.at(datetime.now(UTC)))
        return (self._live and self._live.find(segment)) or DECOY

    async def _recheck(self) -> None:
        """Refresh, unless that was done a moment ago: by whoever we waited for, for instance."""
        with suppress(Exception):  # the watcher logs it; the answer here is a refusal
            async with self._lock:
                if time.monotonic() - self._checked_at >= RECHECK_SECONDS:
                    await self._load()

    async def _load(self) -> None:
        try:
            found = await self._run_sync(self._load_if_changed)
        finally:  # a database that is away is not asked by every stranger either
            self._checked_at = time.monotonic()
        if found is not None:
            self._directory = found
            self._show(found)

    def _show(self, live: Directory) -> None:
        self._live = live
        everybody = (live.installation, *live.routes.values())
        self.most_secrets = max(1, *(len(route.app_secrets) for route in everybody))
        self._next_expiry = live.next_expiry.timestamp() if live.next_expiry else NEVER

    def _load_if_changed(self) -> Directory | None:
        now, known = datetime.now(UTC), self._directory
        expired = known is not None and known.next_expiry is not None and known.next_expiry <= now
        if known is not None and not expired and directory.current_version() == known.version:
            return None
        return directory.load(now)
