"""A small cache whose entries expire: keys live in memory only as long as they may be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Map keys to values for ``seconds``; at most ``size`` entries, the oldest go first.

    Safe between threads: each step is one operation on a dict, and a lost race only loads twice.
    """

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds, self._size = seconds, size
        self._entries: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value | None:
        """Return the value, or ``None`` where it is absent or has expired."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1]

    def put(self, key: Key, value: Value) -> Value:
        """Remember ``value`` and return it."""
        while len(self._entries) >= self._size:
            self._entries.pop(next(iter(self._entries)), None)
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic() + self._seconds, value)
        return value

    def get_or_load(self, key: Key, load: Callable[[], Value]) -> Value:
        """Return the value of ``key``, loading it where needed."""
        value = self.get(key)
        return self.put(key, load()) if value is None else value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
