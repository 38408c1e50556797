"""``make up``: everything on this machine with one command, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lib import counts
from sigma import door, programs, reachable, simulated, welcome
from sigma.console import Terminal
from sigma.engines import postgres, state, valkey
from sigma.engines.engine import Engine, UnableToStart
from sigma.env import InvalidSetting, broker_url, database
from sigma.options import Options, read_options
from sigma.supervisor import Program, SupervisedProgram, Supervisor, in_thread

# Answered by the servers' event loops alone, without a line in their logs.
WEB, SENDER = "/webhooks/whatsapp", "/health"
LOOK_AT_MAKE_EVERY_SECONDS = 0.5

UNWANTED_ADVICE = (
    # Celery's on users that containers have: root, and numbers without a name.
    "You're running the worker with superuser",
    "An entry for the specified gid",
    # Whitenoise's before collectstatic; here it serves the files from where they lie.
    "No directory at",
)


class Listeners(NamedTuple):
    """The sockets that callers reach us at."""

    web: socket.socket
    sender: socket.socket


def main() -> int:
    """Run until a signal comes; return the exit code."""
    terminal, folder = Terminal(), state.home(os.environ)
    try:
        # First of all, so that a second start blames no port.
        with door.only_one(folder):
            forget_counts(folder)
            options = read_options()
            with (
                door.listening(options.host, options.port) as web,
                door.listening(options.host, options.sender_port, variable="SENDER_PORT") as sender,
            ):
                supervisor = Supervisor(terminal, folder / "pids.json")
                asyncio.run(_until_stopped(options, terminal, supervisor, Listeners(web, sender)))
    except (UnableToStart, InvalidSetting) as error:
        terminal.problem(str(error))
        return 1
    except OSError as error:  # a full disk, a file of somebody else's
        terminal.problem(f"{error.filename or folder}: {error.strerror or error}.")
        return 1
    return 0


def forget_counts(folder: Path) -> None:
    """Begin the counts of ``/metrics`` anew: no process of an earlier start is left."""
    counts.forget(Path(os.environ.get("SIGMA_METRICS_FOLDER", "").strip() or folder / "metrics"))


async def _until_stopped(
    options: Options, terminal: Terminal, supervisor: Supervisor, listeners: Listeners
) -> None:
    began = time.monotonic()
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None  # noqa: S101 (this is a coroutine, so there is one)

    def on_signal() -> None:
        # The second one is from somebody who does not want to wait.
        if task.cancelling():
            supervisor.kill()
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    try:
        with state.starting(state.home(os.environ)):
            await _Start(options, terminal, supervisor).run(listeners)
        welcome.show(terminal, folder=state.home(os.environ), base_url=options.base_url)
        terminal.note(f"Started in {time.monotonic() - began:.1f} s.\n")
        await _until_make_stops()
        terminal.note("\nmake was stopped; stopping …")
    except asyncio.CancelledError:
        terminal.note("\nStopping …")
    finally:
        # Closed first: whoever calls now is refused at once instead of waiting for nobody.
        for listener in listeners:
            listener.close()
        await supervisor.stop()
    terminal.note("Stopped.")


async def _until_make_stops() -> None:
    """Return when the ``make`` that started us has to stop; without one, never.

    Ctrl-C on a terminal reaches us and make alike. A signal sent to make alone (``kill -INT``, a
    script's ``terminate``) does not: GNU make passes on SIGTERM only, and then waits for us. What
    shows is that it no longer catches SIGINT (``fatal_error_signal`` in its ``commands.c``).
    """
    parent = os.getppid()
    if _read_proc(parent, "comm").strip() not in {"make", "gmake"}:
        await asyncio.Event().wait()
    # Started in the background by a script, make may ignore the signal from the beginning.
    caught = _catches_interrupts(parent)
    while os.getppid() == parent and _catches_interrupts(parent) == caught:
        await asyncio.sleep(LOOK_AT_MAKE_EVERY_SECONDS)


def _catches_interrupts(pid: int) -> bool:
    for line in _read_proc(pid, "status").splitlines():
        name, _, mask = line.partition(":")
        if name == "SigCgt":
            return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)
    return False


def _read_proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


class _Start:
    """The steps from nothing to a system that serves; what can start side by side does."""

    def __init__(self, options: Options, terminal: Terminal, supervisor: Supervisor) -> None:
        self._options, self._terminal, self._supervisor = options, terminal, supervisor
        self._folder = state.home(os.environ)

    async def run(self, listeners: Listeners) -> None:
        """Start everything and return when it serves."""
        options, start = self._options, self._supervisor.start
        env = _environment(options, self._folder, await self._engines())
        state.remember(
            self._folder,
            base_url=options.base_url,
            sender_url=options.sender_url,
            graph_url=env["SIGMA_GRAPH_URL"] if options.simulator_port else "",
        )
        with self._terminal.step("Database and demo tenant ready"):
            await self._supervisor.run(programs.prepare({**env, **self._as_owner()}))
        simulator = []
        if options.simulator_port:  # before those who talk to it, to be stopped after them
            log = self._folder / "simulator.log"
            simulator = start(programs.simulator(env, options.simulator_port, log))
        workers = start(*programs.workers(env), programs.beat(env))
        web = start(programs.web(env, listeners.web.fileno(), self._answers(options.port, WEB)))
        env = environment_of_sender(options, self._folder, env)
        start(programs.devices(env))
        answers = self._answers(options.sender_port, SENDER)
        sender = start(programs.sender(env, listeners.sender.fileno(), options.host, answers))
        await self._until("Web server ready", self._serves(options.port, "/healthz"), *web)
        if simulator:
            await self._demo(*simulator, *web, *workers)
        await self._until("Sender ready", self._serves(options.sender_port, "/health"), *sender)

    def _as_owner(self) -> dict[str, str]:
        """Return what lets migrations own the embedded database, and the application log in."""
        urls = state.resolve(os.environ)
        if not urls.owner_url:
            return {}
        password = urlsplit(urls.database_url).password or ""
        return {"DATABASE_URL": urls.owner_url, "SIGMA_APPLICATION_PASSWORD": password}

    async def _demo(self, *supervised: SupervisedProgram) -> None:
        """Wait until the demo has what its user needs: templates, a number, somebody to answer."""
        assert self._options.simulator_port is not None  # noqa: S101 - it is simulated
        world = simulated.DemoWorld(
            self._options.simulator_port, self._options.base_url, self._folder
        )
        await self._until("Simulator of Meta ready", world.sends_callbacks, *supervised)
        await self._until("Templates read", world.has_templates, *supervised)
        await self._until("Number read", world.has_number, *supervised)
        await self._until("A simulated customer wrote", world.somebody_wrote, *supervised)

    async def _until(
        self, title: str, is_ready: Callable[[], bool], *supervised: SupervisedProgram
    ) -> None:
        with self._terminal.step(title):
            await self._supervisor.until(is_ready, *supervised, waiting_for=f"“{title}”")

    async def _engines(self) -> state.Urls:
        """Start the engines that the environment does not name, and return the URLs of both."""
        given, kept = state.outside(os.environ), state.read(self._folder)
        await _check_outside(given)
        preparing = []
        if not given.database_url:
            owner = kept.owner_url or kept.database_url
            preparing.append(partial(postgres.prepare, self._folder, kept_url=owner))
        if not given.redis_url:
            preparing.append(partial(valkey.prepare, self._folder, kept_url=kept.redis_url))
        if not preparing:
            return given
        with self._terminal.step("Engines prepared"):
            engines = await asyncio.gather(*map(in_thread, preparing))
        wave = self._supervisor.start(*(_as_program(engine, self._folder) for engine in engines))
        for engine, supervised in zip(engines, wave, strict=True):
            await self._until(f"{engine.title} ready", engine.answers, supervised)
        names = {"postgres": "owner_url", "valkey": "redis_url"}
        urls = {names[engine.name]: engine.url for engine in engines}
        if "owner_url" in urls:
            await asyncio.to_thread(reachable.check_database, urls["owner_url"])
            urls["database_url"] = postgres.application_url(
                urls["owner_url"], kept_url=kept.database_url
            )
        state.remember(self._folder, **urls)
        return state.resolve(os.environ)

    def _serves(self, port: int, path: str) -> Callable[[], bool]:
        """Return a question: whether a server answers at all, be it that it is not well yet."""
        address = (self._options.local_host, port)
        return lambda: door.status_of(address, path) > 0

    def _answers(self, port: int, path: str) -> Callable[[], bool]:
        address = (self._options.local_host, port)
        return lambda: door.answers(address, path)


async def _check_outside(given: state.Urls) -> None:
    if given.database_url:
        database(given.database_url)
        await in_thread(partial(reachable.check_database, given.database_url))
    if given.redis_url:
        broker_url(given.redis_url)
        await in_thread(partial(reachable.check_broker, given.redis_url))


def _as_program(engine: Engine, folder: Path) -> Program:
    return Program(
        name=engine.name,
        argv=engine.argv,
        env=os.environ,
        identity=engine.identity,
        stop_signal=engine.stop_signal,
        log=folder / f"{engine.name}.log",
        answers=engine.answers,
        settle=engine.settle,
    )


def _environment(options: Options, folder: Path, urls: state.Urls) -> dict[str, str]:
    """Return the environment of the processes; what the user has set wins."""
    defaults = {
        # The keys may be generated here: this is the command for one machine.
        "SIGMA_EMBEDDED": "true",
        "SIGMA_PUBLIC_URL": options.base_url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(f"ignore:{start}" for start in UNWANTED_ADVICE),
    }
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and "PYTHONPYCACHEPREFIX" not in os.environ:
        # Nothing is to be written beside the code; yet compiling it at each start takes longest.
        defaults["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    ours = {
        "PYTHONDONTWRITEBYTECODE": "",
        "SIGMA_HOME": str(folder),
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
    }
    if options.simulator_port:
        ours["SIGMA_GRAPH_URL"] = simulated.graph_url(options.simulator_port)
    return {**defaults, **os.environ, **ours}


def environment_of_sender(options: Options, folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the sender service and of linked devices: nothing here is
    WhatsApp's, unless the user said so; and on this machine alone the demo's calls need no key.
    """
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    defaults = {"SIGMA_SENDER_DEVICE": "simulated"}
    if options.is_private:
        defaults["SIGMA_SENDER_OPEN_WORKSPACE"] = demo["workspace_id"]
    return {**defaults, **env}


if __name__ == "__main__":
    sys.exit(main())
