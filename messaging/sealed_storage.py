"""Sealed files in Django's storage: a folder per tenant, names that say nothing.

What is being taken in lies in a temporary file without a name, which ends with the process.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import DatabaseError

from lib.envelope import CannotOpen, Cipher
from lib.files import sync
from lib.sealed_files import opened

logger = logging.getLogger("sigma.whatsapp.files")
AWAY = "Files cannot be stored at the moment; try again."


class StorageAway(Exception):
    """The storage of files cannot be used; nothing was kept, try again."""


class FileGone(Exception):
    """The file is not there any more, or cannot be opened."""


def temporary() -> IO[bytes]:
    """Return a file without a name, which ends with the process.

    Raises:
        StorageAway: there is no place for one.
    """
    with writing():
        settings.SIGMA_FILES.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=settings.SIGMA_FILES)


@contextmanager
def writing() -> Iterator[None]:
    """Say of a folder that cannot be written, or is full, that it is away."""
    try:
        yield
    except OSError as error:
        extra = {"error": type(error).__name__, "errno": error.errno}
        logger.error("whatsapp file not taken: SIGMA_FILES cannot be written", extra=extra)
        raise StorageAway(AWAY) from error


def exists(tenant_id: UUID, stored_as: UUID) -> bool:
    """Whether the storage has a file."""
    return default_storage.exists(_path(tenant_id, stored_as))


def save(tenant_id: UUID, stored_as: UUID, file: IO[bytes]) -> None:
    """Store a sealed file from where it stands; a loss of power takes nothing of what is stored.
    Each storage raises errors of its own.
    """
    name = default_storage.save(_path(tenant_id, stored_as), File(file))
    if isinstance(default_storage, FileSystemStorage):  # which leaves that to the system
        path = Path(default_storage.path(name))
        for one in (path, path.parent, path.parent.parent):
            sync(one)


def pieces(
    tenant_id: UUID,
    stored_as: UUID,
    cipher: Cipher | Callable[[bytes], Cipher],
    place: bytes,
) -> Iterator[bytes]:
    """Yield a file's bytes; ``cipher`` as of `lib.sealed_files.opened`.

    Raises:
        FileGone: the storage has no such file.
        lib.envelope.CannotOpen: it was altered or cut.
        StorageAway: it cannot be read now.
    """
    try:
        with default_storage.open(_path(tenant_id, stored_as)) as file:
            yield from opened(file, cipher, place)
    except FileNotFoundError:
        raise FileGone("The storage has no such file.") from None
    except (CannotOpen, DatabaseError):
        raise
    except Exception as error:  # each storage has its own
        raise StorageAway(
            f"Files cannot be read at the moment ({type(error).__name__})."
        ) from error


def remove(tenant_id: UUID, stored_as: UUID) -> None:
    """Remove a file; one that is not there is no error."""
    default_storage.delete(_path(tenant_id, stored_as))


def remove_folder(tenant_id: UUID) -> None:
    """Remove a tenant's folder, with what processes that were killed left in it; a storage that
    cannot list one keeps that, unreadable.
    """
    with suppress(OSError, NotImplementedError):
        for name in default_storage.listdir(tenant_id.hex)[1]:
            default_storage.delete(f"{tenant_id.hex}/{name}")
        default_storage.delete(tenant_id.hex)


def _path(tenant_id: UUID, stored_as: UUID) -> str:
    return f"{tenant_id.hex}/{stored_as.hex}"
