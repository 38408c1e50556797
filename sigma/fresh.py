"""``make fresh``: remove the embedded engines' data, so that the next ``make up`` begins anew."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sigma import door
from sigma.console import Terminal
from sigma.engines import postgres, state
from sigma.engines.engine import UnableToStart, wait_until_unused

# The stores of linked devices and the demo's facts mean nothing without the rows they belong to.
# What was generated once for all stays: the master key opens backups, too.
WITH_THEM = ("sender", "demo.json", "sample.json")
QUESTION = (
    "This removes for good what is in {}: {:,.0f} MB of PostgreSQL and Valkey, the demo's facts, "
    "and linked devices with their backups, which have to be paired again. Keys stay.{}"
)
UNASKED = "Nothing was removed. Without a terminal, say that it is meant: make fresh YES=1"
BY_HAND = (
    "Nothing was removed: DATABASE_URL names a database that is not this folder's. As its owner: "
    "psql \"$DATABASE_URL\" -c 'DROP SCHEMA public CASCADE; CREATE SCHEMA public'"
)
BROKER = (
    "REDIS_URL names a broker that is not this folder's, which keeps what it has. To empty it: "
    'redis-cli -u "$REDIS_URL" FLUSHDB'
)
STORE = (
    "SIGMA_SENDER_STORE names {}, which keeps the accounts of linked devices and their backups. "
    "Remove it yourself."
)
LINK = (
    "Nothing was removed: {} is a link to {}, outside of what is removed here. "
    "Remove both yourself, then go on: make fresh"
)


class NotRemoved(UnableToStart):
    """Nothing was removed; the message says why, and what to do instead."""


def main() -> int:
    """Ask, and remove; return the exit code."""
    terminal, folder = Terminal(), state.home(os.environ)
    try:
        is_meant = _read_options()
        if state.outside(os.environ).database_url:
            raise NotRemoved(BY_HAND)
        with door.only_one(folder):
            _remove(folder, terminal, is_meant=is_meant)
    except (UnableToStart, OSError) as error:
        terminal.problem(str(error))
        return 1
    return 0


def _read_options(arguments: Sequence[str] | None = None) -> bool:
    parser = argparse.ArgumentParser(prog="make fresh", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return bool(parser.parse_args(arguments).yes)


def _remove(folder: Path, terminal: Terminal, *, is_meant: bool) -> None:
    """Remove what is there, once nobody works on it and somebody said that it is meant.

    Raises:
        NotRemoved: it is not meant, or some of it is elsewhere, behind a link.
        sigma.engines.engine.EngineFailed: a server runs on the data.
    """
    engines = (postgres.data_folder(folder) / "postgres", folder / "valkey")
    paths = (*engines, *(folder / name for name in WITH_THEM))
    # Of an interrupted call only the last may be left: a store of linked devices, say.
    there = [one for path in paths for one in (path, _going(path)) if os.path.lexists(one)]
    if not there:
        terminal.note(f"There are no data in {folder}.")
        return
    for path in there:
        if path.is_symlink():
            raise NotRemoved(LINK.format(path, path.readlink()))
    for data, server in zip(engines, ("postgres", "valkey-server"), strict=True):
        wait_until_unused(data, server)
    size, staying = _size(*engines, *map(_going, engines)), list(_staying(folder))
    question = QUESTION.format(folder, size / 1e6, "".join(f"\n{one}" for one in staying))
    if not (is_meant or _is_confirmed(question)):
        raise NotRemoved("Nothing was removed.")
    for path in paths:
        _remove_whole(path)
    terminal.note(f"The data in {folder} are gone; 'make up' begins anew.")
    for one in staying:
        terminal.note(one)


def _staying(folder: Path) -> Iterator[str]:
    """Say what belongs to the data and is not in the folder, so that it is not removed."""
    if state.outside(os.environ).redis_url:
        yield BROKER
    store, usual = os.environ.get("SIGMA_SENDER_STORE", "").strip(), folder / "sender"
    if store and not Path(store).resolve().is_relative_to(usual.resolve()):
        yield STORE.format(Path(store).absolute())


def _is_confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise NotRemoved(UNASKED)
    try:
        answer = input(f"{question}\nType yes to go on: ")
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip() == "yes"


def _size(*folders: Path) -> int:
    files = (file for data in folders for file in data.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in files)


def _going(path: Path) -> Path:
    """Return the name of what is being removed."""
    return path.with_name(f"{path.name}.going")


def _remove_whole(path: Path) -> None:
    """Remove a file or a folder. Who interrupts it leaves no half under the old name, which the
    next start would take for whole, and the next call removes the rest.
    """
    going = _going(path)
    if going.exists():
        shutil.rmtree(going)
    if path.is_dir():
        path.rename(going)
        shutil.rmtree(going)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
