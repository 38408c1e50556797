"""Start and stop the servers under test, and read what they cost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lib.deathguard import Identity, guarded

TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStart(Exception):
    """A server of the benchmark did not start; its log follows."""


class Server:
    """A process that dies with us; its output goes to ``log``."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        identity: Identity = Identity.SAME,
        stop_signal: int = signal.SIGTERM,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self._log, self._stop_signal = log, stop_signal
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                guarded(argv, stop_signal=stop_signal, identity=identity),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.pid = self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float = 40) -> Server:
        """Return when ``ready`` says so.

        Raises:
            DidNotStart: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise DidNotStart(self._log.read_text(errors="replace")[-3000:])
            time.sleep(0.05)
        return self

    def stop(self, *, seconds: float = 15) -> None:
        """End it and everything it started; by force after ``seconds``."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, self._stop_signal)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU time of it and all it started, the ended ones included."""
        return cpu_seconds(self.pid)


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process tree so far."""
    stats = dict(filter(None, (_stat(entry) for entry in os.listdir("/proc") if entry.isdigit())))
    wanted, total = {root}, 0.0
    for pid in sorted(stats):  # children come after their parents but for a wrap-around
        parent, ticks = stats[pid]
        if pid in wanted or parent in wanted:
            wanted.add(pid)
            total += ticks / TICKS
    return total


def _stat(entry: str) -> tuple[int, tuple[int, int]] | None:
    try:
        text = Path("/proc", entry, "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    # proc_pid_stat(5): own and reaped children's user and system time
    return int(entry), (int(fields[1]), sum(int(field) for field in fields[11:15]))


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether something listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
