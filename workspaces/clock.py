"""The database's clock: the one that all processes share. A host's may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection


def database_now() -> datetime:
    """Return the time by the database's clock.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment.astimezone(UTC)


def host_ahead() -> float:
    """Return how far this host's clock is ahead of the database's, in seconds."""
    before = datetime.now(UTC)
    moment = database_now()
    after = datetime.now(UTC)
    return ((before - moment) + (after - moment)).total_seconds() / 2
