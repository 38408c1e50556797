"""The processes of a host's sessions: each in a group of its own, and none outlives the host."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import IO
from uuid import UUID

from django.conf import settings

from connectors.linked_device import exits
from connectors.linked_device.agenda import Facts
from connectors.models import SessionState
from lib.tether import tethered

logger = logging.getLogger("sigma.whatsapp.sender")

# A line of ours says nothing that it must not; what else is said (a library's last words) passes
# the log's own filter.
OURS = re.compile(rb'\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]|\{"time": ')
LONGEST_LINE, LONGEST_QUOTE = 1 << 16, 500
# These pass within three minutes, and an end in order takes less than two, unless the library lets
# go of nothing.
PASSING = (SessionState.STARTING, SessionState.PAIRING, SessionState.DISCONNECTED)
STUCK_SECONDS = 400.0
CUT_SHORT = (-signal.SIGTERM, -signal.SIGKILL)

Argv = Callable[[UUID], Sequence[str]]


def session_argv(session_id: UUID) -> tuple[str, ...]:
    """Return the command line of a session's process."""
    manage_py = str(settings.BASE_DIR / "manage.py")
    return (sys.executable, manage_py, "sender", "session", str(session_id))


class Child:
    """One session's process. Times are of the monotonic clock, in seconds.

    ``leased_at`` is when it was last seen to have the session's lease, at first its start;
    ``asked_at`` when it was first seen that it has to end.
    """

    def __init__(self, session_id: UUID, argv: Sequence[str]) -> None:
        self.session_id = session_id
        self.leased_at = time.monotonic()
        self.asked_at: float | None = None
        self._is_asked = False
        self._place: tuple[str, datetime | None] | None = None
        self._place_at = self.leased_at
        self._process = subprocess.Popen(
            # Killed, not asked: the next host must find nobody at work.
            tethered(argv, stop_signal=signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A Ctrl-C on the terminal is for the host, which ends its sessions in order.
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        pump = (self._process.stdout, session_id)
        threading.Thread(target=_pump, args=pump, name="session-output", daemon=True).start()

    def ending(self) -> int | None:
        """Return the exit code, negative for a signal, once the process ended.

        One that was asked to end, but had not got as far as to do it in order, is done too.
        """
        code = self._process.poll()
        if code is not None:
            _signal_group(self.pid, signal.SIGKILL)  # whatever it started itself
        return exits.DONE if self._is_asked and code in CUT_SHORT else code

    def is_stuck(self, facts: Facts, *, at: float) -> bool:
        """Note where its session stands at a time; tell whether it never gets any further: its
        lease is renewed by a thread of its own, even where all others hang.
        """
        place = (facts.state, facts.until)
        if place != self._place:
            self._place, self._place_at = place, at
        return facts.state in PASSING and at - self._place_at > STUCK_SECONDS

    def ask(self) -> None:
        """Ask the process to end after the send that is under way."""
        self._is_asked = True
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all it started, at once; one that is paused too."""
        if self._process.poll() is None:
            _signal_group(self.pid, signal.SIGKILL)


def told(code: int) -> str:
    """Return how a process ended, for people."""
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _signal_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _pump(source: IO[bytes], session_id: UUID) -> None:
    with source:
        while line := source.readline(LONGEST_LINE):
            _pass_on(line, session_id)


def _pass_on(line: bytes, session_id: UUID) -> None:
    text = line.decode(errors="replace").rstrip()
    if OURS.match(line):
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - a log line already
    elif text:
        extra = {"session": str(session_id)}
        logger.info("whatsapp session's output: %s", text[:LONGEST_QUOTE], extra=extra)
