"""The files in which processes count for ``/metrics``, memory-mapped, in one folder.

A process writes to the files of its *slot*, a number whose lock it holds while it lives. A process
that takes the slot of a dead one goes on with its counts: nothing is lost, also by ``kill -9``, and
there are never more files than processes that lived at once. Locks work across the containers that
share a folder, where process ids do not.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import struct
import sys
from contextlib import suppress
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

# The kinds of files of a slot. The gauge's value is that of a living process only.
GAUGE = "gauge_livesum"
KINDS = ("counter", "histogram", GAUGE)
MOST_SLOTS = 1_000
# Written in full when a file is made. Room for 1,600 values; beyond that a file grows.
FILE_BYTES = 1 << 18
# What reading a file raises that a machine without power left half written.
BROKEN = (OSError, RuntimeError, TypeError, ValueError, struct.error)
# The names of all files here; others may lie beside them.
NAMES = re.compile(rf"(?:{'|'.join(KINDS)})_\d+\.(?:db|new)|\d+\.lock")


def forget(folder: Path) -> None:
    """Begin anew, while no process counts here."""
    for file in folder.glob("*"):
        if NAMES.fullmatch(file.name):
            file.unlink(missing_ok=True)


class Slots:
    """The slot of this process among all that share ``folder``; a forked child takes its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process, self._slot, self._lock = folder, 0, 0, -1

    def own(self) -> int:
        """Return this process's slot.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._process != os.getpid():
            self._take()
        return self._slot

    def files(self) -> list[str]:
        """Return the files to add up, without what dead processes said of their present."""
        for gauge in self._of(f"{GAUGE}_*.db"):
            if (lock := self._locked(int(gauge.stem.rpartition("_")[2]))) is not None:
                gauge.unlink(missing_ok=True)
                os.close(lock)
        return [str(path) for kind in KINDS for path in self._of(f"{kind}_*.db")]

    def _of(self, pattern: str) -> list[Path]:
        """Return the files of ours: others may lie in the same folder."""
        paths = self._folder.glob(pattern)
        return [path for path in paths if path.stem.rpartition("_")[2].isdecimal()]

    def _take(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        slot, lock = self._free()
        try:
            for kind in KINDS:
                _prepare(self._folder / f"{kind}_{slot}.db", is_gauge=kind == GAUGE)
        except OSError:
            os.close(lock)
            raise
        if self._lock >= 0:
            os.close(self._lock)  # the parent's, which holds it still
        self._process, self._slot, self._lock = os.getpid(), slot, lock

    def _free(self) -> tuple[int, int]:
        for slot in range(MOST_SLOTS):
            if (lock := self._locked(slot)) is not None:
                return slot, lock
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _locked(self, slot: int) -> int | None:
        """Lock a slot and return the descriptor that holds it; ``None`` if it is another's."""
        try:
            lock = os.open(self._folder / f"{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except PermissionError:  # of a command that another user ran
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return lock


class WholeFile(MmapedDict):
    """A file whose room is on the disk before it is used: a full disk is noticed when a file is
    made or grows. Where it was noticed by a value, the kernel would end the process.
    """

    def _init_value(self, key: str) -> None:
        """Make a value.

        Raises:
            OSError: there is no room for it.
        """
        # The key's length, the key and what fills it up to eight bytes, the value, the time.
        if self._used + 4 + len(key.encode()) + 8 + 16 > self._capacity:
            file = self._f.fileno()
            missing = bytes(2 * self._capacity - os.fstat(file).st_size)
            if os.write(file, missing) < len(missing):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _prepare(path: Path, *, is_gauge: bool) -> None:
    """Make a file with room, unless there is a whole one to go on with."""
    if is_gauge or not is_whole(path):
        path.unlink(missing_ok=True)
    if not path.exists():
        scratch = path.with_suffix(".new")
        scratch.write_bytes(bytes(FILE_BYTES))
        scratch.chmod(0o600)
        scratch.replace(path)


def is_whole(path: str | Path) -> bool:
    """Whether a file of counts can be read to its end."""
    with suppress(*BROKEN):
        for key, *_ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            _, _, _, _ = json.loads(key)
        with open(path, "rb") as file:
            used, size = int.from_bytes(file.read(4), sys.byteorder), os.path.getsize(path)
        return used == 0 or 8 <= used <= size
    return False
