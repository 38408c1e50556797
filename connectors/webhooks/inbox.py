"""Group commit: callbacks that arrive while a commit runs are the next commit.

One INSERT of many rows answers many requests, so a slow disk costs latency, not throughput. There
is no timer: an idle inbox commits the first callback at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol
from uuid import UUID

from workspaces.envelope import Cipher, associated_data

logger = logging.getLogger("sigma.whatsapp.webhooks")

# How long a statement may take to notice that its connection is gone.
HANG_UP_SECONDS = 0.1
PLACE = "webhook_deliveries.body"


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
        """Return the Raw cipher of each (tenant, day)."""

    async def commit(self, received_at: datetime, rows: list[Row]) -> None:
        """Insert the rows and what is owed of them, durably."""

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
        self._waiting: list[tuple[Received, asyncio.Future[None]]] = []
        self._bytes = self._refused = 0
        self._committer: asyncio.Task[None] | None = None

    async def store(self, received: Received) -> None:
        """Return once the callback is committed.

        Raises:
            InboxFull: too many or too large callbacks are waiting already.
            InboxUnavailable: the database did not confirm it in time.
        """
        full = len(self._waiting) >= self._max_waiting
        if full or self._bytes + len(received.body) > self._max_bytes:
            raise InboxFull
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((received, done))
        self._bytes += len(received.body)
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
                batch, self._waiting = (
                    self._waiting[: self._max_batch],
                    self._waiting[self._max_batch :],
                )
                self._bytes -= sum(len(received.body) for received, _ in batch)
                await self._commit(batch)
        finally:
            self._committer = None

    async def _commit(self, batch: list[tuple[Received, asyncio.Future[None]]]) -> None:
        try:
            await self._in_time([received for received, _ in batch])
        except Exception as error:  # nobody was answered yet: refuse, let Meta retry
            await self._refuse(batch, error)
            return
        for _, done in batch:
            if not done.done():
                done.set_result(None)
        if self._refused:
            logger.warning("whatsapp callbacks stored again", extra={"refused": self._refused})
            self._refused = 0
        self._on_commit()

    async def _in_time(self, batch: list[Received]) -> None:
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
        work.result()

    async def _seal_and_commit(self, batch: list[Received]) -> None:
        received_at = datetime.now(UTC)
        day = received_at.date()
        ciphers = await self._store.ciphers({(received.tenant_id, day) for received in batch})
        ids = await self._store.take_ids(len(batch))
        rows = [
            Row(
                id=row_id,
                tenant_id=received.tenant_id,
                size=len(received.body),
                digest=received.digest,
                sealed=ciphers[received.tenant_id, day].seal(
                    received.body, associated_data(received.tenant_id, PLACE, row_id)
                ),
            )
            for row_id, received in zip(ids, batch, strict=True)
        ]
        await self._store.commit(received_at, rows)

    async def _refuse(
        self, batch: list[tuple[Received, asyncio.Future[None]]], error: Exception
    ) -> None:
        """Answer 503 to the batch and to all who wait behind it: they must not wait for a time-out
        each.
        """
        refused = batch + self._waiting
        self._waiting, self._bytes = [], 0
        if not self._refused:  # the first of an outage; its end is logged with the count
            logger.error(
                "whatsapp callbacks cannot be stored, answering 503",
                extra={"error": type(error).__name__},
            )
        self._refused += len(refused)
        for _, done in refused:
            if not done.done():
                done.set_exception(InboxUnavailable())
        await self._store.reset()
