"""Which processes work on an engine's folder: two servers on one folder would destroy its data."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sigma.engines.engine import EngineFailed

# A server that was asked to stop writes a checkpoint first.
LONGEST_SHUTDOWN_SECONDS = 60.0
# Processes that a killed server left notice its end themselves, unless they hang.
ORPHAN_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.1


def wait_until_unused(folder: Path, server: str) -> None:
    """Return when no process works on ``folder``: a server is waited for, orphans are ended.

    ``server`` is the name of the server's program. Orphans are the processes that a killed server
    started; PostgreSQL's hold its shared memory, and a new server refuses to start beside them.
    Without ``/proc`` nothing is known, and it returns at once.

    Raises:
        EngineFailed: a server keeps running on these files.
    """
    if pid := _wait_while(lambda: _server(folder, server), LONGEST_SHUTDOWN_SECONDS):
        raise EngineFailed(f"Another {server} (process {pid}) runs on {folder}; stop it first.")
    if not _wait_while(lambda: _first(folder, server), ORPHAN_SECONDS):
        return
    for pid in working_on(folder, server):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if pid := _wait_while(lambda: _first(folder, server), LONGEST_SHUTDOWN_SECONDS):
        raise EngineFailed(f"Process {pid} of a killed {server} cannot be ended.")


def _wait_while(found: Callable[[], int], seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while (pid := found()) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
    return pid


def _first(folder: Path, server: str) -> int:
    return next(iter(working_on(folder, server)), 0)


def _server(folder: Path, server: str) -> int:
    return next((pid for pid in working_on(folder, server) if _title(pid) == server), 0)


def working_on(folder: Path, server: str) -> list[int]:
    """Return the living processes of a server and of what it started, by their working directory:
    both engines' is their folder. Others may stand there, too, such as somebody's shell.
    """
    there, found = folder.resolve(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # An upgrade may have replaced the program since.
            program = (entry / "exe").readlink().name.removesuffix(" (deleted)")
            if program == server and (entry / "cwd").readlink() == there:
                found.append(int(entry.name))
    return found


def _title(pid: int) -> str:
    """Return what a process calls itself: what a server starts is the same program by its file."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return ""
    # Valkey's title is "valkey-server 127.0.0.1:6379", that of PostgreSQL's are "postgres: writer".
    return os.path.basename(title.decode(errors="replace").partition(" ")[0])
