"""Backups as files: one line in the clear that says what it is, then the store, sealed.

Sealed under the tenant's field key, so that erasing the tenant makes every copy unreadable, and
bound to that line, so that a backup cannot pass for another session's or another day's.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec

from connectors.linked_device import stores
from connectors.models import SenderSession
from lib.envelope import OVERHEAD, CannotOpen, associated_data, key_id_of
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


class NotUsable(Exception):
    """A backup cannot be used: altered, cut off, another session's, or its key is gone."""


class TooLarge(Exception):
    """A store is larger than what can be backed up."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself in the clear."""

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
        """Return what the file's name and the file system say."""
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
    sealed = keys.field_cipher(session.tenant_id).seal(content, _place(session, line))
    staged = stage(path, line + b"\n", sealed)
    staged.rename(path)
    stores.sync(folder)
    for old in existing(session)[KEPT:]:
        if old.path != path:  # after a clock that was set back the newest looks old
            old.path.unlink(missing_ok=True)
    return path


def read(session: SenderSession, path: Path) -> tuple[Label, bytes]:
    """Return what a backup says of itself, and the store in it.

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
    """Remove what a crash left of :func:`stage`: of a restore, that is an account in the clear."""
    for left in folder.glob(".*.new"):
        left.unlink(missing_ok=True)


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
        return cipher.open(sealed, _place(session, line))
    except keys.TenantHasNoKeys:
        raise NotUsable("The tenant's keys are destroyed: nobody can read it any more.") from None
    except CannotOpen:
        raise NotUsable("It was altered, or is not whole.") from None


def _place(session: SenderSession, line: bytes) -> bytes:
    return associated_data(session.tenant_id, PLACE, session.id) + b"|" + line
