"""Whether processes get anywhere: on a busy machine a slow start is not a broken one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Less than this in a whole window is a process that only looks whether something has changed.
SECONDS_OF_WORK = 1.0
TICKS = os.sysconf("SC_CLK_TCK")


class Progress:
    """How long a process and all it started have done nothing, by the processor time they took.

    Without ``/proc`` nothing is seen of that, and every process is one that does nothing.
    """

    def __init__(self) -> None:
        self._moved, self._used, self._pid = time.monotonic(), 0.0, 0

    def idle_seconds(self, pid: int) -> float:
        """Return the seconds since ``pid`` last did something; another process is a new start."""
        used = _processor_seconds(pid)
        if pid != self._pid or used >= self._used + SECONDS_OF_WORK:
            self._moved, self._used, self._pid = time.monotonic(), used, pid
        return time.monotonic() - self._moved


def _processor_seconds(root: int) -> float:
    """Return what a process, its descendants, and those of them that ended have used."""
    if not root:
        return 0.0
    parents, ticks = {}, {}
    for pid, parent, used in _processes():
        parents[pid], ticks[pid] = parent, used
    return sum(used for pid, used in ticks.items() if _descends(pid, root, parents)) / TICKS


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield each process's id, its parent's, and its clock ticks (proc(5), ``stat``)."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            yield int(entry.name), int(fields[1]), sum(map(int, fields[11:15]))
