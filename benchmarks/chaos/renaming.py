"""Rename a column that every message needs, for a while, as a migration of another version does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from benchmarks.chaos.installation import Installation

AWAY = "ALTER TABLE messages RENAME text TO elsewhere"
BACK = "ALTER TABLE messages RENAME elsewhere TO text"
STOPPED = "SELECT (SELECT count(*) FROM stopped_work), (SELECT count(*) FROM webhook_pending)"
# The share of the traffic before it, so that something is stored first.
BEGINS_AT = 0.1


@dataclass(slots=True)
class Renamer:
    """Renames for ``seconds``, once. ``waiting`` is how many callbacks waited in the end, if the
    work was stopped by then: 0 means that nothing was tried.
    """

    installation: Installation
    seconds: float
    waiting: int = 0

    async def run(self, progress: Callable[[], float]) -> None:
        """Begin a little after the traffic (``progress``: 0 to 1)."""
        while progress() < BEGINS_AT:
            await asyncio.sleep(0.01)
        url = self.installation.owner_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(AWAY)
            try:
                await asyncio.sleep(self.seconds)
                found = await (await connection.execute(STOPPED)).fetchone()
            finally:
                await connection.execute(BACK)
        lines, waiting = found or (0, 0)
        self.waiting = waiting if lines else 0

    @property
    def is_proof(self) -> bool:
        """Whether it hit: work was stopped, and callbacks waited."""
        return self.waiting > 0

    def facts(self) -> tuple[str, str]:
        """Return what was done, as a row of the table."""
        return "messages.text renamed", f"for {self.seconds:.0f} s; {self.waiting:,} then waited"
