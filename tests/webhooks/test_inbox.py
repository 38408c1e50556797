"""How long a callback may wait for the database, by a clock that moves only while nothing runs."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

import pytest
from django.conf import settings

from connectors.webhooks.inbox import PROBE_SECONDS, Inbox, InboxUnavailable, Received, Row
from workspaces.envelope import Cipher

# Meta takes a callback for failed that is not answered by then.
METAS_SECONDS = 10.0
TENANT = UUID(int=1)
CALLBACK = Received(TENANT, b"{}", bytes(32))


class Leap(selectors.DefaultSelector):
    """Waits for nothing: what would be waited for is added to the time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


def at_leaps(scene: Callable[[Callable[[], float]], object]) -> None:
    """Run a scene, which is given the clock."""
    leap = Leap()
    loop = asyncio.SelectorEventLoop(leap)
    loop.time = lambda: leap.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(scene(loop.time))  # type: ignore[arg-type]
    finally:
        loop.close()


class Hanging:
    """A store that hangs at one of its steps until it is let go of."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._held: list[asyncio.Future[None]] = []

    async def _reach(self, step: str) -> None:
        if step == self._step:
            self._held.append(held := asyncio.get_running_loop().create_future())
            await held

    async def ciphers(self, wanted: set[tuple[UUID, date]]) -> dict[tuple[UUID, date], Cipher]:
        await self._reach("ciphers")
        return {pair: Cipher(1, bytes(32)) for pair in wanted}

    async def take_ids(self, count: int) -> range:
        await self._reach("take_ids")
        return range(count)

    async def commit(self, received_at: datetime, rows: list[Row]) -> None:
        await self._reach("commit")

    async def answers(self) -> bool:
        return True

    def abandon(self) -> None:
        for held in self._held:
            if not held.done():
                held.set_exception(ConnectionError())


@pytest.mark.parametrize("step", ["ciphers", "take_ids", "commit"])
def test_it_refuses_in_metas_time_whatever_hangs_and_however_many_wait(step: str) -> None:
    timeout = settings.SIGMA_INBOX_TIMEOUT_MS / 1000
    longest = 2 * timeout + PROBE_SECONDS

    async def scene(clock: Callable[[], float]) -> None:
        inbox = Inbox(
            Hanging(step), on_commit=lambda: None, max_waiting=100, max_bytes=1_000_000,
            max_batch=1, timeout=timeout,
        )  # fmt: skip
        began = clock()
        stored = (inbox.store(CALLBACK) for _ in range(50))
        refused = await asyncio.gather(*stored, return_exceptions=True)
        assert [type(answer) for answer in refused] == [InboxUnavailable] * 50
        assert timeout <= clock() - began <= longest + 0.01
        await inbox.close()

    at_leaps(scene)
    assert longest < METAS_SECONDS / 2
