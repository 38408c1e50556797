"""What commands report, for machines: one option, one form of JSON."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser

from django.core.serializers.json import DjangoJSONEncoder


def add_json(parser: ArgumentParser) -> None:
    """Let a command take ``--json``."""
    parser.add_argument("--json", action="store_true", help="report as one JSON document")


def told(report: object, words: str, *, json: bool) -> str:
    """Return what a command writes: a report as JSON if that was asked for, else in words."""
    return as_json(report) if json else words


def as_json(report: object) -> str:
    """Return a report as JSON: dates in ISO 8601, ids as text, dataclasses as objects."""
    return json.dumps(report, indent=2, cls=_Encoder)


class _Encoder(DjangoJSONEncoder):
    def default(self, o: object) -> object:
        """Return what a value of ours is in JSON."""
        if dataclasses.is_dataclass(o) and not isinstance(o, type):
            return dataclasses.asdict(o)
        return sorted(o) if isinstance(o, (set, frozenset)) else super().default(o)
