"""Kill one role after another with SIGKILL, each as soon as the one before plays again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.installation import Installation

ROLES = (
    "web",
    "worker",
    "sending",
    "postgres",
    "valkey",
    "beat",
    "maintenance",
    "pool",
    "sending-pool",
    "backend",
)
# Somebody's child: a pool process of a worker, a connection of PostgreSQL.
PARENTS = {"pool": "worker", "sending-pool": "sending", "backend": "postgres"}


@dataclass(slots=True)
class Killer:
    """Kills until ``progress`` (0 to 1) says that the traffic is over."""

    installation: Installation
    roles: tuple[str, ...]
    rounds: int
    kills: Counter[str] = field(default_factory=Counter)

    async def run(self, progress: Callable[[], float]) -> None:
        """Spread ``rounds`` of kills evenly over the traffic."""
        targets = self.roles * self.rounds
        for number, role in enumerate(targets):
            # The first blow comes early, the last while there is still traffic.
            while progress() < (number + 0.5) / (len(targets) + 0.5):
                await asyncio.sleep(0.01)
            await self._kill(role)

    @property
    def is_proof(self) -> bool:
        """Whether it hit, as often as it was to."""
        return self.kills.total() == len(self.roles) * self.rounds > 0

    def facts(self) -> tuple[str, str]:
        """Return what was done, as a row of the table."""
        each = ", ".join(f"{role} {n}" for role, n in self.kills.items())
        return "killed with -9", f"{self.kills.total()} times: {each}"

    async def _kill(self, role: str) -> None:
        before = self.kills[role]
        while self.kills[role] == before:
            pid = self._find(role)
            if pid is None:
                await asyncio.sleep(0.02)
                continue
            with suppress(ProcessLookupError):  # it ended by itself since
                os.kill(pid, signal.SIGKILL)
                self.kills[role] += 1

    def _find(self, role: str) -> int | None:
        pid = self.installation.pid(PARENTS.get(role, role))
        if pid is None or role not in PARENTS:
            return pid if pid and _is_alive(pid) else None
        children = _children(pid)
        return children[-1] if children else None


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _children(parent: int) -> list[int]:
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]
