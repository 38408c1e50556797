"""Decide as whom PostgreSQL may run here: it refuses root, and containers often have no other."""

from __future__ import annotations

import functools
import hashlib
import os
import pwd
import subprocess
import sys
from pathlib import Path

from lib.tether import Identity, tethered
from sigma.engines import wheels
from sigma.engines.engine import EngineFailed


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
        f"namespaces, and 'nobody' cannot run {wheels.postgres_program('postgres')}. "
        "Run as an ordinary user, or set DATABASE_URL."
    )


def _is_ordinary(uid: int) -> bool:
    """Tell root, and the bare numbers of ``docker run --user``, from users with a name."""
    try:
        return uid != 0 and bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _works(candidate: Identity) -> bool:
    probe = tethered([str(wheels.postgres_program("postgres")), "--version"], identity=candidate)
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
