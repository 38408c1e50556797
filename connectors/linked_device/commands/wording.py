"""Times and sizes as people read them. Pure."""

from __future__ import annotations

from datetime import datetime

STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    for size, unit in STEPS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"


def bytes_of(size: int) -> str:
    """Return a size in kilobytes or megabytes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
