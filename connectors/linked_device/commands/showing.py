"""``status``, ``stats`` and ``monitor``: the verbs that report and change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import httpx
from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError
from rich.table import Column, Table

from connectors.linked_device import health, statistics, stores
from connectors.linked_device.commands import choosing
from connectors.linked_device.health import NumberHealth
from connectors.linked_device.models import SenderSession, SessionState
from connectors.linked_device.statistics import MessageCounts, Statistics
from lib import clock, reports
from workspaces.models import Workspace

WIDTH = 132
SHOWN = (
    "state",
    "reason",
    "since",
    "until",
    "wanted",
    "home",
    "library",
    "device_platform",
    "failures",
    "paired_at",
    "started_at",
    "stopped_at",
    "last_event_at",
    "last_inbound_at",
    "last_sent_at",
    "backed_up_at",
)
SHOWN_OF_LEASE = ("host", "pid", "acquired_at", "renewed_at", "expires_at", "fencing_token")
STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))
Facts = dict[str, Any]
Found = Sequence[tuple[Workspace, Statistics]]
HEALTH_SECONDS = 10


def status(out: OutputWrapper, *, name: str | None, as_json: bool) -> None:
    """Print the status of linked devices; of all of them, if none is named.

    Raises:
        CommandError: the name means none, or several.
    """
    now = clock.now()
    found = [facts_of(session, now) for session in choosing.some(name)]
    words: tuple[str | Table, ...] = (choosing.NONE,)
    if found:
        words = (_table(found, now), *(line for each in found for line in _lines(each)))
    reports.write(out, found, *words, json=as_json, width=WIDTH)


def facts_of(session: SenderSession, now: datetime) -> Facts:
    """Return what is known of a session, here and in the database: its number (masked), the process
    that has it, its health, and on the machine that has its store the size of that (bytes).
    """
    well = health.check(session.workspace, now=now)
    lease = session.held_lease if session.is_held(now) else None
    return {
        "name": choosing.label(session.workspace),
        "workspace_id": session.workspace_id,
        "session_id": session.id,
        "phone": health.phone(session) or None,
        **{name: getattr(session, name) for name in SHOWN},
        "process": lease and {name: getattr(lease, name) for name in SHOWN_OF_LEASE},
        "healthy": well.ok,
        "problems": list(well.problems),
        "remedy": health.remedy(session, now=now),
        "heard_at": well.last_activity_at,
        "store_bytes": _store_size(session),
    }


def _table(found: list[Facts], now: datetime) -> Table:
    table = Table("linked device", *CELLS, show_lines=True)
    for each in found:
        cells = (cell(each, now) for cell in CELLS.values())
        table.add_row(f"{each['name']}\n{each['workspace_id']}", *map("\n".join, cells))
    return table


def _state(each: Facts, now: datetime) -> Iterator[str]:
    yield each["state"]
    yield f"since {lasts(now - each['since'])}"
    if each["until"] is not None:
        yield f"until {each['until']:%m-%d %H:%M} UTC"
    yield f"wanted: {each['wanted'].lower()}"


def _account(each: Facts, now: datetime) -> Iterator[str]:
    yield each["phone"] or "–"
    if each["device_platform"]:
        yield each["device_platform"]
    if each["paired_at"] is None:
        yield "not linked"


def _process(each: Facts, now: datetime) -> Iterator[str]:
    yield f"home {each['home'] or '–'}"
    if (process := each["process"]) is not None:
        yield f"pid {process['pid']} on {process['host']}"
        yield f"started {ago(each['started_at'], now)}"
    else:
        yield "no process"
    if each["library"]:
        yield each["library"]
    if each["failures"]:
        yield f"{each['failures']} failed starts"


def _last(each: Facts, now: datetime) -> Iterator[str]:
    yield f"event {ago(each['last_event_at'], now)}"
    yield f"received {ago(each['last_inbound_at'], now)}"
    yield f"sent {ago(each['last_sent_at'], now)}"


def _store(each: Facts, now: datetime) -> Iterator[str]:
    if each["store_bytes"] is not None:
        yield bytes_of(each["store_bytes"])
    yield f"linked {ago(each['paired_at'], now)}"
    yield f"backup {ago(each['backed_up_at'], now)}"


CELLS = {
    "state": _state,
    "account": _account,
    "process": _process,
    "last": _last,
    "store": _store,
}


def _lines(each: Facts) -> Iterator[str]:
    name = each["name"]
    if each["healthy"]:
        yield f"{name}: {SessionState(each['state']).label}"
    yield from (f"{name}: {problem}" for problem in each["problems"])
    if each["remedy"]:
        yield f"{name}: Remedy: {each['remedy']}"


def _store_size(session: SenderSession) -> int | None:
    """Return how large the store is; ``None`` where this machine has none, or must not look."""
    try:
        return stores.size(session) or None
    except OSError:
        return None


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


def stats(out: OutputWrapper, *, names: Sequence[str], days: int, as_json: bool) -> None:
    """Print the counts of numbers, over any transport; of all, if none is named.

    Raises:
        CommandError: a name means none, or several.
    """
    numbers = choosing.numbers(names)
    counted = statistics.of([each.id for each in numbers], now=clock.now(), days=days)
    found = list(zip(numbers, counted, strict=True))
    report = [_plain(*each) for each in found]
    tables = (_numbers(found, days), _days(found))
    reports.write(out, report, *tables, json=as_json, width=WIDTH)


def _numbers(found: Found, days: int) -> Table:
    titles = ("over", "messages today", "errors", "error rate", "received")
    table = Table(Column("number", min_width=24), *titles, f"messages in {days} days", "errors")
    table.title, table.title_justify = "Days are UTC days", "left"
    for workspace, counted in found:
        today, total = counted.today, counted.total
        name = (choosing.label(workspace), workspace.get_transport_display())
        table.add_row(*name, *_cells(today), f"{total.messages:,}", f"{total.errors:,}")
    return table


def _days(found: Found) -> Table:
    table = Table("day (UTC)", "messages", "errors", "error rate", "received")
    by_day: dict[date, list[MessageCounts]] = {}
    for _, counted in found:
        for day, counts in counted.days:
            by_day.setdefault(day, []).append(counts)
    for day in sorted(by_day, reverse=True):
        together = MessageCounts(*map(sum, zip(*by_day[day], strict=True)))
        table.add_row(f"{day}", *_cells(together))
    return table


def _cells(counts: MessageCounts) -> tuple[str, str, str, str]:
    return f"{counts.messages:,}", f"{counts.errors:,}", _rate(counts), f"{counts.received:,}"


def _rate(counts: MessageCounts) -> str:
    return "–" if counts.error_rate is None else f"{counts.error_rate:.1%}"


def _plain(workspace: Workspace, counted: Statistics) -> dict[str, Any]:
    return {
        "workspace_id": str(workspace.id),
        "name": choosing.label(workspace),
        "transport": workspace.transport,
        "today": _counts(counted.today),
        "total": _counts(counted.total),
        "days": [{"day": day.isoformat(), **_counts(counts)} for day, counts in counted.days],
    }


def _counts(counts: MessageCounts) -> dict[str, Any]:
    return {**counts._asdict(), "errors": counts.errors, "error_rate": counts.error_rate}


def monitor(names: Sequence[str], *, worst_rate: float, url: str) -> tuple[bool, str]:
    """Return whether the sender service at ``url`` (empty: not asked) and its numbers are well, and
    the line that says so; a failure that an operator has to know of is an answer, not raised.

    Without ``names`` these are the linked devices that have ever been paired or should run; where
    there are none, the numbers of the Cloud API.
    """
    try:
        found = choosing.numbers(names) if names else choosing.in_use()
        now = clock.now()
        looks = [(each, health.check(each, now=now, worst_rate=worst_rate)) for each in found]
    except CommandError as error:
        return _error([str(error)])
    except (DatabaseError, InterfaceError):
        return _error(["The database does not answer."])
    if not looks:
        return _error([choosing.NONE])
    problems = [f"{choosing.label(each)}: {_sentence(look)}" for each, look in looks if not look.ok]
    if url and (trouble := _service(url)):
        problems.insert(0, trouble)
    return _error(problems) if problems else (True, _well(looks))


def _service(url: str) -> str:
    """Ask the sender service what its callers ask; return what is wrong with it."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=HEALTH_SECONDS)
        body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return (
            f"The sender service does not answer at {url} ({type(error).__name__}). Is it running? "
            "--url names another address, --no-service leaves it out."
        )
    if answer.status_code == httpx.codes.OK:
        return ""
    reason = body.get("reason") if isinstance(body, dict) else ""
    return f"The sender service is not healthy ({answer.status_code}): {reason or 'no reason'}"


def _well(looks: Sequence[tuple[Workspace, NumberHealth]]) -> str:
    messages = sum(look.last_day.messages for _, look in looks)
    errors = sum(look.last_day.errors for _, look in looks)
    names = ", ".join(choosing.label(each) for each, _ in looks)
    return _line("OK", f"{names}: {messages:,} messages and {errors:,} errors in 24 hours.")


def _error(problems: Sequence[str]) -> tuple[bool, str]:
    return False, _line("ERROR", " | ".join(problems))


def _sentence(look: NumberHealth) -> str:
    return " ".join(look.problems)


def _line(word: str, text: str) -> str:
    return f"{word}: {' '.join(text.split())}"
