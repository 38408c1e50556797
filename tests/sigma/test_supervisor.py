"""The supervisor, with real processes: restarts, order of stopping, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lib.processes import GuardedProcess
from sigma import supervisor
from sigma.console import Terminal
from sigma.supervisor import NotReady, Program, StepFailed, Supervisor


class Stage:
    """A supervisor, what it showed, and its pid file."""

    def __init__(self, folder: Path) -> None:
        self.screen = io.StringIO()
        self.pids_file = folder / "pids.json"
        console = Console(file=self.screen, width=200, highlight=False)
        self.supervisor = Supervisor(Terminal(console), self.pids_file)

    def pid(self, role: str) -> int:
        """Return the process that plays a role now, or 0."""
        try:
            return int(json.loads(self.pids_file.read_text()).get(role, 0))
        except FileNotFoundError:
            return 0

    async def shows(self, text: str) -> None:
        """Wait until a text is on the screen; the limit is patience, not expectation."""
        async with asyncio.timeout(120):
            while text not in self.screen.getvalue():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Set up a stage and clear it afterwards."""
    made = Stage(folder)
    try:
        yield made
    finally:
        await made.supervisor.stop()


def program(
    name: str, code: str, *, grace: float = 5, answers: Callable[[], bool] | None = None
) -> Program:
    """Return a Python program that says ``up`` and then sleeps, after doing ``code``."""
    rest = ";import time;print('up', flush=True);time.sleep(600)"
    argv = (sys.executable, "-c", code + rest)
    return Program(name=name, argv=argv, env=os.environ, grace_seconds=grace, answers=answers)


def play(scene: Callable[[Stage], Awaitable[None]], folder: Path) -> Stage:
    """Run one scene on a stage to its end and return what is left of it."""

    async def act() -> Stage:
        async with stage(folder) as made:
            await scene(made)
        return made

    return asyncio.run(act())


def test_it_shows_lines_behind_the_name_of_their_process(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.supervisor.start(program("web", "print('hello [bold]you[/]')"))
        await at.shows("web         │ hello [bold]you[/]\n")

    play(scene, tmp_path)


def test_it_starts_a_killed_process_again(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.supervisor.start(program("worker", "pass"))
        await at.shows("worker      │ up")
        os.kill(at.pid("worker"), signal.SIGKILL)
        await at.shows("killed by SIGKILL; starting again in 0.2 s")
        await at.shows(
            "up\nworker      │ killed by SIGKILL; starting again in 0.2 s\nworker      │ up"
        )

    play(scene, tmp_path)


def test_it_starts_again_what_a_signal_without_a_name_ended(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.supervisor.start(program("worker", "pass"))
        await at.shows("worker      │ up")
        os.kill(at.pid("worker"), 40)
        await at.shows("killed by signal 40; starting again in 0.2 s\nworker      │ up")

    play(scene, tmp_path)


def test_it_tries_again_to_start_what_the_machine_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = iter([OSError(errno.EAGAIN, "Resource temporarily unavailable")])

    def start(*args: Any, **options: Any) -> GuardedProcess:
        if refusal := next(refusals, None):
            raise refusal
        return GuardedProcess(*args, **options)

    monkeypatch.setattr(supervisor, "GuardedProcess", start)

    async def scene(at: Stage) -> None:
        at.supervisor.start(program("web", "pass"))
        await at.shows(
            "web         │ not started: Resource temporarily unavailable; "
            "starting again in 0.2 s\nweb         │ up"
        )

    play(scene, tmp_path)


class FullExecutor(ThreadPoolExecutor):
    """Refuses some work, as one that cannot start a thread."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals

    def submit(self, *args: Any, **named: Any) -> Future[Any]:
        """Take it, or refuse it."""
        self._refusals -= 1
        if self._refusals >= 0:
            raise RuntimeError("can't start new thread")
        return super().submit(*args, **named)


def test_it_keeps_programs_running_at_the_limit_of_threads(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        asyncio.get_running_loop().set_default_executor(FullExecutor(1))
        at.supervisor.start(replace(program("postgres", "pass"), settle=lambda: None))
        await at.shows("postgres    │ can't start new thread\npostgres    │ up")

    play(scene, tmp_path)


def test_it_keeps_programs_running_while_their_ids_cannot_be_written(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.pids_file.mkdir()
        (web,) = at.supervisor.start(program("web", "pass"))
        await at.shows("web         │ up")
        os.kill(web.pid, signal.SIGKILL)
        await at.shows("killed by SIGKILL; starting again in 0.2 s\nweb         │ up")

    shown = play(scene, tmp_path).screen.getvalue()
    assert shown.count("pids.json was not written: Is a directory.") == 1


def test_it_keeps_programs_running_while_nothing_can_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scene(at: Stage) -> None:
        (web,) = at.supervisor.start(program("web", "pass"))
        await at.shows("web         │ up")
        with monkeypatch.context() as full:
            full.setattr(at.screen, "write", refuse)
            os.kill(web.pid, signal.SIGKILL)
            async with asyncio.timeout(60):
                while not (web.starts == 2 and web.pid):
                    await asyncio.sleep(0.01)
        os.kill(web.pid, signal.SIGKILL)
        await at.shows("starting again in 0.4 s\nweb         │ up")

    shown = play(scene, tmp_path).screen.getvalue()
    assert shown.count("killed by SIGKILL") == 1


def test_it_stops_earlier_waves_after_one_that_cannot_be_stopped(tmp_path: Path) -> None:
    def settle() -> None:
        raise ZeroDivisionError

    async def scene(at: Stage) -> None:
        ends = "import signal, sys;signal.signal(15, lambda *_: (print('bye'), sys.exit(0)))"
        at.supervisor.start(program("postgres", ends))
        at.supervisor.start(replace(program("web", "pass"), settle=settle))
        await at.shows("postgres    │ up")

    shown = play(scene, tmp_path).screen.getvalue()
    assert "web         │ not stopped: ZeroDivisionError(); killed" in shown
    assert "postgres    │ bye" in shown


def test_it_waits_longer_each_time_a_process_fails_at_once(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.supervisor.start(program("beat", "raise SystemExit(3)"))
        await at.shows("ended with code 3; starting again in 0.4 s")

    play(scene, tmp_path)


def test_it_leaves_nothing_of_a_killed_process_behind(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    spawn = (
        "import subprocess;p=subprocess.Popen(['/bin/sleep','600']);print('child',p.pid,flush=True)"
    )

    async def scene(at: Stage) -> None:
        at.supervisor.start(program("web", spawn))
        await at.shows("up")
        os.kill(at.pid("web"), signal.SIGKILL)
        await at.shows("killed by SIGKILL")

    shown = play(scene, tmp_path).screen.getvalue()
    grandchild = Path("/proc", shown.partition("child ")[2].split()[0], "exe")
    wait_for(lambda: not grandchild.exists())


def test_it_stops_the_last_wave_first(tmp_path: Path) -> None:
    farewell = "import atexit, signal, sys;signal.signal(15, lambda *_: sys.exit(0));"

    async def scene(at: Stage) -> None:
        for name in ("valkey", "worker", "web"):
            at.supervisor.start(program(name, f"{farewell}atexit.register(print, 'bye')"))
            await at.shows(f"{name:<11} │ up")

    lines = play(scene, tmp_path).screen.getvalue().splitlines()
    assert [line.split()[0] for line in lines if line.endswith("bye")] == [
        "web",
        "worker",
        "valkey",
    ]


def test_it_kills_what_does_not_stop_in_time(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        ignore = "import signal;signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        at.supervisor.start(program("worker", ignore, grace=0.2))
        await at.shows("up")

    left = play(scene, tmp_path)
    assert "did not stop within 0 s; killed" in left.screen.getvalue()
    assert left.pid("worker") == 0


def test_it_gives_the_last_lines_of_a_step_that_fails(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        with pytest.raises(StepFailed, match=r"migrate failed:\nno such table"):
            await at.supervisor.run(program("migrate", "raise SystemExit('no such table')"))

    play(scene, tmp_path)


def test_it_survives_a_line_without_an_end(tmp_path: Path) -> None:
    async def scene(at: Stage) -> None:
        at.supervisor.start(program("web", "print('x' * 3_000_000);print('after')"))
        await at.shows("after")

    assert "a line of more than 1 MiB was left out" in play(scene, tmp_path).screen.getvalue()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become fractions of them."""
    monkeypatch.setattr(supervisor, "ASK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "HANG_SECONDS", 0.5)
    monkeypatch.setattr(supervisor, "HANG_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "QUIET_SECONDS", 2.0)
    monkeypatch.setattr(supervisor, "MOVED_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "SECONDS_OF_WORK", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
class TestPatience:
    def test_it_waits_for_a_slow_start_as_long_as_something_moves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervisor, "QUIET_SECONDS", 1.0)
        # Work for three times as long as nothing may move, however much of a processor there is.
        work = (
            "import time;end=time.monotonic()+3\n"
            "while time.monotonic() < end: pass\n"
            f"open({str(tmp_path / 'ready')!r}, 'w')"
        )

        async def scene(at: Stage) -> None:
            web = at.supervisor.start(program("web", work))
            await at.supervisor.until((tmp_path / "ready").exists, *web, waiting_for="the server")

        play(scene, tmp_path)

    def test_it_gives_up_when_nothing_moves_and_says_what_it_waited_for(
        self, tmp_path: Path
    ) -> None:
        async def scene(at: Stage) -> None:
            web = at.supervisor.start(program("web", "pass"))
            with pytest.raises(NotReady, match="Waited for the server, and nothing has moved"):
                await at.supervisor.until(lambda: False, *web, waiting_for="the server")

        play(scene, tmp_path)

    def test_it_gives_up_on_what_keeps_ending_with_its_last_words(self, tmp_path: Path) -> None:
        async def scene(at: Stage) -> None:
            web = at.supervisor.start(program("web", "raise SystemExit('no such module')"))
            with pytest.raises(NotReady, match="web keeps ending: no such module"):
                await at.supervisor.until(lambda: False, *web, waiting_for="the server")

        play(scene, tmp_path)


@pytest.mark.usefixtures("impatient")
class TestHanging:
    def test_it_starts_again_what_does_not_answer_any_more(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address, descriptor = listener.getsockname(), listener.fileno()
            serve = (
                f"import socket;s=socket.socket(fileno={descriptor});print('serves', flush=True)\n"
                "while True: s.accept()[0].sendall(b'!')"
            )
            argv = (sys.executable, "-c", serve)
            web = Program(
                name="web",
                argv=argv,
                env=os.environ,
                pass_fds=(descriptor,),
                answers=lambda: greets(address),
            )

            async def scene(at: Stage) -> None:
                at.supervisor.start(web)
                await at.shows("web         │ serves")
                hung = at.pid("web")
                os.kill(hung, signal.SIGSTOP)
                await at.shows("has not answered for")
                await at.shows("killed by SIGKILL; starting again in 0.2 s\nweb         │ serves")
                assert at.pid("web") != hung

            shown = play(scene, tmp_path).screen.getvalue()
            assert shown.count("does not answer;") <= shown.count("has not answered for")

    def test_it_says_once_that_something_does_not_answer_and_that_it_does_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervisor, "HANG_SECONDS", 600.0)
        said = iter([True, False, False, False, True])

        async def scene(at: Stage) -> None:
            at.supervisor.start(program("web", "pass", answers=lambda: next(said, True)))
            await at.shows("web         │ answers again")

        shown = play(scene, tmp_path).screen.getvalue()
        assert shown.count("does not answer; it is started again after 600 s") == 1

    def test_it_goes_on_asking_after_the_limit_of_threads(self, tmp_path: Path) -> None:
        async def scene(at: Stage) -> None:
            asyncio.get_running_loop().set_default_executor(FullExecutor(2))
            at.supervisor.start(program("web", "pass", answers=lambda: False))
            await at.shows("has not answered for")

        play(scene, tmp_path)

    def test_it_gives_a_process_more_time_each_time_it_never_answers(self, tmp_path: Path) -> None:
        async def scene(at: Stage) -> None:
            (postgres,) = at.supervisor.start(program("postgres", "pass", answers=lambda: False))
            await at.shows("starting again in 0.4 s")
            assert postgres.hang_seconds == 2.0

        play(scene, tmp_path)


def greets(address: tuple[str, int]) -> bool:
    """Return whether a server says something within a moment."""
    try:
        with socket.create_connection(address, timeout=0.2) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False
