"""Meta's limits as arithmetic: how often something may happen, at times given by the caller.

https://developers.facebook.com/documentation/business-messaging/whatsapp/throughput
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

NANO = 1_000_000_000


@dataclass(slots=True)
class Bucket:
    """``rate`` per second on average, at most ``burst`` at once (GCRA)."""

    rate: float
    burst: int
    # In whole nanoseconds: a thousand additions to a float of this size would drift.
    _full_at: int = 0

    def take(self, now: float) -> bool:
        """Whether one more may happen at ``now``; if so it is counted."""
        moment, step = int(now * NANO), int(NANO / self.rate)
        full_at = max(self._full_at, moment) + step
        if full_at - moment > self.burst * step:
            return False
        self._full_at = full_at
        return True

    def is_full(self, now: float) -> bool:
        """Whether nothing of it is used."""
        return self._full_at <= int(now * NANO)

    def wait(self, now: float) -> float:
        """Return the seconds until the next one may happen."""
        moment, step = int(now * NANO), int(NANO / self.rate)
        return max(0, max(self._full_at, moment) + step - self.burst * step - moment) / NANO


@dataclass(slots=True)
class Window:
    """At most ``limit`` within any ``seconds``."""

    limit: int
    seconds: float
    _times: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> bool:
        """Whether one more may happen at ``now``; if so it is counted."""
        self._forget(now)
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True

    def used(self, now: float) -> float:
        """Return the percentage that is used up."""
        self._forget(now)
        return 100 * len(self._times) / self.limit

    def wait(self, now: float) -> float:
        """Return the seconds until the next one may happen."""
        self._forget(now)
        is_full = len(self._times) >= self.limit
        return self._times[0] + self.seconds - now if is_full else 0.0

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()


@dataclass(slots=True)
class Reached:
    """The different people written to within any ``seconds``: at most ``limit`` of them."""

    limit: int | None
    seconds: float = 24 * 3600
    _since: dict[str, float] = field(default_factory=dict)

    def take(self, who: str, now: float) -> bool:
        """Whether ``who`` may be written to at ``now``; if so that is counted."""
        if self.limit is None:
            return True
        # In order of time: whoever has run out leaves before he may come back at the end.
        while self._since and next(iter(self._since.values())) <= now - self.seconds:
            del self._since[next(iter(self._since))]
        if who in self._since:
            return True
        if len(self._since) >= self.limit:
            return False
        self._since[who] = now
        return True
