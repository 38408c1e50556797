"""The embedded PostgreSQL: a durable cluster of its own in ``<home>/postgres``, created whole or
not at all, never served twice, and run as a user that the server accepts.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg.pq import PGconn, Ping

from lib.deathguard import Identity, guarded
from sigma.engines.engine import (
    Engine,
    EngineFailed,
    choose_port,
    postgres_program,
    wait_until_unused,
)
from workspaces.acting import APPLICATION_ROLE

USER = DATABASE = "sigma"
# The same sort order everywhere, without ICU; docker-compose.yml passes the same to its PostgreSQL.
LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
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
    data, kept = data_folder(home) / "postgres", urlsplit(kept_url)
    password = kept.password or secrets.token_urlsafe(24)
    if not data.exists():
        create(data, password)
    else:
        settle(data)
        # engines.json was lost: the data are still good, only the way in is new.
        if not kept.password:
            change_password(data, password)
    port = choose_port(kept.port)
    settings = {**SETTINGS, **({} if durable else FORGETFUL), "port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
    return Engine(
        name="postgres",
        title="PostgreSQL",
        url=url,
        # SIGINT is PostgreSQL's fast shutdown: it ends the sessions and writes a checkpoint.
        argv=(str(postgres_program("postgres")), "-D", str(data), *options),
        stop_signal=signal.SIGINT,
        answers=lambda: _answers(url),
        settle=lambda: settle(data),
        identity=identity(),
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


def create(data: Path, password: str) -> None:
    """Make a cluster with our role and database in ``data``, which gets its name last.

    Raises:
        EngineFailed: initdb refused.
    """
    scratch = data.with_name("postgres.new")
    shutil.rmtree(scratch, ignore_errors=True)
    with _password_file(data.parent, password) as file:
        identity = (f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={file}")
        _run("initdb", "-D", str(scratch), *identity, *LOCALE, "--no-instructions")
    _single_user(scratch, f"CREATE DATABASE {DATABASE}")
    scratch.rename(data)


def change_password(data: Path, password: str) -> None:
    """Give our role a new password in a cluster that is not running."""
    _single_user(data, f"ALTER ROLE {USER} PASSWORD '{password}'")


def settle(data: Path) -> None:
    """Let the server of an earlier start finish, and discard what it left: processes, a lock.

    PostgreSQL takes any living process with the noted id for the holder of the lock, and after a
    reboot the id is soon someone else's.

    Raises:
        EngineFailed: another server keeps running on these files.
    """
    wait_until_unused(data, "postgres")
    if Path("/proc/self").exists():
        (data / "postmaster.pid").unlink(missing_ok=True)


@contextmanager
def _password_file(folder: Path, password: str) -> Iterator[Path]:
    """Keep the password off the command line, where every user of the machine could read it."""
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".password-") as file:
        file.write(password + "\n")
        file.flush()
        if identity() is Identity.NOBODY:
            owner = folder.stat()
            os.chown(file.name, owner.st_uid, owner.st_gid)
        yield Path(file.name)


def _single_user(data: Path, sql: str) -> None:
    """Run one statement on a cluster that is not running (postgres(1), single-user mode)."""
    _run("postgres", "--single", "-j", "-D", str(data), "postgres", stdin=f"{sql};\n")


def _run(name: str, *arguments: str, stdin: str = "") -> None:
    argv = [str(postgres_program(name)), *arguments]
    command = guarded(argv, identity=identity())
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode or "ERROR:" in done.stderr:
        raise EngineFailed(f"{name} failed: {done.stderr.strip()[-500:]}")


@functools.cache
def identity() -> Identity:
    """Return how to start PostgreSQL: as ourselves, in a user namespace, or as ``nobody``.

    Raises:
        EngineFailed: we are root or have no name, and the host allows no way out.
    """
    if _is_ordinary(os.geteuid()) or sys.platform != "linux":
        return Identity.SAME
    for candidate in (Identity.NAMESPACE, Identity.NOBODY):
        if _works(candidate):
            return candidate
    raise EngineFailed(
        "PostgreSQL refuses to run as root or as a user without a name, this host forbids user "
        f"namespaces, and 'nobody' cannot run {postgres_program('postgres')}. "
        "Run as an ordinary user, or set DATABASE_URL."
    )


def _is_ordinary(uid: int) -> bool:
    """Whether a user has a name and is not root; ``docker run --user`` gives bare numbers."""
    try:
        return uid != 0 and bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _works(candidate: Identity) -> bool:
    probe = guarded([str(postgres_program("postgres")), "--version"], identity=candidate)
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def data_folder(home: Path) -> Path:
    """Return an existing folder for the cluster that PostgreSQL's identity may write to.

    That is ``home``, or where PostgreSQL runs as ``nobody`` one in ``/var/tmp``: ``nobody`` cannot
    enter ``/root``.
    """
    if identity() is not Identity.NOBODY:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    folder, nobody = Path(f"/var/tmp/sigma-{digest}"), pwd.getpwnam("nobody")  # noqa: S108 (see _own)
    folder.mkdir(mode=0o700, exist_ok=True)
    _own(folder, nobody.pw_uid)
    return folder


def _own(folder: Path, uid: int) -> None:
    """Take ``folder`` for ``uid``, unless somebody else put it or a link there first."""
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid not in {0, uid}:
        raise EngineFailed(f"{folder} belongs to somebody else; remove it or set DATABASE_URL.")
    os.chown(folder, uid, -1, follow_symlinks=False)
