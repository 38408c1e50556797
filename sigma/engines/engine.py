"""What a prepared engine is: a command to run and a way to ask whether it answers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from lib.tether import Identity, tethered


class UnableToStart(Exception):
    """The system cannot be started on this machine; the message says why, in one line."""


class EngineFailed(UnableToStart):
    """An embedded engine could not be prepared or did not start."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that is ready to be started; ``argv`` runs in the foreground, as ``identity``.

    ``settle`` returns when nothing of an earlier server works on its files any more.
    """

    name: str
    title: str
    url: str
    argv: tuple[str, ...]
    stop_signal: signal.Signals
    answers: Callable[[], bool]
    settle: Callable[[], None]
    identity: Identity = Identity.SAME

    def command(self) -> tuple[str, ...]:
        """Return the command line that starts it tied to the calling thread."""
        return tethered(self.argv, stop_signal=self.stop_signal, identity=self.identity)
