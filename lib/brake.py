"""Tell an error of one item from an error that hits everything, and stop the line for the latter.

A *line* is work of one kind: callbacks, sends, events, broadcasts. The rule, wherever a batch
cannot be processed as a whole:

1. A database that is away or busy is nobody's error: the batch stays pending.
2. So is an error that no value causes (``NOT_OF_A_VALUE``: a missing column, no permission, a
   read-only server). Items that meet it stay pending, however many others pass.
3. Any other error is the item's own where it stands alone and another item of the same kind
   passes; then that item alone is given up.
4. Where none passes, an item is given up while fewer than ``MOST_ALIKE`` in a row failed with the
   same error. From then on all of them stay pending, until one of their kind passes.

While nothing passes the line waits 1, 2, 4 … 30 seconds between trials, and the stop is reported:
one log line a minute, and a row for ``/healthz``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Any, TypeVar

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
)

from lib import metrics

logger = logging.getLogger("sigma.whatsapp.brake")

Item = TypeVar("Item")
# What is tried with some items at once; what they are alike in; one that failed alone.
Attempt = Callable[[Sequence[Any]], object]
Kind = Callable[[Any], Hashable]
Failure = tuple[Any, Exception]

MOST_ALIKE = 5
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
LOG_SECONDS = 60.0
# What a stopped line tries at a time.
TRIAL = 50
# Classes of SQLSTATE that say something of the schema, the server or our statements, never of a
# value; https://www.postgresql.org/docs/current/errcodes-appendix.html
NOT_OF_A_VALUE = ("42", "25", "0A", "3F")
# "Program limit exceeded" (a value too long for an index) comes as OperationalError, and is none.
OF_A_VALUE = "54"
# As what Django raises that the database is away or busy (:func:`is_away` looks closer).
DATABASE_AWAY = (OperationalError, InterfaceError)

REPORT = """
INSERT INTO stopped_work (line, error, since, seen_at)
VALUES (%s, %s, clock_timestamp(), clock_timestamp())
ON CONFLICT (line) DO UPDATE SET error = excluded.error, seen_at = excluded.seen_at,
    since = CASE WHEN stopped_work.seen_at < excluded.seen_at - interval '2 minutes'
            THEN excluded.since ELSE stopped_work.since END
"""
RELEASE = "DELETE FROM stopped_work WHERE line = %s"


class Stopped(Exception):
    """Everything fails alike, so nothing is given up and all of it stays pending.

    ``items`` are those that have to wait; empty: all that were tried.
    """

    def __init__(self, error: Exception, items: Sequence[Any] = ()) -> None:
        super().__init__(name_of(error))
        self.error, self.items = error, items


class Brake:
    """The brake of one line in one process, shared by its threads."""

    def __init__(self, line: str) -> None:
        self.line = line
        self._lock = Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a new process would."""
        self._alike: Counter[tuple[Hashable, Hashable]] = Counter()
        self._stops = 0
        self._until = 0.0
        self._logged = -LOG_SECONDS

    @property
    def is_on(self) -> bool:
        """Whether the line is stopped: then little is tried at a time."""
        return self._stops > 0

    @property
    def pause(self) -> float:
        """Seconds until the next trial."""
        return max(0.0, self._until - time.monotonic())

    def sift(
        self,
        items: Sequence[Item],
        attempt: Callable[[Sequence[Item]], object],
        *,
        step: str,
        kind: Callable[[Item], Hashable] = lambda _: None,
    ) -> list[tuple[Item, Exception]]:
        """Run ``attempt`` on all items, or on ever smaller parts of them; return those that failed
        alone by their own fault, with their errors. ``attempt`` changes all it is given or nothing.

        Raises:
            Stopped: items that failed have to wait; what passed before must be undone.
            django.db.OperationalError, django.db.InterfaceError: the database is away.
        """
        sifting = _Sifting(self, items, attempt, step, kind)
        if sifting.passes(range(len(items))):
            for one in {kind(item) for item in items} if self._alike else ():
                self.judge((), step=step, passed=True, kind=one)
            return []
        sifting.sample()
        sifting.halve()
        return sifting.end()

    def judge(
        self, failed: Sequence[Failure], *, step: str, passed: bool, kind: Hashable = None
    ) -> None:
        """Return where the items of one kind failed by their own fault (rules 3 and 4).

        Raises:
            Stopped: they have to wait.
        """
        with self._lock:
            if passed:
                for key in [key for key in self._alike if key[0] == (step, kind)]:
                    del self._alike[key]
                return
            self._alike.update(((step, kind), likeness(error)) for _, error in failed)
            counts = [self._alike[(step, kind), likeness(error)] for _, error in failed]
        for (_, error), count in zip(failed, counts, strict=True):
            if self.is_on or count >= MOST_ALIKE:
                raise Stopped(error, [item for item, _ in failed])

    def stop(self, stopped: Stopped) -> float:
        """Stop the line for a while, and report it; return for how many seconds."""
        metrics.STOPS.labels(self.line).inc()
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._stops, 10))
        self._stops += 1
        self._until = time.monotonic() + pause
        self.report(stopped)
        return pause

    def report(self, stopped: Stopped) -> None:
        """Say that items wait: a log line a minute, and a row for ``/healthz``.

        Call it outside of the transaction that failed.
        """
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            logger.error(
                "whatsapp work stopped, all of it stays pending",
                exc_info=stopped.error,
                extra={"line": self.line, "error": str(stopped)},
            )
        _run(REPORT, [self.line, str(stopped)[:100]])

    def release(self) -> None:
        """Let the line go on: something passed, and was committed."""
        if self._stops:
            logger.warning("whatsapp work goes on", extra={"line": self.line})
            self.forget()
            _run(RELEASE, [self.line])


class _Sifting:
    """One batch on its way through ever smaller parts; items are known by their positions."""

    def __init__(
        self, brake: Brake, items: Sequence[Any], attempt: Attempt, step: str, kind: Kind
    ) -> None:
        self._brake, self._items, self._attempt, self._step = brake, items, attempt, step
        self._kinds = [kind(item) for item in items]
        self._passed: set[Hashable] = set()
        self._failed: dict[int, Exception] = {}
        self._rest: list[int] = list(range(len(items)))

    def passes(self, positions: Sequence[int]) -> bool:
        """Try these together; one that fails alone is kept with its error."""
        try:
            self._attempt([self._items[position] for position in positions])
        except Stopped:
            raise
        except Exception as error:
            if is_away(error):
                raise
            if len(positions) == 1:
                self._failed[positions[0]] = error
                if not is_of_a_value(error):
                    raise Stopped(error, self._of_kind(self._kinds[positions[0]])) from error
            return False
        self._passed.update(self._kinds[position] for position in positions)
        return True

    def sample(self) -> None:
        """Try a few of each kind alone, spread over the batch: is it all of them?"""
        if self._brake.is_on:
            return  # a trial is small; whatever passes in it decides
        for kind in dict.fromkeys(self._kinds):
            mine = [p for p in self._rest if self._kinds[p] == kind]
            tried = [p for p in spread(mine, MOST_ALIKE) if self._try(p)]
            if not tried and len(mine) > MOST_ALIKE and self._all_alike(kind):
                raise Stopped(self._failed[mine[0]], self._of_kind(kind))

    def halve(self) -> None:
        """Try the rest in halves."""
        parts = [self._rest]
        while parts:
            part = parts.pop()
            if part and not self.passes(part) and len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]

    def end(self) -> list[Failure]:
        """Return what failed by its own fault."""
        for kind in dict.fromkeys(self._kinds[p] for p in self._failed):
            mine = [(self._items[p], e) for p, e in self._failed.items() if self._kinds[p] == kind]
            self._brake.judge(mine, step=self._step, passed=kind in self._passed, kind=kind)
        return [(self._items[p], self._failed[p]) for p in sorted(self._failed)]

    def _try(self, position: int) -> bool:
        self._rest.remove(position)
        return self.passes([position])

    def _all_alike(self, kind: Hashable) -> bool:
        errors = [e for p, e in self._failed.items() if self._kinds[p] == kind]
        return len({likeness(error) for error in errors}) == 1

    def _of_kind(self, kind: Hashable) -> list[Any]:
        return [item for item, k in zip(self._items, self._kinds, strict=True) if k == kind]


def spread(positions: Sequence[int], most: int) -> list[int]:
    """Return up to ``most`` of these, from the first to the last, as far apart as may be."""
    if len(positions) <= most:
        return list(positions)
    last = len(positions) - 1
    return [positions[round(n * last / (most - 1))] for n in range(most)]


def is_away(error: Exception) -> bool:
    """Whether the database is away, or was busy: nothing that was tried is at fault."""
    if not isinstance(error, DATABASE_AWAY):
        return False
    return not state_of(error).startswith(OF_A_VALUE)


def is_of_a_value(error: Exception) -> bool:
    """Whether a value may have caused this error."""
    return not state_of(error).startswith(NOT_OF_A_VALUE)


def state_of(error: Exception) -> str:
    """Return the SQLSTATE of a database's error, or nothing."""
    return getattr(error.__cause__, "sqlstate", None) or ""


def likeness(error: Exception) -> Hashable:
    """Return what two errors with the same cause have in common."""
    told = getattr(error.__cause__, "diag", None)
    places = (told.constraint_name, told.column_name) if told else ()
    return type(error), state_of(error), places


def name_of(error: Exception) -> str:
    """Return an error's class, with the database's own where there is one; never its message."""
    cause = error.__cause__
    if isinstance(error, DatabaseError) and cause is not None:
        return f"{type(error).__name__}: {type(cause).__name__}"
    return type(error).__name__


def stopped_lines() -> dict[str, str]:
    """Return the error's class of each line that is stopped now; what was not seen for two minutes
    is over, or nobody is there to try.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT line, error FROM stopped_work "
            "WHERE seen_at > clock_timestamp() - interval '2 minutes' ORDER BY line"
        )
        return dict(cursor.fetchall())


def _run(statement: str, parameters: Sequence[str]) -> None:
    """Keep the report up to date; whoever is stopped must not fail for that as well."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
    except (*DATABASE_AWAY, ProgrammingError) as error:
        logger.warning("whatsapp stop not reported", extra={"error": type(error).__name__})
