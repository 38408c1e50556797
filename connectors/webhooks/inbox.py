"""Group commit: callbacks that arrive while a commit runs are the next commit.

One INSERT of many rows answers many requests, so a slow disk costs latency, not throughput. There
is no timer: an idle inbox commits the first callback at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Protocol
from uuid import UUID

from connectors.webhooks.raw import BODY
from workspaces.envelope import Cipher, associated_data

logger = logging.getLogger("sigma.whatsapp.webhooks")

# How long a statement may take to notice that its connection is gone.
HANG_UP_SECONDS = 0.1
# How long a database may take to show that it is still there, after it failed to commit.
PROBE_SECONDS = 0.2
# Bodies of one commit: what a slow disk writes within the time that a commit may take.
BATCH_BYTES = 8_000_000


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

    def hang_up(self) -> None:
        """Make a statement that the server does not answer fail at once."""

    async def reset(self) -> None:
        """Drop the connection: its state is unknown."""


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
        await self._store.reset()

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
            without = await self._in_time([received for received, _ in batch])
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

    async def _in_time(self, batch: list[Received]) -> set[UUID]:
        """Commit, or fail once the callbacks have waited as long as they may.

        To cancel is not enough: the driver first waits for a hanging server to agree, twice 5 s.
        """
        work = asyncio.get_running_loop().create_task(self._seal_and_commit(batch))
        done, _ = await asyncio.wait((work,), timeout=self._timeout)
        if not done:
            self._store.hang_up()
            done, _ = await asyncio.wait((work,), timeout=HANG_UP_SECONDS)
        if not done:
            work.cancel()
            raise TimeoutError
        return work.result()

    async def _seal_and_commit(self, batch: list[Received]) -> set[UUID]:
        """Commit those whose tenant has a key; return the tenants that have none."""
        received_at = datetime.now(UTC)
        day = received_at.date()
        tenants = {received.tenant_id for received in batch}
        found = await self._store.ciphers({(tenant_id, day) for tenant_id in tenants})
        ciphers = {tenant_id: cipher for (tenant_id, _), cipher in found.items()}
        without = tenants - ciphers.keys()
        if without:
            batch = [received for received in batch if received.tenant_id in ciphers]
        if batch:
            ids = await self._store.take_ids(len(batch))
            await self._store.commit(received_at, _sealed(ids, batch, ciphers))
        return without

    async def _fail(self, batch: list[Waiting], error: Exception) -> None:
        """Answer 503 to the batch; and, if the database is away, to all who wait behind it: they
        must not wait for a time-out each. Nor must they where the next batch fails as well.
        """
        self._failures += 1
        await self._store.reset()
        self._refuse(batch, error)
        if self._waiting and (self._failures > 1 or not await self._is_there()):
            behind, self._waiting, self.waiting_bytes = self._waiting, [], 0
            self._refuse(behind, error)
            await self._store.reset()

    async def _is_there(self) -> bool:
        work = asyncio.get_running_loop().create_task(self._store.answers())
        done, _ = await asyncio.wait((work,), timeout=PROBE_SECONDS)
        if not done:
            self._store.hang_up()
            work.cancel()
        return bool(done) and work.exception() is None and work.result()

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
