"""Times and sizes as people read them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    return "never" if at is None else f"{lasts(now - at)} ago"


def lasts(span: timedelta) -> str:
    """Return how long something lasts, in one unit."""
    seconds = max(0.0, span.total_seconds())
    for size, unit in STEPS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def bytes_of(size: int) -> str:
    """Return a size in kilobytes or megabytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
