"""``stats``: what numbers sent and heard, today and on each of the last days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import IO, Any, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.table import Column, Table

from connectors.linked_device import statistics
from connectors.linked_device.commands import choosing
from connectors.linked_device.statistics import Counts, Statistics
from lib import reports
from workspaces.models import Workspace

WIDTH = 132
Found = Sequence[tuple[Workspace, Statistics]]


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
    table = Table(
        Column("number", min_width=24), "over", "messages today", "errors", "error rate",
        "received", f"messages in {days} days", "errors",
        title="Days are UTC days", title_justify="left",
    )  # fmt: skip
    for workspace, counted in found:
        today, total = counted.today, counted.total
        table.add_row(
            choosing.label(workspace), workspace.get_transport_display(),
            *_cells(today), f"{total.messages:,}", f"{total.errors:,}",
        )  # fmt: skip
    return table


def _days(found: Found) -> Table:
    table = Table("day (UTC)", "messages", "errors", "error rate", "received")
    by_day: dict[date, list[Counts]] = {}
    for _, counted in found:
        for day, counts in counted.days:
            by_day.setdefault(day, []).append(counts)
    for day in sorted(by_day, reverse=True):
        together = Counts(*map(sum, zip(*by_day[day], strict=True)))
        table.add_row(f"{day}", *_cells(together))
    return table


def _cells(counts: Counts) -> tuple[str, str, str, str]:
    return f"{counts.messages:,}", f"{counts.errors:,}", _rate(counts), f"{counts.received:,}"


def _rate(counts: Counts) -> str:
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


def _counts(counts: Counts) -> dict[str, Any]:
    return {**counts._asdict(), "errors": counts.errors, "error_rate": counts.error_rate}
