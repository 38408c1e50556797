"""``make up``: everything on this machine with one command, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sigma import caller, door, programs, simulated, welcome
from sigma.console import Terminal
from sigma.engines import postgres, state, valkey
from sigma.engines.engine import Engine, EngineFailed, UnableToStart
from sigma.options import Options, read_options
from sigma.supervisor import Child, Program, StepFailed, Supervisor

ENGINE_SECONDS = 60.0
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
        options = read_options()
        with (
            door.only_one(folder),
            door.listening(options.host, options.port) as web,
            door.listening(options.host, options.sender_port, variable="SENDER_PORT") as sender,
        ):
            supervisor = Supervisor(terminal, folder / "pids.json")
            asyncio.run(_until_stopped(options, terminal, supervisor, Listeners(web, sender)))
    except UnableToStart as error:
        terminal.problem(str(error))
        return 1
    return 0


async def _until_stopped(
    options: Options, terminal: Terminal, supervisor: Supervisor, listeners: Listeners
) -> None:
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
        await _start(options, terminal, supervisor, listeners)
        await caller.until_make_stops()
        terminal.note("\nmake was stopped; stopping …")
    except asyncio.CancelledError:
        terminal.note("\nStopping …")
    finally:
        # Closed first: whoever calls now is refused at once instead of waiting for nobody.
        for listener in listeners:
            listener.close()
        await supervisor.stop()
    terminal.note("Stopped.")


async def _start(
    options: Options, terminal: Terminal, supervisor: Supervisor, listeners: Listeners
) -> None:
    began, folder = time.monotonic(), state.home(os.environ)
    urls = await _engines(folder, terminal, supervisor)
    env = _environment(options, folder, urls)
    state.remember_graph(folder, env["SIGMA_GRAPH_URL"] if options.simulator_port else "")
    with terminal.step("Database migrated"):
        await supervisor.run(programs.manage("migrate", env, "migrate", "--no-input"))
    with terminal.step("Demo tenant ready"):
        addresses = (
            "--base-url", options.base_url, "--sender-url", options.sender_url,
            "--simulator-url", options.simulator_url,
        )  # fmt: skip
        await supervisor.run(programs.manage("create_demo", env, "create_demo", *addresses))
    if options.simulator_port:  # before those who talk to it, to be stopped after them
        log = folder / "simulator.log"
        supervisor.start(programs.simulator(env, options.simulator_port, log))
    with terminal.step("Web, workers and beat started"):
        supervisor.start(*programs.workers(env))
        supervisor.start(programs.beat(env))
        supervisor.start(programs.web(env, listeners.web.fileno()))
        await door.until_healthy(options.port)
    if options.simulator_port:
        with terminal.step("Simulator of Meta ready"):
            await simulated.until_subscribed(options.simulator_port, folder)
        await _read_catalogue(terminal, supervisor, env)
        with terminal.step("A simulated customer wrote"):
            await simulated.let_somebody_write(options.simulator_port, options.base_url, folder)
    with terminal.step("Sender service and linked devices started"):
        env = _for_sender(options, folder, env)
        supervisor.start(programs.devices(env))
        supervisor.start(programs.sender(env, listeners.sender.fileno(), options.host))
        await door.until_answering(options.sender_port, "/health")
    welcome.show(terminal, folder=folder, base_url=options.base_url)
    terminal.note(f"Started in {time.monotonic() - began:.1f} s.\n")


async def _read_catalogue(
    terminal: Terminal, supervisor: Supervisor, env: Mapping[str, str]
) -> None:
    """Read the demo's templates and number at once; where that fails, the schedule does it a little
    later.
    """
    syncs = (
        programs.manage("sync_templates", env, "sync_templates", "--tenant", "demo"),
        programs.manage("sync_numbers", env, "sync_numbers", "--tenant", "demo"),
    )
    try:
        with terminal.step("Templates and number read"):
            await asyncio.gather(*(supervisor.run(sync) for sync in syncs))
    except StepFailed as error:
        terminal.problem(f"Templates or number are not there yet. {error}")


async def _engines(folder: Path, terminal: Terminal, supervisor: Supervisor) -> state.Urls:
    """Start the engines that the environment does not name, and return the URLs of both."""
    given, kept = state.outside(os.environ), state.read(folder)
    engines = []
    if all((given.database_url, given.redis_url)):
        return given
    with terminal.step("Engines prepared"):
        if not given.database_url:
            engines.append(
                await asyncio.to_thread(postgres.prepare, folder, kept_url=kept.database_url)
            )
        if not given.redis_url:
            engines.append(await asyncio.to_thread(valkey.prepare, folder, kept_url=kept.redis_url))
    wave = supervisor.start(*(_as_program(engine, folder) for engine in engines))
    for engine, child in zip(engines, wave, strict=True):
        with terminal.step(f"{engine.title} ready"):
            await _answering(engine, child)
    urls = {engine.name: engine.url for engine in engines}
    state.remember(folder, database_url=urls.get("postgres", ""), redis_url=urls.get("valkey", ""))
    return state.resolve(os.environ)


def _as_program(engine: Engine, folder: Path) -> Program:
    return Program(
        name=engine.name,
        argv=engine.argv,
        env=os.environ,
        identity=engine.identity,
        stop_signal=engine.stop_signal,
        log=folder / f"{engine.name}.log",
    )


async def _answering(engine: Engine, child: Child) -> None:
    deadline = time.monotonic() + ENGINE_SECONDS
    while not await asyncio.to_thread(engine.answers):
        # A restart or two is normal after a crash: what the old server left may still be ending.
        if child.starts > 3 or time.monotonic() > deadline:
            raise EngineFailed(f"{engine.title} does not start: {child.last_line}")
        await asyncio.sleep(0.02)


def _environment(options: Options, folder: Path, urls: state.Urls) -> dict[str, str]:
    """Return what the children are told; what the user set himself wins."""
    defaults = {
        # The keys may be generated here: this is the command for one machine.
        "SIGMA_EMBEDDED": "true",
        "SIGMA_PUBLIC_URL": options.base_url,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": ",".join(f"ignore:{start}" for start in UNWANTED_ADVICE),
    }
    ours = {
        "SIGMA_HOME": str(folder),
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
    }
    if options.simulator_port:
        ours["SIGMA_GRAPH_URL"] = simulated.graph_url(options.simulator_port)
    return {**defaults, **os.environ, **ours}


def _for_sender(options: Options, folder: Path, env: Mapping[str, str]) -> dict[str, str]:
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
