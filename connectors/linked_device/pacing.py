"""The pace of a person who writes on a phone. Pure.

WhatsApp bans accounts that write like machines (tested rule of those who run linked devices: one to
three seconds between any two messages, and chance in it).
"""

from __future__ import annotations

from random import Random
from uuid import UUID

# Seconds between any two messages, and between two to the same person.
JITTER, SAME_PERSON = (1.0, 3.0), (3.0, 5.0)
# How fast somebody types, and after how long he would have pasted the text.
LETTERS_PER_SECOND, MOST_TYPING_SECONDS = 25.0, 6.0
# After "slow down" without a time, and while the device is not connected: each doubles, up to this.
THROTTLED_SECONDS, MOST_THROTTLED_SECONDS = 60.0, 3600.0
AWAY_SECONDS, MOST_AWAY_SECONDS = 5.0, 60.0


def typing_seconds(text: str) -> float:
    """Return how long it takes to type a text."""
    return min(MOST_TYPING_SECONDS, len(text) / LETTERS_PER_SECOND)


def throttled_seconds(times: int) -> float:
    """Return how long nothing is sent after being asked to slow down so many times in a row."""
    return min(MOST_THROTTLED_SECONDS, THROTTLED_SECONDS * 2.0 ** min(times - 1, 10))


def away_seconds(times: int) -> float:
    """Return how long nothing is tried after so many tries in a row without a connection."""
    return min(MOST_AWAY_SECONDS, AWAY_SECONDS * 2.0 ** min(times - 1, 10))


class Pace:
    """The pace of one account; all times are seconds of one clock that never goes back."""

    def __init__(self, *, chance: Random, at: float) -> None:
        # Whoever was here before may have sent until now.
        self._chance, self._last = chance, at
        self._people: dict[UUID, float] = {}

    def slot(self, *, contact_id: UUID | None, text: str, at: float) -> float:
        """Return when a text may leave: he types it once the one before has left, and needs a pause
        before he writes to the same person again.
        """
        start = self._last + self._chance.uniform(*JITTER)
        if contact_id in self._people:
            start = max(start, self._people[contact_id] + self._chance.uniform(*SAME_PERSON))
        return max(at, start + typing_seconds(text))

    def left(self, *, contact_id: UUID | None, at: float) -> None:
        """Note that a text left, or may have."""
        self._last = at
        self._people = {
            one: moment for one, moment in self._people.items() if moment > at - SAME_PERSON[1]
        }
        if contact_id is not None:
            self._people[contact_id] = at
