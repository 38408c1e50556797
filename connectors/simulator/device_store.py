"""What a simulated linked device keeps beside its script: who is linked, and what has left.

A real SQLite file, so that backing up and restoring have something to work on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from connectors.linked_device.events import LinkedAccount

TABLES = "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL)"
PUT = "INSERT INTO kept VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class DeviceStore:
    """The store of one device, and the files that only a simulated one has beside it.

    ``<store>.journal`` has a line per message that left, ``<store>.connections`` one per connection
    that began or ended, ``<store>.server`` who connected last: what WhatsApp's server would know.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the store.

        Raises:
            OSError: it is no SQLite file of ours, or cannot be made.
        """
        self.path = path
        self._server = path.with_name(path.name + ".server")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            with self._open() as database:
                database.execute(TABLES)
        except sqlite3.Error as error:
            raise OSError(f"The store cannot be opened: {error}") from None

    def account(self) -> LinkedAccount | None:
        """Return who is linked."""
        kept = self._get("account")
        return LinkedAccount(**json.loads(kept)) if kept else None

    def link(self, account: LinkedAccount) -> None:
        """Keep who is linked now."""
        self._put("account", json.dumps({n: getattr(account, n) for n in LinkedAccount.__slots__}))

    def unlink(self) -> None:
        """Forget the account, as the library does when it was logged out."""
        self._put("account", "")

    def next_outcome(self, sends: Sequence[str]) -> str:
        """Return how the next send ends, and count it, for the processes to come as well.

        A list that goes on where the last one stopped is gone on with; another one begins anew.
        """
        done = json.loads(self._get("sends") or "[]")
        done = done if list(sends[: len(done)]) == done else []
        outcome = sends[len(done)] if len(done) < len(sends) else "ok"
        if len(done) < len(sends):
            self._put("sends", json.dumps([*done, outcome]))
        return outcome

    def journal(self, message_id: str, number: str, text: str) -> None:
        """Note that a message left."""
        self._append("journal", {"id": message_id, "sha256": fingerprint(number, text)})

    def connects(self, connection_id: str) -> None:
        """Note that a connection begins; whoever had one before has been replaced."""
        self._append("connections", {"event": "connected", "connection": connection_id})
        self._server.write_text(connection_id, encoding="utf-8")

    def disconnects(self, connection_id: str) -> None:
        """Note that a connection ended."""
        self._append("connections", {"event": "disconnected", "connection": connection_id})

    def is_replaced(self, connection_id: str) -> bool:
        """Whether another device connected with these keys since."""
        try:
            return self._server.read_text(encoding="utf-8") not in ("", connection_id)
        except FileNotFoundError:
            return False

    def _append(self, kind: str, line: dict[str, str]) -> None:
        beside = self.path.with_name(f"{self.path.name}.{kind}")
        written = json.dumps({**line, "pid": os.getpid()}) + "\n"
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, written.encode())
        finally:
            os.close(file)

    def _get(self, name: str) -> str:
        with self._open() as database:
            row = database.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def _put(self, name: str, value: str) -> None:
        with self._open() as database:
            database.execute(PUT, (name, value))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path)
        try:
            with database:
                yield database
        finally:
            database.close()


def fingerprint(number: str, text: str) -> str:
    """Return what the journal has of a message: enough to count it, not to read it."""
    return hashlib.sha256((number + text).encode()).hexdigest()


def journal_of(store: Path, kind: str = "journal") -> list[dict[str, str]]:
    """Return the lines of a store's journal, or of its ``connections``."""
    try:
        lines = store.with_name(f"{store.name}.{kind}").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
