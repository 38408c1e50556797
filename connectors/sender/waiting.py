"""Wait for what becomes of messages: however many wait, one question at a time asks about all.

Nothing is promised by waiting: the message goes its way whoever waits, and a caller whose time is
over learns how far it is by then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from uuid import UUID

from connectors.sender.outcomes import Seen

logger = logging.getLogger("sigma.whatsapp.sender")

Look = Callable[[Collection[UUID]], Awaitable[Mapping[UUID, Seen]]]
PAUSE_SECONDS = 0.1
# Who comes when so many wait is answered at once: his message is queued.
MOST = 5_000


class Waiter:
    """One caller who waits, and the last that was seen of his message."""

    __slots__ = ("is_over", "seen")

    def __init__(self, seen: Seen) -> None:
        self.seen, self.is_over = seen, asyncio.Event()


class WaitingRoom:
    """Those of one process who wait; ``look`` asks how far some messages are, every ``pause``
    seconds (``None``: as often as callers want to know).
    """

    def __init__(self, look: Look, *, pause: float | None = None) -> None:
        self._look, self._pause = look, pause
        self._waiting: dict[UUID, set[Waiter]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._count, self._is_closed = 0, False

    async def outcome(self, message_id: UUID, seen: Seen, *, seconds: float) -> Seen:
        """Return what became of a message, or how far it is after so many seconds."""
        if seen.is_settled or seconds <= 0 or self._is_closed or self._count >= MOST:
            return seen
        waiter = Waiter(seen)
        self._join(message_id, waiter)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(waiter.is_over.wait(), seconds)
        finally:
            self._leave(message_id, waiter)
        return waiter.seen

    def end(self) -> None:
        """Let everybody go, and nobody wait from now on: the server is about to stop."""
        self._is_closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.is_over.set()

    def _join(self, message_id: UUID, waiter: Waiter) -> None:
        self._waiting.setdefault(message_id, set()).add(waiter)
        self._count += 1
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    def _leave(self, message_id: UUID, waiter: Waiter) -> None:
        self._count -= 1
        others = self._waiting[message_id]
        others.remove(waiter)
        if not others:
            del self._waiting[message_id]

    async def _ask(self) -> None:
        is_away = False
        while self._waiting:
            await asyncio.sleep(self._pause or PAUSE_SECONDS)
            try:
                self._tell(await self._look(tuple(self._waiting)))
                is_away = False
            except Exception as error:  # whatever it was, the next round tries again
                if not is_away:
                    extra = {"error": type(error).__name__}
                    logger.warning("whatsapp sender cannot ask for outcomes", extra=extra)
                is_away = True
        self._asking = None

    def _tell(self, found: Mapping[UUID, Seen]) -> None:
        for message_id, seen in found.items():
            for waiter in self._waiting.get(message_id, ()):
                waiter.seen = seen
                if seen.is_settled:
                    waiter.is_over.set()
