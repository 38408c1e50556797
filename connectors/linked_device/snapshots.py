"""A store's content as one piece, taken in memory: no copy of an account lies on a disk in the
clear, not even for the moment of a backup.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# Where SQLite's header says whether a file keeps a write-ahead log (2) or not (1).
LOG_FLAGS = slice(18, 20)
MAGIC = b"SQLite format 3\0"


class Damaged(Exception):
    """This is no SQLite database, or not a sound one."""


def take(store: Path) -> bytes:
    """Return what is in a store that no process has open, its write-ahead log included.

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
    """Insist on a sound database.

    Raises:
        Damaged: it is none.
    """
    if not content.startswith(MAGIC):
        raise Damaged("It is no SQLite database, or an empty one.")
    readable = bytearray(content)
    readable[LOG_FLAGS] = b"\1\1"  # there is no log in memory, and none is missing
    try:
        with closing(sqlite3.connect(":memory:")) as memory:
            memory.deserialize(readable)
            _insist(memory)
    except sqlite3.Error as error:
        raise Damaged(f"It cannot be read whole: {error}.") from None


def _copy(source: sqlite3.Connection) -> bytes:
    with closing(sqlite3.connect(":memory:")) as memory:
        source.backup(memory)
        _insist(memory)
        return memory.serialize()


def _insist(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(f"SQLite finds it damaged: {verdict.splitlines()[-1]}")
