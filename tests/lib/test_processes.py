"""A guarded process: its output is read to the end, and nothing it started outlives it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

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
