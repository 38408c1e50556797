"""Every message request that came, in order: the proof of who sent what how often."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

KEPT = 500_000


class JournalEntry(msgspec.Struct, kw_only=True):
    """One request; of one refused for its token little is known.

    ``is_processed``: it took effect, so a message exists, whatever was answered.

    ``files`` are those in it, a template's header first, each its kind and its id or link:
    ``image:1037543291543636``.

    ``outcome`` is ``accepted``, ``held``, ``read`` (a read mark), ``error`` (see ``code``), or how
    the connection ended before anything happened; ``answer`` is how it was answered: ``sent``,
    ``hung`` (never), ``closed``, ``bare`` (no JSON).
    """

    n: int
    time: float
    phone_number_id: str
    to: str = ""
    type: str = ""
    template: str = ""
    files: list[str] = []
    biz_opaque_callback_data: str = ""
    is_processed: bool = False
    outcome: str = ""
    code: int = 0
    wamid: str = ""
    answer: str = "sent"


class Journal:
    """The newest ``KEPT`` entries, numbered from 1."""

    def __init__(self) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=KEPT)
        self.count = 0

    def open(self, *, time: float, phone_number_id: str) -> JournalEntry:
        """Begin an entry; it is in the journal from now on."""
        self.count += 1
        entry = JournalEntry(n=self.count, time=time, phone_number_id=phone_number_id)
        self._entries.append(entry)
        return entry

    def since(self, n: int) -> Iterator[JournalEntry]:
        """Yield the entries after number ``n``, oldest first."""
        first = self.count - len(self._entries)
        return islice(self._entries, max(0, n - first), None)

    def clear(self) -> None:
        """Forget everything and number from 1 again."""
        self._entries.clear()
        self.count = 0
