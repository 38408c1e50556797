"""Session processes for tests: Django is loaded once, and each process is a fork of that.

A fork before any connection and any library, as a session's process is; it saves each test the
seconds of a start. Lines in: ``start <session>``, ``poll <pid>``; lines out: a pid, an exit code or
``-``.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import django
from django.db import connection

# Seconds between two messages: whoever writes here is no person (tests of pacing have those).
QUICK = (0.0, 0.1)


class SessionProcesses:
    """The process that the session processes come from, on the test's engines."""

    def __init__(self, store: Path) -> None:
        known = {n: quote(str(value), safe="") for n, value in connection.settings_dict.items()}
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "sigma.settings",
            "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
            "SIGMA_SENDER_STORE": str(store),
            "SIGMA_SENDER_DEVICE": "simulated",
        }
        argv, pipe = [sys.executable, "-m", __name__], subprocess.PIPE
        self._process = subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, text=True)
        self.born: list[int] = []

    def start(self, session_id: UUID) -> int:
        """Start the process of a session; return its id."""
        self.born.append(int(self._ask(f"start {session_id}")))
        return self.born[-1]

    def ended(self, pid: int) -> int | None:
        """Return how a process ended, negative for a signal; ``None``: it runs."""
        answer = self._ask(f"poll {pid}")
        return None if answer == "-" else int(answer)

    def close(self) -> None:
        """End the processes; its children end with their tests."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(120)

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def main() -> None:
    """Do what the lines say until they end."""
    django.setup()
    process = importlib.import_module("connectors.linked_device.process")
    logs = importlib.import_module("connectors.linked_device.logs")
    pacing = importlib.import_module("connectors.linked_device.delivering")
    pacing.JITTER, pacing.LETTERS_PER_SECOND = QUICK, 2_500.0
    importlib.import_module("connectors.simulator.device")
    for line in sys.stdin:
        verb, what = line.split()
        if verb == "start":
            if (pid := os.fork()) == 0:
                logs.attach(f"session-{what}")  # as the command does
                os._exit(process.run(UUID(what)))
            _say(str(pid))
        else:
            _say(_poll(int(what)))


def _say(answer: str) -> None:
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()


def _poll(pid: int) -> str:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return str(os.waitstatus_to_exitcode(status)) if ended else "-"


if __name__ == "__main__":
    main()
