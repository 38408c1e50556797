"""What people wrote, and receipts, on their way from the device's threads into the inbox.

The device's callback returns once the inbox has it, for that is when WhatsApp hears that it
arrived. One thread writes for all of the library's, so that a burst is one commit and the library's
threads, however many, cost no connections.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

from django.db import connection

from connectors.linked_device.events import Content
from connectors.linked_device.persistence import Persistence

BATCH = 100
# The library's threads that wait are its own limit; this is how often they look whether it is over.
LOOK_SECONDS = 1.0


class NotKept(Exception):
    """The process ends before the inbox has it: WhatsApp must not hear that it arrived."""


@dataclass(slots=True)
class _Held:
    content: Content
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None


class Intake:
    """Everything that arrives, through ``keep``: it returns once what it was given is committed."""

    def __init__(
        self,
        keep: Callable[[Sequence[Content], datetime], None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keep, self._clock = keep, clock
        self._waiting: SimpleQueue[_Held | None] = SimpleQueue()
        self._persistence = Persistence("inbox", wait=time.sleep)
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def take(self, content: Content) -> None:
        """Return once it is in the inbox. From any thread.

        Raises:
            NotKept: the process ends.
            Exception: what the inbox raised, other than that the database is away.
        """
        held = _Held(content)
        self._waiting.put(held)
        while not held.done.wait(LOOK_SECONDS if self._thread.is_alive() else 0.0):
            if not self._thread.is_alive():
                raise NotKept("The session ends.")
        if held.error is not None:
            raise held.error

    def stop(self, seconds: float) -> None:
        """End after what waits now, within ``seconds``; call it when the device tells nothing more.

        What is not in the inbox by then was never acknowledged: WhatsApp sends it again.
        """
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._write(batch)
        finally:
            connection.close()

    def _next(self) -> list[_Held]:
        """Wait for the first, and take what else is there; nothing: the end."""
        found = [self._waiting.get()]
        while found[-1] is not None and len(found) < BATCH:
            try:
                found.append(self._waiting.get_nowait())
            except Empty:
                break
        if found[-1] is None and len(found) > 1:
            self._waiting.put(None)
        return [one for one in found if one is not None]

    def _write(self, batch: list[_Held]) -> None:
        contents = [one.content for one in batch]
        error: Exception | None = None
        try:
            self._persistence.insist(lambda: self._keep(contents, self._clock()))
        except Exception as raised:  # for the caller whose it is
            if len(batch) > 1:
                for one in batch:
                    self._write([one])
                return
            error = raised
        for one in batch:
            one.error = error
            one.done.set()
