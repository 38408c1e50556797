"""The engines of a run: throw-away embedded ones, durable, or those of the environment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from benchmarks.processes import Server
from sigma.engines import postgres, valkey
from sigma.engines.engine import Engine


class NotOnThisMachine(Exception):
    """The benchmark fills and drops databases; it only uses engines on this machine."""


@dataclass(slots=True)
class Engines:
    """Where the databases and the brokers are; ``servers`` are those that we started."""

    home: Path
    database_url: str
    redis_url: str
    databases: list[str] = field(default_factory=list)
    servers: dict[str, Server] = field(default_factory=dict)

    def database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        full = f"sigma_bench_{os.getpid()}_{name}"
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(full)))
        self.databases.append(full)
        return urlunsplit(urlsplit(self.database_url)._replace(path=f"/{full}"))

    def broker(self, number: int) -> str:
        """Return the URL of a broker database."""
        return urlunsplit(urlsplit(self.redis_url)._replace(path=f"/{number}"))

    def describe(self) -> str:
        """Return one line on what runs, and how durable it is."""
        with psycopg.connect(self.database_url) as connection:
            values = [
                connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone()
                for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes")
            ]
        version, fsync, commit, pages = (str(value[0]) for value in values if value)
        origin = "embedded" if self.servers else "of the environment"
        return (
            f"PostgreSQL {version} ({origin}), fsync {fsync}, synchronous_commit {commit}, "
            f"full_page_writes {pages}"
        )


@contextmanager
def running() -> Iterator[Engines]:
    """Yield engines; what was started is stopped and removed, what was created is dropped."""
    given = (os.environ.get("DATABASE_URL", ""), os.environ.get("REDIS_URL", ""))
    home = Path(tempfile.mkdtemp(prefix="sigma-bench-"))
    engines = Engines(home, *given)
    try:
        for url in filter(None, given):
            _check_loopback(url)
        if not engines.database_url:
            engine = postgres.prepare(home)
            # Tells when a row was committed, to measure the lag; costs next to nothing.
            data = postgres.data_folder(home) / "postgres"
            (data / "postgresql.auto.conf").write_text("track_commit_timestamp = on\n")
            engines.database_url = _start(engines, engine)
        if not engines.redis_url:
            engines.redis_url = _start(engines, valkey.prepare(home))
        yield engines
        _drop(engines)
    finally:
        for server in engines.servers.values():
            server.stop()
        shutil.rmtree(postgres.data_folder(home), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def _start(engines: Engines, engine: Engine) -> str:
    server = Server(
        engine.argv,
        env=os.environ,
        log=engines.home / f"{engine.name}.log",
        identity=engine.identity,
        stop_signal=engine.stop_signal,
    )
    engines.servers[engine.name] = server.wait_until(engine.answers)
    return engine.url


def _drop(engines: Engines) -> None:
    with psycopg.connect(engines.database_url, autocommit=True) as connection:
        for name in engines.databases:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


def _check_loopback(url: str) -> None:
    if urlsplit(url).hostname not in ("127.0.0.1", "::1", "localhost"):
        raise NotOnThisMachine(NotOnThisMachine.__doc__)
