"""Engines for the tests: those of the environment, else throw-away ones started once per session.

A plugin (see addopts in pyproject.toml) and not part of conftest.py, because pytest-django reads
the settings first.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from sigma.engines import postgres, valkey
from sigma.engines.engine import Engine, EngineFailed

# As many as Valkey and Redis have unless they are told otherwise.
DATABASES = 16
SESSION = pytest.StashKey[tuple[Path, list[subprocess.Popen[bytes]]]]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Put the engines into the environment; the workers of pytest-xdist inherit it."""
    # A script that starts the tests in the background lets them, and all they start, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "SIGMA_TESTS_HOME" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="sigma-tests-"))
        # Never the developer's own data, and keys that are made on the spot.
        os.environ.update(
            SIGMA_TESTS_HOME=str(folder), SIGMA_HOME=str(folder), SIGMA_EMBEDDED="true"
        )
        os.environ["SIGMA_MASTER_KEYS"] = f"tests:{b64encode(os.urandom(32)).decode()}"
        processes: list[subprocess.Popen[bytes]] = []
        early_config.stash[SESSION] = (folder, processes)
        if not os.environ.get("DATABASE_URL"):
            _start(postgres.prepare(folder, durable=False), "DATABASE_URL", processes)
        if not os.environ.get("REDIS_URL"):
            _start(valkey.prepare(folder, durable=False), "REDIS_URL", processes)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    _take_a_broker_of_its_own(worker)
    os.environ["SIGMA_METRICS_FOLDER"] = f"{os.environ['SIGMA_TESTS_HOME']}/metrics{worker}"
    return (yield)


def _take_a_broker_of_its_own(worker: str) -> None:
    """Give each process of pytest-xdist its own database of the broker, as it has of PostgreSQL."""
    if worker:
        parts = urlsplit(os.environ["REDIS_URL"])
        number = (int(parts.path.strip("/") or 0) + int(worker.removeprefix("gw"))) % DATABASES
        os.environ["REDIS_URL"] = urlunsplit(parts._replace(path=f"/{number}"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this session started and remove its data."""
    folder, processes = config.stash.get(SESSION, (None, []))
    for process in processes:
        process.kill()
        process.wait()
    if folder and processes:
        shutil.rmtree(postgres.data_folder(folder), ignore_errors=True)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _start(engine: Engine, variable: str, processes: list[subprocess.Popen[bytes]]) -> None:
    log = Path(os.environ["SIGMA_TESTS_HOME"]) / f"{engine.name}.log"
    with log.open("wb") as file:
        processes.append(subprocess.Popen(engine.command(), stdout=file, stderr=file))
    deadline = time.monotonic() + 300
    while not engine.answers():
        if time.monotonic() > deadline or processes[-1].poll() is not None:
            raise EngineFailed(f"{engine.title} did not start: {log.read_text()[-500:]}")
        time.sleep(0.02)
    os.environ[variable] = engine.url
