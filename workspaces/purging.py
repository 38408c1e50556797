"""What must hold before anything is destroyed for its age: clocks go wrong, keys do not come back.

A purge goes by the database's clock. It refuses while that and the host's differ, and where it
would take more days than have passed since its last run (then a clock jumped, or a retention window
was shortened by mistake), unless it is forced.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from lib.clock import database_now
from lib.work import TaskRefused
from workspaces.models import PurgeRun

MOST_DIFFERENCE = timedelta(minutes=5)


class PurgeRefused(TaskRefused):
    """Nothing was destroyed: a clock may be wrong. After a look at it, ``--force`` purges all the
    same.
    """


def moment(*, host: datetime, force: bool = False) -> datetime:
    """Return the time that a purge goes by.

    Raises:
        PurgeRefused: the host's clock says another.
    """
    now = database_now()
    if abs(host - now) > MOST_DIFFERENCE and not force:
        raise PurgeRefused(
            f"The clocks of this host ({host:%Y-%m-%d %H:%M}) and of the database "
            f"({now:%Y-%m-%d %H:%M}) differ."
        )
    return now


def check_days(what: str, *, oldest: date | None, before: date, now: datetime, force: bool) -> None:
    """Return where a purge of ``what`` from its ``oldest`` day up to ``before`` takes no more days
    than have begun since its last run, beside those that the last run might have taken.

    Raises:
        PurgeRefused: it would take more.
    """
    last = PurgeRun.objects.filter(what=what).first()
    if last is None or oldest is None or force:
        return
    first = oldest if last.before is None else max(oldest, last.before)
    taken, passed = (before - first).days, (now.date() - last.ran_at.date()).days
    if taken > passed + 1:
        raise PurgeRefused(
            f"It would take {taken} days, though the last run was {passed} days ago; --force does."
        )


def note_run(what: str, *, before: date, now: datetime) -> None:
    """Remember that a purge of all days before ``before`` ran to its end."""
    defaults = {"ran_at": now, "before": before}
    PurgeRun.objects.update_or_create(what=what, defaults=defaults)
