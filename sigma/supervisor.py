"""Keep processes running: restart what dies or hangs, show what they say, stop all in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from lib.tether import Identity, tethered
from sigma.console import Terminal
from sigma.engines.engine import UnableToStart
from sigma.engines.state import write_private
from sigma.progress import Progress

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
# After this many seconds of life a death is an accident again, and no longer part of a crash loop.
STEADY_SECONDS = 10.0
LONGEST_LINE = 1 << 20
# How often a program is asked whether it answers, and how long it may not before it is started
# again (docs/operations.md). One that has not answered yet may take longer while it does something.
ASK_EVERY_SECONDS = 5.0
HANG_SECONDS, LONGEST_HANG_SECONDS = 60.0, 600.0
# At the start: how long nothing may move, how often one may end, when to say what is waited for.
QUIET_SECONDS, MOST_STARTS, SAY_EVERY_SECONDS = 120.0, 4, 30.0
LOOK_EVERY_SECONDS, MOVED_EVERY_SECONDS = 0.05, 1.0
# What a dead program's descendants may hold its output open for.
LAST_WORDS_SECONDS = 5.0
# What hangs has seldom something to finish.
HANG_GRACE_SECONDS = 5.0


class StepFailed(UnableToStart):
    """A command that has to succeed before the system can start did not."""


class NotReady(UnableToStart):
    """A program keeps ending, or neither answers nor does anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process to keep running; ``log`` takes its output instead of the terminal.

    ``answers`` asks it whether it works, within seconds; ``settle`` returns when nothing of an
    earlier process is in the way. Both may block: they are called in threads.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 10.0
    pass_fds: tuple[int, ...] = ()
    identity: Identity = Identity.SAME
    log: Path | None = None
    answers: Callable[[], bool] | None = None
    settle: Callable[[], None] | None = None


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
        self.hang_seconds = HANG_SECONDS
        self._task = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        """The process that runs now; 0: none does."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else 0

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
        await self._settle()
        reading, writing = os.pipe()
        try:
            self._process = process = await _spawn(self.program, writing)
        finally:
            os.close(writing)
        self.starts += 1
        self._pids.note(self.program.name, process.pid)
        pump = asyncio.create_task(self._pump(reading))
        watch = asyncio.create_task(self._watch(process))
        # A stop may have come while the process was being made.
        if self._stopping.is_set():
            self._ask_to_stop()
        status = await process.wait()
        watch.cancel()
        # What a killed leader leaves behind (pool processes, server workers) holds ports and
        # queues.
        _kill_group(process.pid)
        await self._settle()
        await asyncio.wait({pump}, timeout=LAST_WORDS_SECONDS)
        pump.cancel()
        self._pids.forget(self.program.name)
        return status

    async def _settle(self) -> None:
        if self.program.settle is None:
            return
        try:
            await asyncio.to_thread(self.program.settle)
        except UnableToStart as error:
            self.last_line = str(error)
            self._terminal.event(self.program.name, self.last_line)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """End a process that does not answer any more, so that it is started again."""
        if self.program.answers is None:
            return
        silence = Silence(process.pid, self.hang_seconds)
        while not silence.is_over:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            answered = await asyncio.to_thread(self.program.answers)
            if answered:
                self.hang_seconds = HANG_SECONDS
            if said := silence.note(answered):
                self._terminal.event(self.program.name, said)
        self.hang_seconds = min(self.hang_seconds * 2, LONGEST_HANG_SECONDS)
        self._ask_to_stop()
        await asyncio.sleep(min(self.program.grace_seconds, HANG_GRACE_SECONDS))
        _kill_group(process.pid)

    async def _pump(self, pipe: int) -> None:
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        loop, protocol = asyncio.get_running_loop(), asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(pipe, "rb"))
        with closing(transport):
            while line := await _read_line(reader):
                self.last_line = line.decode(errors="replace").rstrip()
                if self.program.log is None:
                    self._terminal.log(self.program.name, self.last_line)
                else:
                    _append(self.program.log, line)

    def _announce(self, status: int, pause: float) -> None:
        # Whose output is not on the terminal gets his last words quoted.
        words = f": {self.last_line}" if self.program.log and status > 0 else ""
        text = f"{_ending(status)}{words}; starting again in {pause:.1f} s"
        self._terminal.event(self.program.name, text)

    def _ask_to_stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)


class Silence:
    """How long a process has not answered, and whether that is long enough to end it."""

    def __init__(self, pid: int, most_seconds: float) -> None:
        self.is_over = False
        self._pid, self._most = pid, most_seconds
        self._progress, self._has_answered = Progress(), False
        self._since: float | None = time.monotonic()

    def note(self, answered: bool) -> str:
        """Take the newest answer or the lack of it; return what is new to say."""
        if answered:
            said = "answers again" if self._has_answered and self._since is not None else ""
            self._has_answered, self._since = True, None
            return said
        began, self._since = self._since, self._since or time.monotonic()
        silent = time.monotonic() - self._since
        idle = silent if self._has_answered else self._progress.idle_seconds(self._pid)
        self.is_over = idle > self._most or silent > LONGEST_HANG_SECONDS
        if self.is_over:
            return f"has not answered for {silent:.0f} s; starting it again"
        return "" if began else f"does not answer; it is started again after {self._most:.0f} s"


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

    async def until(self, is_ready: Callable[[], bool], *children: Child, waiting_for: str) -> None:
        """Wait until something is so that depends on programs, for as long as they do something.

        ``is_ready`` may block: it is called in a thread. ``waiting_for`` completes "Waiting for".

        Raises:
            NotReady: one of them keeps ending, or none did anything for a long time.
        """
        progress = {child: Progress() for child in children}
        looked = said = time.monotonic()
        while not await asyncio.to_thread(is_ready):
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if time.monotonic() - looked < MOVED_EVERY_SECONDS:
                continue
            looked = time.monotonic()
            _refuse_to_wait(progress, waiting_for)
            if looked - said > SAY_EVERY_SECONDS:
                said = looked
                self._terminal.note(f"Waiting for {waiting_for} …")

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


def _refuse_to_wait(progress: Mapping[Child, Progress], waiting_for: str) -> None:
    for child in progress:
        if child.starts >= MOST_STARTS and not child.pid:
            raise NotReady(f"{child.program.name} keeps ending: {child.last_line}")
    idle = min(moved.idle_seconds(child.pid) for child, moved in progress.items())
    if idle > QUIET_SECONDS:
        raise NotReady(
            f"Waited for {waiting_for}, and nothing has moved for {idle:.0f} s; "
            "the lines above say why."
        )


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
