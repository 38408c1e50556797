"""A whole installation as ``make up`` starts it, in a scratch folder with engines of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.outgoing import meta as metas
from benchmarks.outgoing.meta import Meta
from benchmarks.processes import Server, free_port
from connectors.simulator.meta.world import World
from sigma.engines import postgres, state
from workspaces import demo_facts
from workspaces.demo_facts import DemoFacts

# What the installation under test must not inherit: it has engines, keys and settings of its own.
OURS = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "SIGMA_", "Platforms__", "PYTEST_")

STARTED = "Started in"


@dataclass(frozen=True, slots=True)
class Installation:
    """A running installation and its simulated Meta, where nobody writes of their own accord.

    ``env`` lets commands beside it find its data. ``owner_url`` leads to the database as the role
    that may change tables.
    """

    home: Path
    facts: DemoFacts
    env: dict[str, str]
    log: Path
    owner_url: str
    meta: Meta

    def pid(self, role: str) -> int | None:
        """Return the process that plays ``role`` now."""
        try:
            pids = json.loads((self.home / "pids.json").read_text())
        except (OSError, ValueError):
            return None
        found = pids.get(role)
        return int(found) if found else None


@contextmanager
def running(world_of: Callable[[str], World]) -> Iterator[Installation]:
    """Start one before a Meta that calls its base URL, yield it healthy, stop and remove both."""
    home = Path(tempfile.mkdtemp(prefix="sigma-chaos-"))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
    ports, log = (str(free_port()), str(free_port())), home / "up.log"
    meta = metas.start(world_of(f"http://127.0.0.1:{ports[0]}"), home)
    env = {**inherited, "SIGMA_HOME": str(home), "SIGMA_GRAPH_URL": meta.graph_url}
    argv = [sys.executable, "-m", "sigma.up", "--port", ports[0], "--sender-port", ports[1]]
    server = Server(argv, env=env, log=log, stop_signal=signal.SIGINT)
    try:
        server.wait_until(lambda: STARTED in log.read_text(errors="replace"), seconds=90)
        facts = demo_facts.read(home)
        assert facts is not None
        urls = state.read(home)
        engines = {"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url}
        beside = {**env, **engines, "SIGMA_EMBEDDED": "true"}
        yield Installation(home, facts, beside, log, urls.owner_url, meta)
    finally:
        server.stop(seconds=30)
        meta.stop()
        shutil.rmtree(postgres.data_folder(home), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def is_healthy(port: int) -> bool:
    """Ask the web server; a refused connection is a no."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_until_healthy(facts: DemoFacts, *, seconds: float) -> bool:
    """Return whether everything answers again in time."""
    deadline, port = time.monotonic() + seconds, int(facts.base_url.rpartition(":")[2])
    while time.monotonic() < deadline:
        if is_healthy(port):
            return True
        time.sleep(0.1)
    return False
