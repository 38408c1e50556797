"""The processes of an installation, as ``make up`` runs them; docker-compose.yml has the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sigma.engines import state
from sigma.env import Env, ingest_drains
from sigma.supervisor import Program

UVICORN = (
    "-m",
    "uvicorn",
    "sigma.asgi:application",
    "--http",
    "sigma.heads:Bounded",
    "--ws",
    "none",
    "--log-level",
    "warning",
    "--no-access-log",
    "--no-server-header",
    "--no-proxy-headers",  # Django reads X-Forwarded-Proto itself; the receiver needs none
)
# Gossip, mingle and heartbeats are chatter between workers that nobody reads here.
CELERY = ("-m", "celery", "--quiet", "-A", "sigma.celery:app")
Answers = Callable[[], bool] | None
SOLITARY = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")


def prepare(env: Mapping[str, str]) -> Program:
    """Return what has to be done before the others start: migrations, the demo tenant."""
    return manage("create_demo", env, "create_demo", "--migrate")


def manage(name: str, env: Mapping[str, str], *arguments: str) -> Program:
    """Return a management command to run to its end."""
    manage_py = str(state.REPOSITORY / "manage.py")
    return Program(name=name, argv=(sys.executable, manage_py, *arguments), env=env)


def simulator(env: Mapping[str, str], port: int, log: Path) -> Program:
    """Return Meta as the demo sees it; what it says goes to a file."""
    manage_py = str(state.REPOSITORY / "manage.py")
    argv = (sys.executable, manage_py, "simulate", "meta", "--demo", "--port", str(port))
    return Program(name="simulator", argv=argv, env=env, log=log)


# Beside those that process callbacks: two to look after broadcasts, one to deliver events, and one
# for what the clock calls. A broadcast whose turn had to wait for a place would run dry.
OTHER_TURNS = 4


def workers(env: Mapping[str, str]) -> list[Program]:
    """Return the Celery workers; SIGTERM lets them finish what they hold."""
    turns = ingest_drains(Env(env)) + OTHER_TURNS
    return [
        _worker("worker", env, queues="ingest,broadcast,events", processes=turns),
        _worker("sending", env, queues="send", processes=1),
        _worker("maintenance", env, queues="maintenance", processes=1),
    ]


def beat(env: Mapping[str, str]) -> Program:
    """Return the scheduler."""
    return _celery("beat", env, "beat", "--loglevel", "WARNING")


def web(env: Mapping[str, str], listener: int, answers: Answers = None) -> Program:
    """Return the web server on a socket that is already listening.

    While a dead server is being replaced, the kernel keeps new connections waiting instead of
    refusing them.
    """
    count = env.get("SIGMA_WEB_PROCESSES", "").strip() or "1"
    options = ("--fd", str(listener), "--workers", count, "--timeout-graceful-shutdown", "5")
    argv = (sys.executable, *UVICORN, *options)
    return Program(name="web", argv=argv, env=env, pass_fds=(listener,), answers=answers)


def sender(env: Mapping[str, str], listener: int, host: str, answers: Answers = None) -> Program:
    """Return the sender service on a socket that is already listening on ``host``."""
    argv = (sys.executable, "-m", "sigma.sender", "--fd", str(listener), "--host", host)
    return Program(name="sender", argv=argv, env=env, pass_fds=(listener,), answers=answers)


def devices(env: Mapping[str, str]) -> Program:
    """Return the host of linked devices; its sessions end after the send that is under way."""
    manage_py = str(state.REPOSITORY / "manage.py")
    argv = (sys.executable, manage_py, "sender", "host")
    return Program(name="devices", argv=argv, env=env, grace_seconds=100.0)


def _worker(name: str, env: Mapping[str, str], *, queues: str, processes: int) -> Program:
    options = ("-Q", queues, "-c", str(processes), "-n", f"{name}@%h", *SOLITARY)
    return _celery(name, env, "worker", *options)


def _celery(name: str, env: Mapping[str, str], *arguments: str) -> Program:
    return Program(name=name, argv=(sys.executable, *CELERY, *arguments), env=env)
