"""The files of the embedded PostgreSQL: created whole or not at all, and never served twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.tether import Identity, tethered
from sigma.engines import confinement, holders, wheels
from sigma.engines.engine import EngineFailed

USER = DATABASE = "sigma"
# The same sort order everywhere, without ICU; docker-compose.yml passes the same to its PostgreSQL.
LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")


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
    holders.wait_until_unused(data, "postgres")
    if Path("/proc/self").exists():
        (data / "postmaster.pid").unlink(missing_ok=True)


@contextmanager
def _password_file(folder: Path, password: str) -> Iterator[Path]:
    """Keep the password off the command line, where every user of the machine could read it."""
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".password-") as file:
        file.write(password + "\n")
        file.flush()
        if confinement.identity() is Identity.NOBODY:
            owner = folder.stat()
            os.chown(file.name, owner.st_uid, owner.st_gid)
        yield Path(file.name)


def _single_user(data: Path, sql: str) -> None:
    """Run one statement on a cluster that is not running (postgres(1), single-user mode)."""
    _run("postgres", "--single", "-j", "-D", str(data), "postgres", stdin=f"{sql};\n")


def _run(name: str, *arguments: str, stdin: str = "") -> None:
    argv = [str(wheels.postgres_program(name)), *arguments]
    command = tethered(argv, identity=confinement.identity())
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode or "ERROR:" in done.stderr:
        raise EngineFailed(f"{name} failed: {done.stderr.strip()[-500:]}")
