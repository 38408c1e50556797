"""Group commit: callbacks that arrive while a commit runs are the next commit.

One INSERT of many rows answers many requests, so a slow disk costs latency, not throughput. There
is no timer: an idle inbox commits the first callback at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Protocol, TypeVar
from uuid import UUID

from connectors.webhooks.raw import BODY
from workspaces import clock
from workspaces.envelope import Cipher, associated_data

logger = logging.getLogger("sigma.whatsapp.webhooks")

# How long a database may take to show that it is still there, after it failed to commit.
PROBE_SECONDS = 0.2
# Attempts that were given up and have not ended. They end as soon as their connection does, but for
# those that still connect (2 s) or wait for a key; beyond this nothing new is begun.
MOST_ABANDONED = 8
# How long the inbox waits at its end for attempts that were given up.
CLOSE_SECONDS = 1.0
# Bodies of one commit: what a slow disk writes within the time that a commit may take.
BATCH_BYTES = 8_000_000

T = TypeVar("T")


class InboxFull(Exception):
    """More callbacks are waiting than may wait."""


class InboxUnavailable(Exception):
    """The callback could not be committed in time."""


@dataclass(frozen=True, slots=True)
class Received:
    """A verified callback. ``digest`` is its signature: a digest that nobody can guess."""

    tenant_id: UUID
    body: bytes
    digest: bytes


Waiting = tuple[Received, asyncio.Future[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """A sealed callback, ready for the database; ``size`` is that of the plain body in bytes."""

    id: int
    tenant_id: UUID
    size: int
    digest: bytes
    sealed: bytes


class Store(Protocol):
    """What the inbox needs of the database."""

    async def take_ids(self, count: int) -> range | list[int]:
        """Return ``count`` fresh delivery ids."""

    async def ciphers(self, wanted: set[tuple[UUID, date]]) -> dict[tuple[UUID, date], Cipher]:
        """Return the Raw cipher of each (tenant, day) that has one."""

    async def commit(self, received_at: datetime, rows: list[Row]) -> None:
        """Insert the rows and what is owed of them, durably."""

    async def answers(self) -> bool:
        """Whether the database is there."""

    def abandon(self) -> None:
        """Let go of the connection, whose state is unknown: what waits for it fails at once."""


class Inbox:
    """Make callbacks durable, many per commit; bounded in number, bytes and time."""

    def __init__(
        self,
        store: Store,
        *,
        on_commit: Callable[[], None],
        max_waiting: int,
        max_bytes: int,
        max_batch: int,
        timeout: float,
    ) -> None:
        self._store, self._on_commit = store, on_commit
        self._max_waiting, self._max_bytes, self._max_batch = max_waiting, max_bytes, max_batch
        self._timeout = timeout
        self._waiting: list[Waiting] = []
        # Bytes of the bodies that wait; refused since the last commit: batches, and callbacks.
        self.waiting_bytes = self._failures = self._refused = 0
        self._committer: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def store(self, received: Received) -> None:
        """Return once the callback is committed.

        Raises:
            InboxFull: too many or too large callbacks are waiting already.
            InboxUnavailable: the database did not confirm it in time.
        """
        full = len(self._waiting) >= self._max_waiting
        if full or self.waiting_bytes + len(received.body) > self._max_bytes:
            raise InboxFull
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((received, done))
        self.waiting_bytes += len(received.body)
        if self._committer is None:
            self._committer = loop.create_task(self._commit_all())
        await done

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        if self._committer is not None:
            await self._committer
        self._store.abandon()
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=CLOSE_SECONDS)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._next_batch())
        finally:
            self._committer = None

    def _next_batch(self) -> list[Waiting]:
        """Take from the front what one commit may hold; a single callback always fits."""
        count = min(len(self._waiting), self._max_batch)
        if self.waiting_bytes > BATCH_BYTES:
            sizes = accumulate(len(received.body) for received, _ in self._waiting[:count])
            count = max(1, sum(1 for size in sizes if size <= BATCH_BYTES))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self.waiting_bytes -= sum(len(received.body) for received, _ in batch)
        return batch

    async def _commit(self, batch: list[Waiting]) -> None:
        try:
            work = self._seal_and_commit([received for received, _ in batch])
            without = await self._in_time(work, self._timeout)
        except Exception as error:  # nobody was answered yet: refuse, let Meta retry
            await self._fail(batch, error)
            return
        self._failures = 0
        for received, done in batch:
            if done.done():
                continue
            if without and received.tenant_id in without:
                done.set_exception(InboxUnavailable())
            else:
                done.set_result(None)
        if self._refused:
            logger.warning("whatsapp callbacks stored again", extra={"refused": self._refused})
            self._refused = 0
        self._on_commit()

    async def _in_time(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Return what ``work`` does, or fail once it has taken too long.

        It is not cancelled: the driver would first wait for a hanging server to agree, twice 5 s.
        Nor is its connection closed here, which the event loop may be about to poll. The store ends
        the connection's socket, the work fails by itself and closes what it used.

        Raises:
            TimeoutError: it took too long, or too much that did has not ended yet.
        """
        if len(self._abandoned) >= MOST_ABANDONED:
            work.close()
            raise TimeoutError
        task = asyncio.get_running_loop().create_task(work)
        await asyncio.wait((task,), timeout=seconds)
        if task.done():
            return task.result()
        self._store.abandon()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        raise TimeoutError

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody waits for it

    async def _seal_and_commit(self, batch: list[Received]) -> set[UUID]:
        """Commit those whose tenant has a key; return the tenants that have none."""
        received_at = clock.now()
        day, task = received_at.date(), asyncio.current_task()
        tenants = {received.tenant_id for received in batch}
        found = await self._store.ciphers({(tenant_id, day) for tenant_id in tenants})
        self._check_waited_for(task)
        ciphers = {tenant_id: cipher for (tenant_id, _), cipher in found.items()}
        without = tenants - ciphers.keys()
        if without:
            batch = [received for received in batch if received.tenant_id in ciphers]
        if batch:
            ids = await self._store.take_ids(len(batch))
            self._check_waited_for(task)
            await self._store.commit(received_at, _sealed(ids, batch, ciphers))
        return without

    def _check_waited_for(self, task: asyncio.Task[Any] | None) -> None:
        if task in self._abandoned:  # refused meanwhile; the connection belongs to others
            raise InboxUnavailable

    async def _fail(self, batch: list[Waiting], error: Exception) -> None:
        """Answer 503 to the batch; and, if the database is away, to all who wait behind it: they
        must not wait for a time-out each. Nor must they where the next batch fails as well.
        """
        self._failures += 1
        self._store.abandon()
        self._refuse(batch, error)
        if self._waiting and (self._failures > 1 or not await self._is_there()):
            behind, self._waiting, self.waiting_bytes = self._waiting, [], 0
            self._refuse(behind, error)
            self._store.abandon()

    async def _is_there(self) -> bool:
        try:
            return await self._in_time(self._store.answers(), PROBE_SECONDS)
        except TimeoutError:
            return False

    def _refuse(self, batch: list[Waiting], error: Exception) -> None:
        if not self._refused:  # the first of an outage; its end is logged with the count
            logger.error(
                "whatsapp callbacks cannot be stored, answering 503",
                extra={"error": type(error).__name__},
            )
        self._refused += len(batch)
        for _, done in batch:
            if not done.done():
                done.set_exception(InboxUnavailable())


def _sealed(ids: Iterable[int], batch: list[Received], ciphers: dict[UUID, Cipher]) -> list[Row]:
    return [
        Row(
            id=row_id,
            tenant_id=received.tenant_id,
            size=len(received.body),
            digest=received.digest,
            sealed=ciphers[received.tenant_id].seal(
                received.body, associated_data(received.tenant_id, BODY, row_id)
            ),
        )
        for row_id, received in zip(ids, batch, strict=True)
    ]
