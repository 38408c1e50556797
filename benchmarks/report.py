"""Figures, targets and the table that is printed at the end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line: what was measured, what came out, what was wanted."""

    group: str
    name: str
    value: float
    unit: str = ""
    target: float | None = None
    at_least: bool = True
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return ``PASS``, ``MISS`` or nothing where there is no target."""
        if self.target is None:
            return ""
        is_met = self.value >= self.target if self.at_least else self.value <= self.target
        return "PASS" if is_met else "MISS"


def median(values: Sequence[float]) -> float:
    """Return the median, 0 of nothing."""
    return statistics.median(values) if values else 0.0


def show(figures: Sequence[Figure], *, title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for heading, justify in (
        ("", "left"),
        ("figure", "left"),
        ("value", "right"),
        ("target", "right"),
        ("", "left"),
        ("note", "left"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    group = ""
    for figure in figures:
        if group and figure.group != group:
            table.add_section()
        sign = "≥" if figure.at_least else "≤"
        target = "" if figure.target is None else f"{sign} {_number(figure.target)} {figure.unit}"
        verdict = figure.verdict
        colour = {"PASS": "green", "MISS": "red"}.get(verdict, "")
        table.add_row(
            "" if figure.group == group else figure.group,
            figure.name,
            f"{_number(figure.value)} {figure.unit}",
            target,
            f"[{colour}]{verdict}[/]" if colour else "",
            figure.note,
        )
        group = figure.group
    Console(width=None if Console().is_terminal else 150).print(table)


def save(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    rows = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
