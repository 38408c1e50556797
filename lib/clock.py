"""The database's clock: the one that all processes share. A host's may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

# Hosts that keep time differ by less, and then each one's own clock is the steadier.
TOLERATED = timedelta(seconds=1)
_correction = timedelta()
_is_measured = False


def now() -> datetime:
    """Return the time as this process knows it: by its host's clock, put right where that differs
    from the database's by more than a second. Asks nobody: a process measures the difference when
    it first meets the database, and with each heartbeat or lease.
    """
    return datetime.now(UTC) - _correction


def host_now() -> datetime:
    """Return the time by this host's clock, right or wrong: for those who compare the two."""
    return datetime.now(UTC)


def forget() -> None:
    """Trust the host's clock again, until it is measured."""
    global _correction, _is_measured
    _correction, _is_measured = timedelta(), False


def meet(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Measure the host's clock, unless this process did (a receiver of `connection_created`)."""
    if not _is_measured:
        host_ahead(connection)


def database_now(via: BaseDatabaseWrapper = connection) -> datetime:
    """Return the time by the database's clock.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away.
    """
    with via.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment.astimezone(UTC)


def host_ahead(via: BaseDatabaseWrapper = connection) -> float:
    """Return how far this host's clock is ahead of the database's, in seconds; :func:`now` takes it
    into account.
    """
    global _correction, _is_measured
    before = datetime.now(UTC)
    moment = database_now(via)
    _is_measured = True
    ahead = ahead_of(moment, before=before, after=datetime.now(UTC), so_far=_correction)
    if abs(ahead - _correction) > TOLERATED:
        _correction = ahead if abs(ahead) > TOLERATED else timedelta()
    return ahead.total_seconds()


def ahead_of(
    moment: datetime, *, before: datetime, after: datetime, so_far: timedelta
) -> timedelta:
    """Return how far the host's clock is ahead, which the database's ``moment`` was asked from
    ``before`` to ``after``: of all that this leaves possible what is nearest to ``so_far``. An
    answer that took long says little.
    """
    return min(max(so_far, before - moment), after - moment)
