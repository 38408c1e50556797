"""What a prepared engine is: a command to run and a way to ask whether it answers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass


class EngineFailed(Exception):
    """An embedded engine could not be prepared or did not start."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that is ready to be started; ``argv`` runs in the foreground."""

    name: str
    title: str
    url: str
    argv: tuple[str, ...]
    stop_signal: signal.Signals
    answers: Callable[[], bool]
