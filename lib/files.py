"""Files that hold secrets, that others read while they are written, or that a loss of power must
leave whole.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str, *, replaces: bool = True) -> bool:
    """Write a file that its owner alone may read (mode 0600), and the folders above it: whoever
    reads finds what was there before or the whole of it, also after a loss of power.

    Unless it ``replaces`` what is there, that stays, also where two processes write at once. Return
    whether it was written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if replaces:
        scratch.replace(path)
        return True
    try:
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    return True


def sync(path: Path) -> None:
    """Wait until a file's bytes, or what was made, renamed or removed in a folder, are on the
    disk.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
