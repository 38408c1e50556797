"""A program as a process of ours: it ends when we end, with all it started, and we read its output.

What it is started for, and when again, is its supervisor's: of ``make up``
(:mod:`sigma.supervisor`), of linked devices (:mod:`connectors.linked_device.supervisor`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress

from lib.tether import Identity, tethered

LONGEST_LINE = 1 << 20
TOO_LONG = b"(a line of more than 1 MiB was left out)\n"
# How long what a program started may hold its output open after its end.
OUTPUT_SECONDS = 5.0


class GuardedProcess:
    """A program that runs in a session of its own, so that Ctrl-C on the terminal is not for it.

    ``on_line`` takes each line of its output (stdout and stderr) in a thread. It gets
    ``death_signal`` when the thread that started it ends (:func:`lib.tether.tethered`).

    ``ended`` has the exit code, negative for a signal, once the program ended, what it had started
    was killed, and its output was read.

    Raises:
        OSError: the machine starts no more processes.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_line: Callable[[bytes], object],
        death_signal: int = signal.SIGTERM,
        identity: Identity = Identity.SAME,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            tethered(argv, stop_signal=death_signal, identity=identity),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.ended: Future[int] = Future()
        # Whoever waits for it may be cancelled; the future may not.
        self.ended.set_running_or_notify_cancel()
        threading.Thread(target=self._wait, args=(on_line,), name="process", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.ended.done()

    def send_signal(self, number: int) -> None:
        """Send the program a signal; nothing where it ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the program and all it started, at once; one that is paused too."""
        if self.is_running:
            _kill_group(self.pid)

    def _wait(self, on_line: Callable[[bytes], object]) -> None:
        output = threading.Thread(target=_read, args=(self._process, on_line), daemon=True)
        output.start()
        code = self._process.wait()
        # What a killed leader leaves behind (pool processes, server workers) holds ports and
        # queues.
        _kill_group(self.pid)
        output.join(OUTPUT_SECONDS)
        self.ended.set_result(code)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _read(process: subprocess.Popen[bytes], on_line: Callable[[bytes], object]) -> None:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    with process.stdout as source:
        while line := source.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := source.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                line = TOO_LONG
            on_line(line)
