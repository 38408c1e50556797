"""How often something may be tried, counted in PostgreSQL: signing in needs it anyway, so that the
limits hold while the broker is away, over all processes, and with no second store to fall back on.

A bucket is one time (GCRA): when it would be full again. Its name is kept as a digest only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

# One statement: attempts at the same time wait for one another and each is counted.
CHARGE = """
INSERT INTO throttles AS t (key, full_at) VALUES (%(key)s, %(now)s + %(gap)s)
ON CONFLICT (key) DO UPDATE SET full_at = greatest(t.full_at, %(now)s) + %(gap)s
WHERE greatest(t.full_at, %(now)s) + %(gap)s <= %(now)s + %(room)s
RETURNING full_at
"""
REFUND = "UPDATE throttles SET full_at = full_at - %(gap)s WHERE key = %(key)s"
FULL_AT = "SELECT full_at FROM throttles WHERE key = %(key)s"
# More than an attempt adds, so that strangers who invent names do not fill the table.
FORGET = """
DELETE FROM throttles WHERE key IN (
    SELECT key FROM throttles WHERE full_at < %(now)s
    ORDER BY full_at LIMIT 10 FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` attempts at once, and one more whenever ``gap`` has passed."""

    burst: int
    gap: timedelta


class TooManyAttempts(Exception):
    """Too many attempts; ``seconds`` from now there may be another."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many attempts. Try again in {seconds} seconds.")
        self.seconds = seconds


def charge(bucket: str, limit: Limit, *, now: datetime) -> None:
    """Count one attempt, before it is made: many at once are as many.

    Raises:
        TooManyAttempts: there were too many.
    """
    room = limit.burst * limit.gap
    facts: dict[str, Any] = {"key": _key(bucket), "now": now, "gap": limit.gap, "room": room}
    with connection.cursor() as cursor:
        cursor.execute(FORGET, facts)
        cursor.execute(CHARGE, facts)
        if cursor.fetchone():
            return
        cursor.execute(FULL_AT, facts)
        (full_at,) = cursor.fetchone() or (now,)
    wait = full_at + limit.gap - room - now
    raise TooManyAttempts(max(1, round(wait.total_seconds())))


def refund(bucket: str, limit: Limit) -> None:
    """Take back one attempt that turned out to be rightful."""
    with connection.cursor() as cursor:
        facts: dict[str, Any] = {"key": _key(bucket), "gap": limit.gap}
        cursor.execute(REFUND, facts)


def _key(bucket: str) -> bytes:
    return hashlib.sha256(bucket.encode("utf-8", "surrogatepass")).digest()
