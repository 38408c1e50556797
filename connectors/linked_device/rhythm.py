"""When a number that hears nothing is deaf, and when it is only quiet: its own past says. Pure.

A connection may look well and carry nothing. Nobody else can tell a shop's night from that, so a
number is measured against the longest silence it had itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

# How far back a number's habits are looked at: two week-ends.
WINDOW = timedelta(days=14)
# Fewer say nothing about habits.
FEWEST = 20
# Nobody is alarmed sooner; and so much longer than ever before is no accident.
SHORTEST, FACTOR = timedelta(hours=1), 1.5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a number hears something: ``heard`` times in the window, with ``longest`` as the
    longest silence between two of them, the last time at ``last_at``.
    """

    heard: int = 0
    longest: timedelta = timedelta()
    last_at: datetime | None = None

    @property
    def patience(self) -> timedelta | None:
        """How long a silence is nothing special; ``None``: too little was heard to tell."""
        if self.heard < FEWEST:
            return None
        return max(SHORTEST, FACTOR * self.longest)


def of(spells: Iterable[tuple[datetime, datetime, int]]) -> Rhythm:
    """Return the rhythm of spells (first time, last time, how many), which come in their order."""
    found = list(spells)
    if not found:
        return Rhythm()
    within = (last - first for first, last, _ in found)
    between = (later[0] - earlier[1] for earlier, later in pairwise(found))
    longest = max((*within, *between), default=timedelta())
    return Rhythm(sum(count for *_, count in found), longest, found[-1][1])


def is_deaf(rhythm: Rhythm, *, silent_since: datetime | None, now: datetime) -> bool:
    """Tell whether a number that is connected has been silent for longer than is its habit.

    ``silent_since`` is the last time it was heard, or when it was connected if that is later.
    """
    patience = rhythm.patience
    return patience is not None and silent_since is not None and now - silent_since > patience
