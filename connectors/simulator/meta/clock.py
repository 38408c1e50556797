"""Virtual time: real time plus an offset that only grows, and what is due at a moment of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush

# Things due closer together than this happen in one go, which is what makes batches.
TICK = 0.002


class Clock:
    """The simulator's time in Unix seconds, whatever becomes of the machine's."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self.advanced = 0.0

    def now(self) -> float:
        """Return the virtual time, Unix seconds."""
        return time.monotonic() + self._offset + self.advanced

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds`` (at least 0) at once."""
        self.advanced += max(0.0, seconds)


class Agenda:
    """What happens later: on the running event loop's thread, in the order of virtual time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def __len__(self) -> int:
        """Return how much is still to come."""
        return len(self._due)

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Do ``action`` at ``due`` (virtual Unix seconds), at once if that has passed."""
        self._count += 1
        heappush(self._due, (due, self._count, action))
        if self._timer is None or due < self._timer_due:
            self._arm()

    def run(self) -> None:
        """Do whatever is due; call it after the clock was advanced."""
        now = self._clock.now() + TICK
        while self._due and self._due[0][0] <= now:
            heappop(self._due)[2]()
        self._timer = None
        self._arm()

    def clear(self) -> None:
        """Forget everything that was to come."""
        self._due.clear()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer_due = self._due[0][0]
            delay = max(TICK, self._timer_due - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self.run)
