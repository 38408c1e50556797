"""What commands report: lines and tables for people, or for machines one form of JSON."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser
from typing import IO, cast

from django.core.management.base import OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from rich.console import Console
from rich.table import Table


def add_json(parser: ArgumentParser) -> None:
    """Let a command take ``--json``."""
    parser.add_argument("--json", action="store_true", help="report as one JSON document")


def write(
    out: OutputWrapper,
    report: object,
    *words: str | Table,
    json: bool,
    width: int | None = None,
) -> None:
    """Write a report as JSON if that was asked for, else in words: lines, and tables of up to
    ``width`` characters (the terminal's unless given; a narrower terminal folds the lines).
    """
    if json:
        out.write(as_json(report))
        return
    console = Console(file=cast(IO[str], out), width=width, highlight=False)
    for each in words:
        if isinstance(each, str):
            out.write(each)
        else:
            console.print(each)


def as_json(report: object) -> str:
    """Return a report as JSON: dates in ISO 8601, ids as text, dataclasses as objects."""
    return json.dumps(report, indent=2, cls=_Encoder)


class _Encoder(DjangoJSONEncoder):
    def default(self, o: object) -> object:
        """Return what a value of ours is in JSON."""
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        return sorted(o) if isinstance(o, (set, frozenset)) else super().default(o)
