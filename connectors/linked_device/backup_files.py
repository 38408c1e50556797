"""Backups as files: one line, not encrypted, that says what it is; then the store, sealed.

It is sealed under the tenant's field key, so that erasing the tenant makes every copy unreadable,
and bound to that line, so that a backup cannot pass for another session's or another day's. A store
is read into memory as one piece: no copy of an account is on a disk unencrypted, not even for the
moment of a backup.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec

from connectors.linked_device import stores
from connectors.linked_device.models import SenderSession
from lib.envelope import OVERHEAD, CannotOpen, associated_data, key_id_of
from lib.files import sync
from workspaces import keys

MAGIC = b"whatsapp-store-backup"
VERSION = 1
PLACE = "sender_backups"
# One message of AES-GCM, in memory: a store is some tens of megabytes.
LARGEST = 256 * 1024 * 1024
LONGEST_LINE = 1_024
STAMP = "%Y%m%dT%H%M%S.%fZ"
NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.backup")
KEPT = 10
# Where SQLite's header says whether a file keeps a write-ahead log (2) or not (1).
LOG_FLAGS = slice(18, 20)
SQLITE = b"SQLite format 3\0"


class NotUsable(Exception):
    """A backup cannot be used: altered, cut off, another session's, or its key is gone."""


class TooLarge(Exception):
    """A store is larger than what can be backed up."""


class Damaged(Exception):
    """This is no SQLite database, or not a sound one."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a backup, which is not encrypted."""

    version: int
    tenant: UUID
    session: UUID
    at: datetime
    paired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup on this machine; ``size`` in bytes."""

    path: Path
    at: datetime
    size: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the backup of a path, by the file's name and the file system."""
        at = datetime.strptime(path.stem, STAMP).replace(tzinfo=UTC)
        return cls(path, at, path.lstat().st_size)


def existing(session: SenderSession) -> list[Backup]:
    """Return the session's backups on this machine, the newest first."""
    folder = stores.backups_of(session)
    names = os.listdir(folder) if folder.is_dir() else []
    paths = [folder / name for name in sorted(names, reverse=True) if NAME.fullmatch(name)]
    return [Backup.of(path) for path in paths if stat.S_ISREG(path.lstat().st_mode)]


def write(session: SenderSession, content: bytes, *, now: datetime) -> Path:
    """Seal a store's content into a new file; older ones than the newest ten go.

    Raises:
        TooLarge: it is larger than 256 MiB.
        OSError: the file cannot be written.
    """
    if len(content) > LARGEST:
        raise TooLarge(f"The store has {len(content):,} bytes; {LARGEST:,} can be backed up.")
    folder = stores.backups_of(session)
    stores.make_folder(folder)
    forget_unfinished(folder)
    at = now.astimezone(UTC)
    while (path := folder / f"{at:{STAMP}}.backup").exists():
        at += timedelta(microseconds=1)
    label = Label(VERSION, session.tenant_id, session.id, at, session.paired_at)
    line = MAGIC + msgspec.json.encode(label)
    sealed = keys.field_cipher(session.tenant_id).seal(content, _associated_data(session, line))
    staged = stage(path, line + b"\n", sealed)
    staged.rename(path)
    sync(folder)
    for old in existing(session)[KEPT:]:
        if old.path != path:  # where the clock was set back the newest looks old
            old.path.unlink(missing_ok=True)
    return path


def read(session: SenderSession, path: Path) -> tuple[Label, bytes]:
    """Return a backup's label, and the store in it.

    Raises:
        NotUsable: it is none, or none of this session, or was altered, or its key is gone.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        line = file.readline(LONGEST_LINE)
        label = _label(line)
        if (label.tenant, label.session) != (session.tenant_id, session.id):
            raise NotUsable("It is the backup of another session; each opens its own only.")
        sealed = file.read(LARGEST + OVERHEAD + 1)
    return label, _opened(session, line.removesuffix(b"\n"), sealed)


def stage(path: Path, *parts: bytes) -> Path:
    """Write a file beside ``path`` that may be renamed to it, and wait until it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        staged.unlink()
        raise
    return staged


def forget_unfinished(folder: Path) -> None:
    """Remove what a crash left of :func:`stage`: of a restore, that is an account unencrypted."""
    for left in folder.glob(".*.new"):
        left.unlink(missing_ok=True)


def content_of(store: Path) -> bytes:
    """Return the content of a store that no process has open, its write-ahead log included.

    Raises:
        Damaged: it is no sound database.
    """
    address = f"{store.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True)) as source:
            return _copy(source)
    except sqlite3.Error as error:
        raise Damaged(f"The store cannot be read whole: {error}.") from None


def verify(content: bytes) -> None:
    """Require a sound database.

    Raises:
        Damaged: it is none.
    """
    if not content.startswith(SQLITE):
        raise Damaged("It is no SQLite database, or an empty one.")
    readable = bytearray(content)
    readable[LOG_FLAGS] = b"\1\1"  # there is no log in memory, and none is missing
    try:
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.deserialize(readable)
            _require_sound(memory)
    except sqlite3.Error as error:
        raise Damaged(f"It cannot be read whole: {error}.") from None


def _label(line: bytes) -> Label:
    if not line.startswith(MAGIC) or not line.endswith(b"\n"):
        raise NotUsable("It is no backup of a session, or its beginning was altered.")
    try:
        label = msgspec.json.decode(line[len(MAGIC) :], type=Label)
    except msgspec.MsgspecError:
        raise NotUsable("Its beginning was altered.") from None
    if label.version != VERSION:
        raise NotUsable(f"It is of version {label.version}; this release reads {VERSION}.")
    return label


def _opened(session: SenderSession, line: bytes, sealed: bytes) -> bytes:
    try:
        cipher = keys.field_cipher(session.tenant_id)
        if key_id_of(sealed) != cipher.key_id:
            raise NotUsable("It was altered, or sealed under a key that is not here any more.")
        return cipher.open(sealed, _associated_data(session, line))
    except keys.TenantHasNoKeys:
        raise NotUsable("The tenant's keys are destroyed: nobody can read it any more.") from None
    except CannotOpen:
        raise NotUsable("It was altered, or is not whole.") from None


def _associated_data(session: SenderSession, line: bytes) -> bytes:
    return associated_data(session.tenant_id, PLACE, session.id) + b"|" + line


def _copy(source: sqlite3.Connection) -> bytes:
    with closing(sqlite3.connect(":memory:")) as memory:
        source.backup(memory)
        _require_sound(memory)
        return memory.serialize()


def _require_sound(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(f"SQLite finds it damaged: {verdict.splitlines()[-1]}")
