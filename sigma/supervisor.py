"""Keep programs running: restart those that end or hang, show their output, stop all in order."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lib.deathguard import Identity
from lib.files import write_private
from lib.processes import GuardedProcess
from sigma.console import Terminal
from sigma.engines.engine import UnableToStart

Result = TypeVar("Result")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
# A program that ran for so many seconds is not in a crash loop: its pauses begin anew.
STEADY_SECONDS = 10.0
# How often a program is asked whether it answers, and how long it may not before it is started
# again (docs/operations.md). One that has not answered yet may take longer while it does something.
ASK_EVERY_SECONDS = 5.0
HANG_SECONDS, LONGEST_HANG_SECONDS = 60.0, 600.0
# At the start: how long nothing may move, how often one may end, when to say what is waited for.
QUIET_SECONDS, MOST_STARTS, SAY_EVERY_SECONDS = 120.0, 4, 30.0
LOOK_EVERY_SECONDS, MOVED_EVERY_SECONDS = 0.05, 1.0
# A program that hangs seldom has something to finish.
HANG_GRACE_SECONDS = 5.0
# Less than this in a whole window is a process that only looks whether something has changed.
SECONDS_OF_WORK = 1.0
TICKS = os.sysconf("SC_CLK_TCK")


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


async def in_thread(call: Callable[[], Result]) -> Result:
    """Return what a call returns that may block.

    Raises:
        OSError: the machine starts no more threads.
    """
    try:
        future = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return await future


class PidFile:
    """Which process plays which role now, for scripts that watch or kill them.

    Where the file cannot be written the programs go on, and the next change writes it whole.
    """

    def __init__(self, path: Path, terminal: Terminal) -> None:
        self._path, self._terminal = path, terminal
        self._is_stale = False
        self._pids = {"supervisor": os.getpid()}

    def add(self, role: str, pid: int) -> None:
        """Record a process that was started."""
        self._pids[role] = pid
        self._write()

    def remove(self, role: str) -> None:
        """Remove a process that ended."""
        self._pids.pop(role, None)
        self._write()

    def _write(self) -> None:
        try:
            write_private(self._path, json.dumps(self._pids, indent=2) + "\n")
            self._is_stale = False
        except OSError as error:  # a full disk
            if not self._is_stale:
                self._terminal.note(f"{self._path} was not written: {error.strerror or error}.")
            self._is_stale = True


class SupervisedProgram:
    """A program and its present process, which is replaced when it ends."""

    def __init__(self, program: Program, terminal: Terminal, pids: PidFile) -> None:
        self.program = program
        self.starts = 0
        self.last_line = ""
        self._terminal = terminal
        self._pids = pids
        self._process: GuardedProcess | None = None
        self._stopping = asyncio.Event()
        self.hang_seconds = HANG_SECONDS
        self._task = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int:
        """The process that runs now; 0: none does."""
        return self._process.pid if self._process and self._process.is_running else 0

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
        if self._process is not None:
            self._process.kill()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            how = await self._run()
            if self._stopping.is_set():
                return
            if time.monotonic() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._terminal.event(self.program.name, f"{how}; starting again in {pause:.1f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run(self) -> str:
        """Run the program to its end and return how it ended, for people."""
        await self._settle()
        self.starts += 1
        try:
            self._process = process = _started(self.program, self._show)
        except OSError as error:  # no memory, no more processes
            self.last_line = f"not started: {error.strerror or error}"
            return self.last_line
        self._pids.add(self.program.name, process.pid)
        watch = asyncio.create_task(self._watch(process))
        # A stop may have come while the process was being made.
        if self._stopping.is_set():
            self._ask_to_stop()
        status = await asyncio.wrap_future(process.ended)
        watch.cancel()
        await self._settle()
        self._pids.remove(self.program.name)
        # The last line of a program whose output is not on the terminal is quoted.
        quote = f": {self.last_line}" if self.program.log and status > 0 else ""
        return _describe_exit(status) + quote

    async def _settle(self) -> None:
        if self.program.settle is None:
            return
        try:
            await in_thread(self.program.settle)
        except (UnableToStart, OSError) as error:
            self.last_line = str(getattr(error, "strerror", None) or error)
            self._terminal.event(self.program.name, self.last_line)

    async def _watch(self, process: GuardedProcess) -> None:
        """End a process that does not answer any more, so that it is started again."""
        if self.program.answers is None:
            return
        silence = Silence(process.pid, self.hang_seconds)
        while not silence.is_over:
            await asyncio.sleep(ASK_EVERY_SECONDS)
            try:
                answered = await in_thread(self.program.answers)
            except OSError:  # nobody could ask
                continue
            if answered:
                self.hang_seconds = HANG_SECONDS
            if said := silence.record(answered):
                self._terminal.event(self.program.name, said)
        self.hang_seconds = min(self.hang_seconds * 2, LONGEST_HANG_SECONDS)
        self._ask_to_stop()
        await asyncio.sleep(min(self.program.grace_seconds, HANG_GRACE_SECONDS))
        process.kill()

    def _show(self, line: bytes) -> None:
        self.last_line = line.decode(errors="replace").rstrip()
        if self.program.log is None:
            self._terminal.log(self.program.name, self.last_line)
        else:
            _append(self.program.log, line)

    def _ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.program.stop_signal)


class Activity:
    """How long a process and all it started have done nothing, by the processor time they took.

    Without ``/proc`` nothing is seen of that, and every process is one that does nothing.
    """

    def __init__(self) -> None:
        self._moved, self._used, self._pid = time.monotonic(), 0.0, 0

    def idle_seconds(self, pid: int) -> float:
        """Return the seconds since ``pid`` last did something; another process is a new start."""
        used = _processor_seconds(pid)
        if pid != self._pid or used >= self._used + SECONDS_OF_WORK:
            self._moved, self._used, self._pid = time.monotonic(), used, pid
        return time.monotonic() - self._moved


def _processor_seconds(root: int) -> float:
    """Return what a process, its descendants, and those of them that ended have used."""
    if not root:
        return 0.0
    parents, ticks = {}, {}
    for pid, parent, used in _processes():
        parents[pid], ticks[pid] = parent, used
    return sum(used for pid, used in ticks.items() if _descends(pid, root, parents)) / TICKS


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield each process's id, its parent's, and its clock ticks (proc(5), ``stat``)."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            yield int(entry.name), int(fields[1]), sum(map(int, fields[11:15]))


class Silence:
    """How long a process has not answered, and whether that is long enough to end it."""

    def __init__(self, pid: int, most_seconds: float) -> None:
        self.is_over = False
        self._pid, self._most = pid, most_seconds
        self._activity, self._has_answered = Activity(), False
        self._since: float | None = time.monotonic()

    def record(self, answered: bool) -> str:
        """Record the newest answer or the lack of it; return what is new to report, or nothing."""
        if answered:
            said = "answers again" if self._has_answered and self._since is not None else ""
            self._has_answered, self._since = True, None
            return said
        began, self._since = self._since, self._since or time.monotonic()
        silent = time.monotonic() - self._since
        idle = silent if self._has_answered else self._activity.idle_seconds(self._pid)
        self.is_over = idle > self._most or silent > LONGEST_HANG_SECONDS
        if self.is_over:
            return f"has not answered for {silent:.0f} s; starting it again"
        return "" if began else f"does not answer; it is started again after {self._most:.0f} s"


class Supervisor:
    """The programs of the system, started in waves and stopped in the opposite order."""

    def __init__(self, terminal: Terminal, pids: Path) -> None:
        self._terminal = terminal
        self._pids = PidFile(pids, terminal)
        self._waves: list[list[SupervisedProgram]] = []

    def start(self, *programs: Program) -> list[SupervisedProgram]:
        """Start a wave of programs; they are stopped together, before every earlier wave."""
        wave = [SupervisedProgram(program, self._terminal, self._pids) for program in programs]
        self._waves.append(wave)
        return wave

    async def until(
        self, is_ready: Callable[[], bool], *supervised: SupervisedProgram, waiting_for: str
    ) -> None:
        """Wait until something is so that depends on programs, for as long as they do something.

        ``is_ready`` may block: it is called in a thread. ``waiting_for`` completes "Waiting for".

        Raises:
            NotReady: one of them keeps ending, or none did anything for a long time.
            OSError: there are no more threads to ask in.
        """
        activity = {each: Activity() for each in supervised}
        looked = said = time.monotonic()
        while not await in_thread(is_ready):
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            if time.monotonic() - looked < MOVED_EVERY_SECONDS:
                continue
            looked = time.monotonic()
            _refuse_to_wait(activity, waiting_for)
            if looked - said > SAY_EVERY_SECONDS:
                said = looked
                self._terminal.note(f"Waiting for {waiting_for} …")

    async def run(self, program: Program) -> str:
        """Run a program to its end and return what it said.

        Raises:
            StepFailed: it ended with an error; the message holds its last lines.
        """
        output: list[bytes] = []
        process = _started(program, output.append)
        try:
            status = await asyncio.wrap_future(process.ended)
        except asyncio.CancelledError:
            process.kill()
            raise
        lines = b"".join(output).decode(errors="replace")
        if status:
            raise StepFailed(f"{program.name} failed:\n" + "\n".join(lines.splitlines()[-15:]))
        return lines

    async def stop(self) -> None:
        """Stop everything, the last wave first; what cannot be stopped is killed."""
        while self._waves:
            wave = self._waves[-1]
            stops = (supervised.stop() for supervised in wave)
            errors = await asyncio.gather(*stops, return_exceptions=True)
            for supervised, error in zip(wave, errors, strict=True):
                if error is not None:
                    supervised.kill()
                    self._terminal.event(supervised.program.name, f"not stopped: {error!r}; killed")
            self._waves.pop()

    def kill(self) -> None:
        """Do not wait any longer: end everything at once."""
        for wave in self._waves:
            for program in wave:
                program.kill()


def _refuse_to_wait(activity: Mapping[SupervisedProgram, Activity], waiting_for: str) -> None:
    for supervised in activity:
        if supervised.starts >= MOST_STARTS and not supervised.pid:
            raise NotReady(f"{supervised.program.name} keeps ending: {supervised.last_line}")
    idle = min(moved.idle_seconds(each.pid) for each, moved in activity.items())
    if idle > QUIET_SECONDS:
        raise NotReady(
            f"Waited for {waiting_for}, and nothing has moved for {idle:.0f} s; "
            "the lines above say why."
        )


def _started(program: Program, on_line: Callable[[bytes], object]) -> GuardedProcess:
    return GuardedProcess(
        program.argv,
        on_line=on_line,
        death_signal=program.stop_signal,
        identity=program.identity,
        env=program.env,
        pass_fds=program.pass_fds,
    )


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line)


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"ended with code {status}"
    with suppress(ValueError):  # not every signal has a name
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
