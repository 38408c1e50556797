"""Time-ordered identifiers: rows made together stay together in the index, in their order.

All of them are UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 12 bits of the fraction of a
millisecond (§6.2, method 3), then 62 bits.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FRACTION_BITS, SEQUENCE_BITS, TAIL_BITS = 12, 42, 20
_FORM = (0x7 << 76) | (0x2 << 62)


class _Clock:
    """Moments in units of a 4096th of a millisecond, each later than the one before."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def tick(self) -> int:
        """Return the moment, or the next free one where the clock stands still or goes back."""
        now = (time.time_ns() << FRACTION_BITS) // 1_000_000
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last


_clock = _Clock()


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7 that sorts after all that this process made before."""
    return _compose(_clock.tick(), int.from_bytes(os.urandom(8)) & ((1 << 62) - 1))


def arrival_uuid7(arrived_at: datetime, *, sequence: int, tail: int) -> uuid.UUID:
    """Return the UUIDv7 of something that arrived: equal arguments make equal ids.

    Ids sort by ``arrived_at`` (to the microsecond), then by the lowest 42 bits of ``sequence``. The
    lowest 20 bits of ``tail`` keep those apart that share both.
    """
    moment = ((arrived_at - EPOCH) // MICROSECOND << FRACTION_BITS) // 1000
    sequence &= (1 << SEQUENCE_BITS) - 1
    return _compose(moment, sequence << TAIL_BITS | tail & ((1 << TAIL_BITS) - 1))


def first_uuid7_at(moment: datetime) -> uuid.UUID:
    """Return the smallest UUIDv7 of a moment: whatever was made since has a greater one."""
    return _compose(((moment - EPOCH) // MICROSECOND // 1000) << FRACTION_BITS, 0)


def _compose(moment: int, rest: int) -> uuid.UUID:
    milliseconds, fraction = moment >> FRACTION_BITS, moment & ((1 << FRACTION_BITS) - 1)
    return uuid.UUID(int=milliseconds << 80 | _FORM | fraction << 64 | rest)
