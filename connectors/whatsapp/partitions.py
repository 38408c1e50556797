"""Raw's daily partitions: made ahead, dropped whole once nothing in them may be kept."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from django.db import (
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

logger = logging.getLogger("sigma.whatsapp.retention")

DAYS_AHEAD = 7
PREFIX = "webhook_deliveries_"
LIST = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'webhook_deliveries'::regclass ORDER BY c.relname
"""
UNINDEXED = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'webhook_deliveries'::regclass
  AND NOT EXISTS (SELECT FROM pg_class x WHERE x.relname = c.relname || '_tenant')
ORDER BY c.relname
"""


def name_of(day: date) -> str:
    """Return the name of the partition of a UTC day."""
    return f"{PREFIX}{day:%Y%m%d}"


def existing() -> list[date]:
    """Return the days that have a partition of their own."""
    with connection.cursor() as cursor:
        cursor.execute(LIST)
        suffixes = [name.removeprefix(PREFIX) for (name,) in cursor.fetchall()]
    return [date.fromisoformat(suffix) for suffix in suffixes if suffix.isdigit()]


def ensure(today: date) -> list[date]:
    """Make the partitions of today and the coming days; return the days that were missing.

    A day whose callbacks already went to the default partition is skipped with a warning: its rows
    are as safe there, they are only purged row by row.
    """
    wanted = [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]
    present = set(existing())
    return [day for day in wanted if day not in present and _create(day)]


def drop(day: date) -> bool:
    """Drop a day's partition; return false where readers or writers keep it busy (the next run
    tries again).
    """
    return _alter("drop_raw_partition", "whatsapp raw partition is busy, not dropped", day)


def index_by_tenant(before: date) -> None:
    """Index the partitions of days before ``before`` by tenant, where that was not done yet.

    Nobody writes to them any more, so the index costs no callback anything. It is made where some
    tenants keep a day that others are past, and goes with its partition.
    """
    with connection.cursor() as cursor:
        cursor.execute(UNINDEXED)
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        suffix = name.removeprefix(PREFIX)
        if suffix.isdigit() and (day := date.fromisoformat(suffix)) < before:
            _alter("index_raw_partition", "whatsapp raw partition not indexed", day)


def _create(day: date) -> bool:
    return _alter("make_raw_partition", "whatsapp raw partition not made", day)


def _alter(function: str, complaint: str, day: date) -> bool:
    """Call one of the owner's functions, which change what the application's role may not."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Never queue behind a long transaction: everybody else would queue behind us.
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            # Web processes that start together would trip over one another.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('partitions', 0))")
            cursor.execute(f"SELECT {function}(%s)", [day])
    except (OperationalError, IntegrityError, ProgrammingError) as error:
        logger.warning(complaint, extra={"day": day, "error": type(error).__name__})
        return False
    return True
