"""A guarded process: its output is read to the end, and nothing it started outlives it."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import processes
from lib.processes import GuardedProcess


def sh(script: str, lines: list[bytes]) -> GuardedProcess:
    """Start a shell script whose output becomes ``lines``."""
    return GuardedProcess(("/bin/sh", "-c", script), on_line=lines.append)


def test_it_has_ended_once_its_output_was_read() -> None:
    lines: list[bytes] = []

    assert sh("seq 3; echo late >&2; exit 7", lines).ended.result(60) == 7
    assert lines == [b"1\n", b"2\n", b"3\n", b"late\n"]


def test_it_takes_what_it_started_along(wait_for: Callable[..., None]) -> None:
    lines: list[bytes] = []
    process = sh("sleep 600 & echo $!; wait", lines)
    wait_for(lambda: lines)

    process.send_signal(signal.SIGTERM)

    assert process.ended.result(60) == -signal.SIGTERM
    wait_for(lambda: not Path(f"/proc/{int(lines[0])}/exe").exists())


def test_a_signal_to_one_that_ended_does_nothing() -> None:
    process = sh("exit 0", [])
    process.ended.result(60)

    process.send_signal(signal.SIGTERM)
    process.kill()

    assert not process.is_running


@pytest.mark.parametrize("started", [0, 1])
def test_it_is_not_started_where_no_thread_can_watch_it(
    started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, left = threading.Thread.start, iter([True] * started)

    def limited(thread: threading.Thread) -> None:
        if not next(left, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    pids: list[int] = []
    killpg = os.killpg

    def kill(leader: int, number: int) -> None:
        pids.append(leader)
        killpg(leader, number)

    monkeypatch.setattr(os, "killpg", kill)
    monkeypatch.setattr(threading.Thread, "start", limited)

    with pytest.raises(OSError, match="can't start new thread") as refusal:
        sh("sleep 600", [])

    assert refusal.value.errno == errno.EAGAIN
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_line_that_cannot_be_kept_does_not_end_the_program() -> None:
    lines: list[bytes] = []

    def on_line(line: bytes) -> None:
        lines.append(line)
        if len(lines) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    script = "echo one; sleep 0.2; echo two; echo three"
    process = GuardedProcess(("/bin/sh", "-c", script), on_line=on_line)

    assert process.ended.result(60) == 0
    assert lines == [b"one\n", b"two\n", b"three\n"]


def test_one_that_ended_is_not_killed_while_another_keeps_its_output_open(
    wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    killed: list[int] = []
    monkeypatch.setattr(processes, "OUTPUT_SECONDS", 60.0)
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    process = sh("setsid sleep 600 & echo $!; sleep 0.5", lines)
    wait_for(lambda: killed)

    process.kill()

    assert killed == [process.pid]
    assert not process.is_running
    os.kill(int(lines[0]), signal.SIGKILL)
    assert process.ended.result(60) == 0
