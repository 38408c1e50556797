"""Keep processes running: restart what dies, show what they say, stop all of them in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sigma.console import Terminal
from sigma.engines.engine import UnableToStart
from sigma.engines.state import write_private
from workspaces.tether import Identity, tethered

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
# After this many seconds of life a death is an accident again, and no longer part of a crash loop.
STEADY_SECONDS = 10.0
LONGEST_LINE = 1 << 20


class StepFailed(UnableToStart):
    """A command that has to succeed before the system can start did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process to keep running; ``log`` takes its output instead of the terminal."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 10.0
    pass_fds: tuple[int, ...] = ()
    identity: Identity = Identity.SAME
    log: Path | None = None


class PidFile:
    """Which process plays which role now, for scripts that watch or kill them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pids = {"supervisor": os.getpid()}

    def note(self, role: str, pid: int) -> None:
        """Record a process that was started."""
        self._pids[role] = pid
        write_private(self._path, json.dumps(self._pids, indent=2) + "\n")

    def forget(self, role: str) -> None:
        """Remove a process that ended."""
        self._pids.pop(role, None)
        write_private(self._path, json.dumps(self._pids, indent=2) + "\n")


class Child:
    """One program's present process, replaced when it dies."""

    def __init__(self, program: Program, terminal: Terminal, pids: PidFile) -> None:
        self.program = program
        self.starts = 0
        self.last_line = ""
        self._terminal = terminal
        self._pids = pids
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ask the program to end, and kill it when its grace is over."""
        self._stopping.set()
        self._ask_to_stop()
        _, late = await asyncio.wait({self._task}, timeout=self.program.grace_seconds)
        if late:
            grace = f"{self.program.grace_seconds:.0f} s"
            self._terminal.event(self.program.name, f"did not stop within {grace}; killed")
            self.kill()
        await self._task

    def kill(self) -> None:
        """End the program and all it started, at once."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            _kill_group(self._process.pid)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._run()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._announce(status, pause)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run(self) -> int:
        reading, writing = os.pipe()
        try:
            self._process = process = await _spawn(self.program, writing)
        finally:
            os.close(writing)
        self.starts += 1
        self._pids.note(self.program.name, process.pid)
        pump = asyncio.create_task(self._pump(reading))
        # A stop may have come while the process was being made.
        if self._stopping.is_set():
            self._ask_to_stop()
        status = await process.wait()
        # What a killed leader leaves behind (pool processes, server workers) holds ports and
        # queues.
        _kill_group(process.pid)
        await pump
        self._pids.forget(self.program.name)
        return status

    async def _pump(self, pipe: int) -> None:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        loop, protocol = asyncio.get_running_loop(), asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb"))
        while line := await _read_line(reader):
            self.last_line = line.decode(errors="replace").rstrip()
            if self.program.log is None:
                self._terminal.log(self.program.name, self.last_line)
            else:
                _append(self.program.log, line)
        transport.close()

    def _announce(self, status: int, pause: float) -> None:
        # Whose output is not on the terminal gets his last words quoted.
        words = f": {self.last_line}" if self.program.log and status > 0 else ""
        text = f"{_ending(status)}{words}; starting again in {pause:.1f} s"
        self._terminal.event(self.program.name, text)

    def _ask_to_stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)


class Supervisor:
    """The programs of the system, started in waves and stopped in the opposite order."""

    def __init__(self, terminal: Terminal, pids: Path) -> None:
        self._terminal = terminal
        self._pids = PidFile(pids)
        self._waves: list[list[Child]] = []

    def start(self, *programs: Program) -> list[Child]:
        """Start a wave of programs; they are stopped together, before every earlier wave."""
        wave = [Child(program, self._terminal, self._pids) for program in programs]
        self._waves.append(wave)
        return wave

    async def run(self, program: Program) -> str:
        """Run a program to its end and return what it said.

        Raises:
            StepFailed: it ended with an error; the message holds its last lines.
        """
        process = await _spawn(program, asyncio.subprocess.PIPE)
        try:
            output = (await process.communicate())[0].decode(errors="replace")
        except asyncio.CancelledError:
            _kill_group(process.pid)
            raise
        if process.returncode:
            raise StepFailed(f"{program.name} failed:\n" + "\n".join(output.splitlines()[-15:]))
        return output

    async def stop(self) -> None:
        """Stop everything, the last wave first."""
        while self._waves:
            wave = self._waves[-1]
            await asyncio.gather(*(child.stop() for child in wave))
            self._waves.pop()

    def kill(self) -> None:
        """Do not wait any longer: end everything at once."""
        for wave in self._waves:
            for child in wave:
                child.kill()


async def _spawn(program: Program, output: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *tethered(program.argv, stop_signal=program.stop_signal, identity=program.identity),
        env=dict(program.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=program.pass_fds,
        # A session of its own: Ctrl-C on the terminal is for the supervisor, who stops in order.
        start_new_session=True,
    )


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        return b"(a line of more than 1 MiB was left out)\n"


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ending(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"ended with code {status}"
