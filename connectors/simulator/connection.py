"""One keep-alive connection of the load client, with at most one request under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from connectors.simulator.wire import status_of


@dataclass(slots=True)
class Shot:
    """One request: its number, when it was due (monotonic clock), how often it was sent before."""

    index: int
    request: bytes
    due: float
    attempt: int = 0


class Connection(asyncio.Protocol):
    """Tells ``on_answer`` of every status, and ``on_lost`` of its end and the request cut off."""

    def __init__(
        self,
        on_answer: Callable[[Connection, Shot, int], None],
        on_lost: Callable[[Connection, Shot | None], None],
    ) -> None:
        self._on_answer, self._on_lost, self._answer = on_answer, on_lost, bytearray()
        self._transport: asyncio.Transport | None = None
        self._shot: Shot | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        # A cast: uvloop's transports behave like asyncio's but do not derive from them.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, shot: Shot, now: float) -> None:
        """Send one request; the previous one must have been answered."""
        self._shot, self._since = shot, now
        if self._transport is not None:
            self._transport.write(shot.request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is complete."""
        self._answer += data
        try:
            status = status_of(self._answer)
        except ValueError:
            self.abort()
            return
        if status is not None and self._shot is not None:
            shot, self._shot = self._shot, None
            self._answer.clear()
            self._on_answer(self, shot, status)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end, whoever wanted it."""
        shot, self._shot = self._shot, None
        self._on_lost(self, shot)

    def abort_if_older(self, limit: float) -> None:
        """Give up on a request that was sent before ``limit`` (monotonic time)."""
        if self._shot is not None and self._since < limit:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
