"""A small cache whose entries expire: keys live in memory only as long as they may be trusted."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TTLCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Map keys to values for ``seconds``; at most ``size`` entries, those go first that were not
    used for longest.

    Safe between threads: cachetools' own is not, so every step holds a lock. A value is loaded
    outside of it; a lost race only loads twice.
    """

    def __init__(self, *, seconds: float, size: int) -> None:
        self._entries: TTLCache[Key, Value] = TTLCache(maxsize=size, ttl=seconds)
        self._lock = Lock()

    def get(self, key: Key) -> Value | None:
        """Return the value, or ``None`` where it is absent or has expired."""
        with self._lock:
            try:  # the library's get() looks twice, and this is asked for every callback
                return self._entries[key]
            except KeyError:
                return None

    def put(self, key: Key, value: Value) -> Value:
        """Remember ``value`` and return it."""
        with self._lock:
            self._entries[key] = value
        return value

    def get_or_load(self, key: Key, load: Callable[[], Value]) -> Value:
        """Return the value of ``key``, loading it where needed."""
        value = self.get(key)
        return self.put(key, load()) if value is None else value

    def forget(self, key: Key) -> None:
        """Forget one entry, if it is there."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
