"""Record which of our files and functions one trip through the product enters, in all its threads.

Threads are watched that begin after :class:`Tracer` was made; it records between ``begin`` and
``end``. Comprehensions, lambdas and module bodies are not counted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("lib", "workspaces", "templates_wa", "messaging", "connectors", "sigma")
# Meta's part, played on loopback.
PLAYED = "connectors/simulator/"


@dataclass
class Trip:
    """The functions that ran, each as (file, name); files are relative to the project."""

    functions: set[tuple[str, str]] = field(default_factory=set)

    @property
    def files(self) -> set[str]:
        """Return the files that these stand in."""
        return {file for file, _ in self.functions}

    def __or__(self, other: Trip) -> Trip:
        return Trip(self.functions | other.functions)


class Tracer:
    """Watches the calls of this thread and of those that begin after this."""

    def __init__(self) -> None:
        self._seen: set[CodeType] | None = None
        threading.setprofile(self._watch)

    def close(self) -> None:
        """Watch no new threads; those that are watched end with the test."""
        self._seen = None
        threading.setprofile(None)

    @contextmanager
    def trip(self) -> Iterator[Trip]:
        """Record what runs in the block; the value is complete at its end."""
        trip, seen = Trip(), set[CodeType]()
        self._seen = seen
        sys.setprofile(self._watch)
        try:
            yield trip
        finally:
            sys.setprofile(None)
            self._seen = None
            trip.functions |= {place for code in seen if (place := _place_of(code))}

    def _watch(self, frame: FrameType, event: str, _: object) -> None:
        seen = self._seen
        if seen is not None and event == "call":
            seen.add(frame.f_code)


def _place_of(code: CodeType) -> tuple[str, str] | None:
    """Return the file and the name of a function of ours."""
    path = Path(code.co_filename)
    if not path.is_relative_to(ROOT) or code.co_name.startswith("<"):
        return None
    file = path.relative_to(ROOT).as_posix()
    if file.split("/")[0] not in LAYERS or file.startswith(PLAYED):
        return None
    return file, code.co_qualname
