"""How long a callback may wait for the database, by a clock that moves only while nothing runs."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

import pytest
from django.conf import settings

from connectors.whatsapp.inbox import (
    CLOSE_SECONDS,
    MOST_ABANDONED,
    PROBE_SECONDS,
    DeliveryRow,
    Inbox,
    InboxUnavailable,
    VerifiedCallback,
)
from lib.envelope import Cipher

# Meta takes a callback for failed that is not answered by then.
METAS_SECONDS = 10.0
TENANT = UUID(int=1)
CALLBACK = VerifiedCallback(TENANT, b"{}", bytes(32))


class Leap(selectors.DefaultSelector):
    """Waits for nothing: what would be waited for is added to the time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "all wait for nothing"
        assert self.now < 1_000, "it never ends"
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
    """A store that hangs at one of its steps until it is released."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._held: list[asyncio.Future[None]] = []
        self.committed: list[DeliveryRow] = []
        self.taken = self.abandoned = 0

    async def _reach(self, step: str) -> None:
        if step == self._step:
            self._held.append(held := asyncio.get_running_loop().create_future())
            await held

    async def ciphers(self, wanted: set[tuple[UUID, date]]) -> dict[tuple[UUID, date], Cipher]:
        await self._reach("ciphers")
        return {pair: Cipher(1, bytes(32)) for pair in wanted}

    async def take_ids(self, count: int) -> range:
        self.taken += 1
        await self._reach("take_ids")
        return range(count)

    async def commit(self, received_at: datetime, rows: list[DeliveryRow]) -> None:
        await self._reach("commit")
        self.committed += rows

    async def answers(self) -> bool:
        return True

    def abandon(self) -> None:
        self.abandoned += 1
        for held in self._held:
            if not held.done():
                held.set_exception(ConnectionError())


class Late(Hanging):
    """What hung goes on where it was when it is released; nothing hangs after that."""

    def abandon(self) -> None:
        self._step = ""
        for held in self._held:
            if not held.done():
                held.set_result(None)


class Deaf(Hanging):
    """What hangs stays so until it is ended."""

    def abandon(self) -> None:
        pass

    def end(self) -> None:
        self._step = ""
        super().abandon()


TIMEOUT = settings.SIGMA_INBOX_TIMEOUT_MS / 1000


def inbox_of(store: Hanging) -> Inbox:
    return Inbox(
        store,
        on_commit=lambda: None,
        max_waiting=100,
        max_bytes=1_000_000,
        max_batch=1,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("step", ["ciphers", "take_ids", "commit"])
def test_it_refuses_in_metas_time_whatever_hangs_and_however_many_wait(step: str) -> None:
    longest = 2 * TIMEOUT + PROBE_SECONDS

    async def scene(clock: Callable[[], float]) -> None:
        inbox = inbox_of(Hanging(step))
        began = clock()
        stored = (inbox.store(CALLBACK) for _ in range(50))
        refused = await asyncio.gather(*stored, return_exceptions=True)
        assert [type(answer) for answer in refused] == [InboxUnavailable] * 50
        assert TIMEOUT <= clock() - began <= longest + 0.01
        await inbox.close()

    at_leaps(scene)
    assert longest < METAS_SECONDS / 2


@pytest.mark.parametrize("step", ["ciphers", "take_ids"])
def test_what_was_refused_is_not_committed_beside_those_that_came_later(step: str) -> None:
    async def scene(clock: Callable[[], float]) -> None:
        store = Late(step)
        inbox = inbox_of(store)
        refused = inbox.store(CALLBACK)
        behind = [inbox.store(VerifiedCallback(TENANT, b"[]" * n, bytes(32))) for n in (1, 2)]
        answers = await asyncio.gather(refused, *behind, return_exceptions=True)
        assert [type(answer) for answer in answers] == [InboxUnavailable, type(None), type(None)]
        await inbox.close()
        assert [row.size for row in store.committed] == [2, 4]
        assert store.taken == (2 if step == "ciphers" else 3)

    at_leaps(scene)


def test_it_closes_in_time_and_answers_all_while_a_commit_hangs_that_never_ends() -> None:
    async def scene(clock: Callable[[], float]) -> None:
        store = Deaf("commit")
        inbox = inbox_of(store)
        stored = [asyncio.ensure_future(inbox.store(CALLBACK)) for _ in range(3)]
        await asyncio.sleep(0)
        await inbox.close()
        assert clock() <= 2 * TIMEOUT + 2 * PROBE_SECONDS + CLOSE_SECONDS + 0.01
        assert all(isinstance(answer.exception(), InboxUnavailable) for answer in stored)
        store.end()
        await asyncio.sleep(0)

    at_leaps(scene)


def test_it_stores_again_once_a_commit_ended_that_was_given_up() -> None:
    async def scene(clock: Callable[[], float]) -> None:
        store = Late("commit")
        inbox = inbox_of(store)
        with pytest.raises(InboxUnavailable):
            await inbox.store(CALLBACK)
        await inbox.store(CALLBACK)
        await inbox.close()
        assert len(store.committed) == 2  # the first one late: Meta repeats it

    at_leaps(scene)


def test_all_who_wait_are_refused_when_a_commit_is_cancelled() -> None:
    class Cancelled(Hanging):
        async def commit(self, received_at: datetime, rows: list[DeliveryRow]) -> None:
            raise asyncio.CancelledError

    async def scene(clock: Callable[[], float]) -> None:
        inbox = inbox_of(Cancelled(""))
        stored = (inbox.store(CALLBACK) for _ in range(3))
        refused = await asyncio.gather(*stored, return_exceptions=True)
        assert [type(answer) for answer in refused] == [InboxUnavailable] * 3
        await inbox.close()

    at_leaps(scene)


def test_what_was_committed_in_time_is_never_given_up() -> None:
    async def scene(clock: Callable[[], float]) -> None:
        store = Hanging("")
        inbox = inbox_of(store)
        await inbox.store(CALLBACK)
        await asyncio.sleep(2 * TIMEOUT)
        assert store.abandoned == 0
        await inbox.close()

    at_leaps(scene)


def test_it_begins_nothing_new_while_too_much_hangs_that_was_given_up() -> None:
    async def scene(clock: Callable[[], float]) -> None:
        store = Deaf("commit")
        inbox = inbox_of(store)
        for _ in range(MOST_ABANDONED):
            with pytest.raises(InboxUnavailable):
                await inbox.store(CALLBACK)
        at = clock()
        with pytest.raises(InboxUnavailable):
            await inbox.store(CALLBACK)
        assert clock() == at
        store.end()
        await asyncio.sleep(0.01)  # they end
        await inbox.store(CALLBACK)
        await inbox.close()
        assert len(store.committed) == 1

    at_leaps(scene)
