"""Start the plain project (`benchmarks.plain`) with the best server for it that is installed."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from benchmarks.engines import Engines
from benchmarks.load import Spec
from benchmarks.processes import Server, answers, free_port

WSGI, ASGI = "benchmarks.plain.wsgi:application", "benchmarks.plain.wsgi:asgi"
# Two processes of eight threads each were the best that was tried with each server. The first that
# is installed is used; granian and gunicorn are no dependencies of this project.
SERVERS: dict[str, Callable[[str], list[str]]] = {
    "granian": lambda port: [
        "granian",
        "--interface",
        "wsgi",
        "--workers",
        "2",
        "--blocking-threads",
        "8",
        "--port",
        port,
        "--log-level",
        "error",
        WSGI,
    ],
    "uvicorn": lambda port: [
        "uvicorn",
        "--workers",
        "2",
        "--port",
        port,
        "--log-level",
        "error",
        "--no-access-log",
        ASGI,
    ],
    "gunicorn": lambda port: [
        "gunicorn",
        "--worker-class",
        "gthread",
        "--workers",
        "2",
        "--threads",
        "8",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "error",
        WSGI,
    ],
}
NAMES = {
    "granian": "granian (WSGI, 2 × 8 threads)",
    "uvicorn": "uvicorn and a2wsgi (2 × 8 threads)",
    "gunicorn": "gunicorn (gthread, 2 × 8 threads)",
}


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain project: a database of its own, nothing of it running yet."""

    database_url: str
    redis_url: str
    home: Path
    env: dict[str, str]
    server: str

    @property
    def server_name(self) -> str:
        """Return what serves the view."""
        return NAMES[self.server]

    def web(self) -> tuple[Server, str]:
        """Start the web server; return it and its base URL."""
        port = free_port()
        argv = [sys.executable, "-m", *SERVERS[self.server](str(port))]
        server = Server(argv, env=self.env, log=self.home / "plain-web.log")
        return server.wait_until(lambda: answers(port)), f"http://127.0.0.1:{port}"

    def worker(self, *, reuse: int = 0) -> Server:
        """Start Celery with two processes; ``reuse`` sets ``CELERY_DB_REUSE_MAX``."""
        log = self.home / "plain-worker.log"
        log.write_text("")
        argv = [sys.executable, "-m", "celery", "-A", "benchmarks.plain.queue:app", "worker"]
        argv += ["-c", "2", "-l", "INFO"]
        env = {**self.env, "PLAIN_DB_REUSE_MAX": str(reuse)}
        return Server(argv, env=env, log=log).wait_until(lambda: "ready" in log.read_text())

    def spec(self, base_url: str, *, count: int, seed: int = 1) -> Spec:
        """Return a load for the view."""
        return Spec(
            url=f"{base_url}/hook",
            secret=self.env["PLAIN_APP_SECRET"],
            waba_id="102290129340398",
            phone_number_id="106540352242922",
            count=count,
            seed=seed,
        )

    def empty(self) -> None:
        """Remove rows and queued tasks."""
        redis.Redis.from_url(self.redis_url).flushdb()
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("TRUNCATE plain_message, plain_contact")

    def wait_until_stored(self, messages: int, *, seconds: float) -> float:
        """Return the wall-clock time at which all messages were there.

        Raises:
            TimeoutError: they never were.
        """
        deadline = time.monotonic() + seconds
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = connection.execute("SELECT count(*) FROM plain_message").fetchone()
                if row and row[0] >= messages:
                    return time.time()
                time.sleep(0.05)
        raise TimeoutError("The plain pipeline did not finish.")


def install(engines: Engines, *, server: str = "") -> Plain:
    """Make the plain project's database and tables."""
    home = engines.home
    installed = [name for name in SERVERS if importlib.util.find_spec(name)]
    env = {
        **os.environ,
        "DATABASE_URL": engines.database("plain"),
        "REDIS_URL": engines.broker(2),
        "PLAIN_APP_SECRET": secrets.token_hex(16),
        "DJANGO_SETTINGS_MODULE": "benchmarks.plain.settings",
        "PYTHONWARNINGS": "ignore",
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--no-input"]
    subprocess.run(migrate, env=env, check=True, stdout=subprocess.DEVNULL)
    return Plain(env["DATABASE_URL"], env["REDIS_URL"], home, env, server or installed[0])
