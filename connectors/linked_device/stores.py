"""Where linked devices' stores are on this machine, and that no other user of it reads them.

A store is the account: whoever has the file is the account's owner, and the library keeps the
account's contacts in it unencrypted (docs/adr/0015-a-device-store-is-the-account.md). So it has a
folder of its own below its tenant's, for our user alone, and nothing here follows a symbolic link.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.conf import settings

from connectors.linked_device.models import SenderSession, StoreRemoval
from lib.files import sync

logger = logging.getLogger("sigma.whatsapp.sender")

NAME = "whatsapp.db"
# SQLite keeps what is not in the file yet beside it.
PARTS = (NAME, f"{NAME}-wal", f"{NAME}-shm", f"{NAME}-journal")
BACKUPS = "backups"
UUID_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class StoreUnsafe(OSError):
    """A store is not opened that others may read, or that is no plain file in a folder of ours."""


class StoreInUse(Exception):
    """Another process of this machine holds the store."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Another process of this machine holds {path}.")
        self.path = path


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago a phone was linked, and when the store was last written to; ``None``: never."""

    paired: timedelta | None
    written: timedelta | None


def tenant_folder(tenant_id: UUID) -> Path:
    """Return the folder of a tenant's stores and backups on this machine."""
    return Path(settings.SIGMA_SENDER_STORE) / str(tenant_id)


def folder_of(session: SenderSession) -> Path:
    """Return the folder of a session's store; it may not exist yet."""
    return tenant_folder(session.tenant_id) / str(session.id)


def store_of(session: SenderSession) -> Path:
    """Return the path of a session's store; the device makes the file."""
    return folder_of(session) / NAME


def backups_of(session: SenderSession) -> Path:
    """Return the folder of a session's backups; it may not exist yet."""
    return tenant_folder(session.tenant_id) / BACKUPS / str(session.id)


def prepare(session: SenderSession) -> Path:
    """Make the session's folder, check that a store in it may be used, and return its path.

    Raises:
        StoreUnsafe: others may read it, or it is a link, or another user's.
        OSError: the folder cannot be made.
    """
    make_folder(folder_of(session))
    for part in _parts(session):
        _require_private(part, part.lstat(), is_type=stat.S_ISREG)
    return store_of(session)


@contextmanager
def hold(folder: Path, name: str = "lock") -> Iterator[None]:
    """Hold a folder for this process alone, as long as the context lasts.

    Raises:
        StoreInUse: another process has it.
        OSError: the folder cannot be written to.
    """
    path = folder / name
    # The file stays: who removes it may remove one that a third process has just locked.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreInUse(path) from None


def size(session: SenderSession) -> int:
    """Return how many bytes the store has on this machine."""
    return sum(part.lstat().st_size for part in _parts(session))


def age(session: SenderSession, now: datetime) -> Age:
    """Return how old the session's pairing is, and for how long its store did not change."""
    written = max((part.lstat().st_mtime for part in _parts(session)), default=None)
    return Age(
        paired=now - session.paired_at if session.paired_at else None,
        written=now - datetime.fromtimestamp(written, UTC) if written is not None else None,
    )


def remove(session: SenderSession) -> bool:
    """Remove the session's store from this machine, not its backups; return whether it had one.

    The caller holds the folder's lock, which stays.
    """
    parts = _parts(session)
    for part in parts:
        part.unlink(missing_ok=True)
    if parts:
        sync(folder_of(session))
    return bool(parts)


def remove_erased() -> int:
    """Remove stores and backups of erased tenants from this machine; return of how many there were
    any. What cannot be removed now is tried again the next time, and does not hold up the rest.
    """
    erased = StoreRemoval.objects.filter(pk__in=_tenants_here()).values_list("pk", flat=True)
    removed = 0
    for tenant_id in erased:
        try:
            removed += remove_tenant(tenant_id)
        except OSError:
            logger.exception(
                "whatsapp store not removed of an erased tenant",
                extra={"tenant_id": str(tenant_id)},
            )
    return removed


def remove_tenant(tenant_id: UUID) -> bool:
    """Remove a tenant's stores and backups from this machine; return whether there were any.

    Raises:
        OSError: something of it is left.
    """
    folder = tenant_folder(tenant_id)
    if not os.path.lexists(folder):
        return False
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink()
    sync(folder.parent)
    return True


def make_folder(folder: Path) -> None:
    """Make a folder below the root of all stores, and those above it, for our user alone.

    Raises:
        StoreUnsafe: one of them is a link, or another user's.
    """
    root = Path(settings.SIGMA_SENDER_STORE)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root
    for name in folder.relative_to(root).parts:
        path /= name
        _make_one(path)


def _make_one(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            _close_to_others(path)
        _require_private(path, path.lstat(), is_type=stat.S_ISDIR)
    else:
        sync(path.parent)


def _require_private(path: Path, found: os.stat_result, *, is_type: Callable[[int], bool]) -> None:
    if not is_type(found.st_mode):
        raise StoreUnsafe(f"{path} is not what it should be (a link?); it is not used.")
    if found.st_uid != os.geteuid():
        raise StoreUnsafe(f"{path} belongs to another user of this machine; it is not used.")
    if found.st_mode & OTHERS:
        raise StoreUnsafe(
            f"{path} may be read or written by other users of this machine. If nobody did, take "
            "that away (chmod go-rwx) and start again; else give the account up (manage.py sender "
            "clear --no-backup) and pair anew."
        )


def _close_to_others(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _parts(session: SenderSession) -> list[Path]:
    folder, root = folder_of(session), Path(settings.SIGMA_SENDER_STORE)
    if folder.resolve() != root.resolve() / folder.relative_to(root):
        raise StoreUnsafe(f"{folder} leads elsewhere by a link; it is not used.")
    return [folder / part for part in PARTS if os.path.lexists(folder / part)]


def _tenants_here() -> list[UUID]:
    root = Path(settings.SIGMA_SENDER_STORE)
    names = os.listdir(root) if root.is_dir() else []
    return [UUID(name) for name in names if UUID_NAME.fullmatch(name)]
