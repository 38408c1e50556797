"""``status``: where each linked device stands, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.table import Table

from connectors.linked_device.commands import choosing
from connectors.linked_device.commands.facts import Facts, gather
from connectors.linked_device.commands.wording import ago, bytes_of, lasts
from connectors.models import SessionState
from lib import reports

WIDTH = 132


def status(out: OutputWrapper, *, name: str | None, as_json: bool) -> None:
    """Print how linked devices are; all of them, if none is named.

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


def _table(found: list[Facts], now: datetime) -> Table:
    table = Table("linked device", "state", "account", "process", "last", "store", show_lines=True)
    for each in found:
        cells = (_name(each), _state(each, now), _account(each), _process(each, now),
                 _last(each, now), _store(each, now))  # fmt: skip
        table.add_row(*("\n".join(filter(None, cell)) for cell in cells))
    return table


def _name(each: Facts) -> Iterator[str]:
    yield each.name
    yield f"{each.session.workspace_id}"


def _state(each: Facts, now: datetime) -> Iterator[str]:
    session = each.session
    yield session.state
    yield f"since {lasts(now - session.since)}"
    if session.until is not None:
        yield f"until {session.until:%m-%d %H:%M} UTC"
    yield f"wanted: {session.wanted.lower()}"


def _account(each: Facts) -> Iterator[str]:
    yield each.phone or "–"
    yield each.session.device_platform
    if each.session.paired_at is None:
        yield "not linked"


def _process(each: Facts, now: datetime) -> Iterator[str]:
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


def _last(each: Facts, now: datetime) -> Iterator[str]:
    session = each.session
    yield f"event {ago(session.last_event_at, now)}"
    yield f"received {ago(session.last_inbound_at, now)}"
    yield f"sent {ago(session.last_sent_at, now)}"


def _store(each: Facts, now: datetime) -> Iterator[str]:
    if each.store_size is not None:
        yield bytes_of(each.store_size)
    yield f"linked {ago(each.session.paired_at, now)}"
    yield f"backup {ago(each.session.backed_up_at, now)}"


def _lines(each: Facts) -> Iterator[str]:
    if each.health.ok:
        yield SessionState(each.session.state).label
    yield from each.health.problems
    if each.remedy:
        yield f"Remedy: {each.remedy}"
