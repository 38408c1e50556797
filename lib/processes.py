"""A program as a process of ours: it ends when we end, with all it started, and we read its output.

What it is started for, and when again, is its supervisor's: of ``make up``
(:mod:`sigma.supervisor`), of linked devices (:mod:`connectors.linked_device.supervisor`).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import IO

from lib.deathguard import Identity, guarded

LONGEST_LINE = 1 << 20
TOO_LONG = b"(a line of more than 1 MiB was left out)\n"
# How long what a program started may hold its output open after its end.
OUTPUT_SECONDS = 5.0


class GuardedProcess:
    """A program that runs in a session of its own, so that Ctrl-C on the terminal is not for it.

    ``on_line`` takes each line of its output (stdout and stderr) in a thread. It gets
    ``death_signal`` when the thread that started it ends (:func:`lib.deathguard.guarded`).

    ``ended`` has the exit code, negative for a signal, once the program ended, what it had started
    was killed, and its output was read.

    Raises:
        OSError: the machine starts no more processes, or no more threads to watch one.
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
            guarded(argv, stop_signal=death_signal, identity=identity),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        output = self._process.stdout
        assert output is not None  # noqa: S101 - for the type checker
        self.pid = self._process.pid
        self.ended: Future[int] = Future()
        # Whoever waits for it may be cancelled; the future may not.
        self.ended.set_running_or_notify_cancel()
        reader = threading.Thread(target=_read, args=(output, on_line), daemon=True)
        waiter = threading.Thread(target=self._wait, args=(reader,), name="process", daemon=True)
        try:
            reader.start()
            waiter.start()
        except RuntimeError as error:  # the limit of threads
            _kill_group(self.pid)
            self._process.wait()
            if not reader.is_alive():  # else it closes the output at its end
                output.close()
            raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended yet; after that its output may still be read."""
        return self._process.returncode is None

    def send_signal(self, number: int) -> None:
        """Send the program a signal; nothing where it ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the program and all it started, at once; one that is paused too."""
        if self.is_running:  # else its id may be another's
            _kill_group(self.pid)

    def _wait(self, reader: threading.Thread) -> None:
        code = self._process.wait()
        try:
            # What a killed leader leaves behind (pool processes, server workers) holds ports and
            # queues.
            _kill_group(self.pid)
            reader.join(OUTPUT_SECONDS)
        finally:
            self.ended.set_result(code)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _read(output: IO[bytes], on_line: Callable[[bytes], object]) -> None:
    with output as source:
        while line := source.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := source.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                line = TOO_LONG
            # A full disk costs the line: with its output closed the program would end.
            with suppress(OSError):
                on_line(line)
