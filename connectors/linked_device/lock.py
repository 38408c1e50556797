"""One process per store on a machine: the second guard, which needs no database and no clock.

The kernel gives the lock back when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StoreInUse(Exception):
    """Another process of this machine holds the store."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Another process of this machine holds {path}.")
        self.path = path


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
