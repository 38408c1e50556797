"""One thread in which things happen in turn, each at its time: what a library's own threads do."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

Action = Callable[[], None]


class Timeline:
    """Does what was put on it, and looks around (``look``) every ``every`` seconds meanwhile."""

    def __init__(self, look: Action, *, every: float = 0.05) -> None:
        self._look, self._every = look, every
        self._ahead: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="simulated-device", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def after(self, seconds: float, action: Action) -> None:
        """Let ``action`` happen so many seconds from now, after what is due before it."""
        with self._changed:
            heapq.heappush(
                self._ahead, (time.monotonic() + seconds, next(self._order), action)
            )  # fmt: skip
            self._changed.notify()

    def stop(self, *, patience: float = 2.0) -> None:
        """End after the action that is under way; wait for it ``patience`` seconds at most."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(patience)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            action()

    def _next(self) -> Action | None:
        with self._changed:
            if self._is_over:
                return None
            now = time.monotonic()
            if not self._ahead or self._ahead[0][0] > now:
                wait = self._every if not self._ahead else self._ahead[0][0] - now
                self._changed.wait(min(wait, self._every))
            if self._is_over:
                return None
            if self._ahead and self._ahead[0][0] <= time.monotonic():
                return heapq.heappop(self._ahead)[2]
        return self._look
