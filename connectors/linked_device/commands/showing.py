"""``status``, ``stats`` and ``monitor``: the verbs that report and change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any, cast

import httpx
from django.core.management.base import CommandError, OutputWrapper
from django.db import DatabaseError, InterfaceError
from rich.console import Console
from rich.table import Column, Table

from connectors.linked_device import health, overview, statistics, stores
from connectors.linked_device.commands import choosing
from connectors.linked_device.health import NumberHealth
from connectors.linked_device.models import SenderSession, SessionLease, SessionState
from connectors.linked_device.statistics import MessageCounts, Statistics
from lib import reports
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
STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))
Found = Sequence[tuple[Workspace, Statistics]]
HEALTH_SECONDS = 10


def status(out: OutputWrapper, *, name: str | None, as_json: bool) -> None:
    """Print the status of linked devices; of all of them, if none is named.

    Raises:
        CommandError: the name means none, or several.
    """
    now = datetime.now(UTC)
    found = [gather(session, now=now) for session in choosing.some(name)]
    if as_json:
        out.write(reports.as_json([each.plain() for each in found]))
        return
    if not found:
        out.write(choosing.NONE)
        return
    console = Console(file=cast(IO[str], out), width=WIDTH, highlight=False)
    console.print(_table(found, now))
    for each in found:
        for line in _lines(each):
            console.print(f"{each.name}: {line}", markup=False, soft_wrap=True)


def _table(found: list[SessionReport], now: datetime) -> Table:
    table = Table("linked device", "state", "account", "process", "last", "store", show_lines=True)
    for each in found:
        identity = (_name(each), _state(each, now), _account(each))
        cells = (*identity, _process(each, now), _last(each, now), _store(each, now))
        table.add_row(*("\n".join(filter(None, cell)) for cell in cells))
    return table


def _name(each: SessionReport) -> Iterator[str]:
    yield each.name
    yield f"{each.session.workspace_id}"


def _state(each: SessionReport, now: datetime) -> Iterator[str]:
    session = each.session
    yield session.state
    yield f"since {lasts(now - session.since)}"
    if session.until is not None:
        yield f"until {session.until:%m-%d %H:%M} UTC"
    yield f"wanted: {session.wanted.lower()}"


def _account(each: SessionReport) -> Iterator[str]:
    yield each.phone or "–"
    yield each.session.device_platform
    if each.session.paired_at is None:
        yield "not linked"


def _process(each: SessionReport, now: datetime) -> Iterator[str]:
    session = each.session
    yield f"home {session.home or '–'}"
    if each.holder is not None:
        yield f"pid {each.holder.pid} on {each.holder.host}"
        yield f"started {ago(session.started_at, now)}"
    else:
        yield "no process"
    yield session.library
    if session.failures:
        yield f"{session.failures} failed starts"


def _last(each: SessionReport, now: datetime) -> Iterator[str]:
    session = each.session
    yield f"event {ago(session.last_event_at, now)}"
    yield f"received {ago(session.last_inbound_at, now)}"
    yield f"sent {ago(session.last_sent_at, now)}"


def _store(each: SessionReport, now: datetime) -> Iterator[str]:
    if each.store_size is not None:
        yield bytes_of(each.store_size)
    yield f"linked {ago(each.session.paired_at, now)}"
    yield f"backup {ago(each.session.backed_up_at, now)}"


def _lines(each: SessionReport) -> Iterator[str]:
    if each.health.ok:
        yield SessionState(each.session.state).label
    yield from each.health.problems
    if each.remedy:
        yield f"Remedy: {each.remedy}"


@dataclass(frozen=True, slots=True)
class SessionReport:
    """A session with its workspace's name, account (masked), holder, health and store; the store's
    size (bytes) is known on the machine that has it.
    """

    session: SenderSession
    name: str
    phone: str
    holder: SessionLease | None
    health: NumberHealth
    remedy: str
    store_size: int | None

    def plain(self) -> dict[str, Any]:
        """Return the facts for machines."""
        holder = self.holder
        process = None
        if holder is not None:
            names = ("host", "pid", "acquired_at", "renewed_at", "expires_at", "fencing_token")
            process = {name: getattr(holder, name) for name in names}
        return {
            "name": self.name,
            "workspace_id": self.session.workspace_id,
            "session_id": self.session.id,
            "phone": self.phone or None,
            **{name: getattr(self.session, name) for name in SHOWN},
            "process": process,
            "healthy": self.health.ok,
            "problems": list(self.health.problems),
            "remedy": self.remedy,
            "heard_at": self.health.last_activity_at,
            "store_bytes": self.store_size,
        }


def gather(session: SenderSession, *, now: datetime) -> SessionReport:
    """Return what is known of a session, here and in the database."""
    return SessionReport(
        session=session,
        name=choosing.label(session.workspace),
        phone=overview.phone(session),
        holder=session.lease if session.is_held(now) else None,
        health=health.check(session.workspace, now=now),
        remedy=overview.remedy(session, now=now),
        store_size=_store_size(session),
    )


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
    counted = statistics.of([each.id for each in numbers], now=datetime.now(UTC), days=days)
    found = list(zip(numbers, counted, strict=True))
    if as_json:
        out.write(reports.as_json([_plain(*each) for each in found]))
        return
    console = Console(file=cast(IO[str], out), width=WIDTH, highlight=False)
    console.print(_numbers(found, days))
    console.print(_days(found))


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
        now = datetime.now(UTC)
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
