"""How long a session waits after ``429 rate-overlimit``: as long as WhatsApp says, else one hour,
doubled each time it happens again, up to a day. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
# Who had no trouble for so long begins with the shortest wait again.
FORGOTTEN_AFTER = timedelta(hours=24)


@dataclass(slots=True)
class Limit:
    """The wait that is on, or the last one; ``lasts`` is how long it was."""

    until: datetime | None = None
    lasts: timedelta = timedelta()

    def holds(self, now: datetime) -> bool:
        """Return whether nothing may be sent now."""
        return self.until is not None and now < self.until

    def extend(self, retry_after: float | None, *, now: datetime) -> None:
        """Begin to wait, ``retry_after`` seconds or longer than the last time; a wait that is on
        becomes no shorter, and what is told while it is on is not another time.
        """
        if retry_after is not None:
            lasts = timedelta(seconds=max(0.0, retry_after))
        elif self.holds(now):
            return
        else:
            lasts = self._next(now)
        until = now + lasts
        if self.until is None or until > self.until:
            self.until, self.lasts = until, lasts

    def _next(self, now: datetime) -> timedelta:
        if self.until is None or now - self.until > FORGOTTEN_AFTER:
            return SHORTEST
        return min(LONGEST, max(SHORTEST, 2 * self.lasts))
