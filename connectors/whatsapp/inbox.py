"""Group commit: callbacks that arrive while a commit runs are the next commit (:mod:`lib.batcher`).

One INSERT of many rows answers many requests, so a slow disk costs latency, not throughput. No
pause: an idle inbox commits the first callback at once. A commit that takes too long is given up:
another writer refuses its callbacks and goes on with those that wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import accumulate
from typing import Any, Protocol
from uuid import UUID

from connectors.whatsapp.raw import BODY
from lib import clock, metrics
from lib.batcher import Batcher
from lib.envelope import Cipher, associated_data

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


class InboxFull(Exception):
    """More callbacks are waiting than may wait."""


class InboxUnavailable(Exception):
    """The callback could not be committed in time."""


@dataclass(frozen=True, slots=True)
class VerifiedCallback:
    """A verified callback. ``digest`` is its signature: a digest that nobody can guess."""

    tenant_id: UUID
    body: bytes
    digest: bytes


Place = tuple[VerifiedCallback, asyncio.Future[bool | None]]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
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

    async def commit(self, received_at: datetime, rows: list[DeliveryRow]) -> None:
        """Insert the rows and their pointers, durably."""

    async def answers(self) -> bool:
        """Whether the database is there."""

    def abandon(self) -> None:
        """Give up the connection, whose state is unknown: what waits for it fails at once."""


class Inbox(Batcher[VerifiedCallback, bool]):
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
        super().__init__(most=max_batch)
        self._store, self._on_commit = store, on_commit
        self._max_waiting, self._max_bytes, self._timeout = max_waiting, max_bytes, timeout
        # Bytes of the bodies that wait; refused since the last commit: batches, and callbacks.
        self.waiting_bytes = self._failures = self._refused = 0
        self._abandoned: set[asyncio.Task[Any]] = set()

    async def store(self, received: VerifiedCallback) -> None:
        """Return once the callback is committed.

        Raises:
            InboxFull: too many or too large callbacks are waiting already.
            InboxUnavailable: the database did not confirm it in time.
        """
        full = len(self.waiting) >= self._max_waiting
        if full or self.waiting_bytes + len(received.body) > self._max_bytes:
            raise InboxFull
        self.waiting_bytes += len(received.body)
        if not await self.add(received):
            raise InboxUnavailable

    async def close(self) -> None:
        """Commit what is waiting, then stop."""
        # One that is given up may never end; its successor goes on with what waits.
        while self.writer is not None:
            await asyncio.wait((self.writer,), timeout=PROBE_SECONDS)
        self._store.abandon()
        if self._abandoned:
            await asyncio.wait(self._abandoned, timeout=CLOSE_SECONDS)

    def next_count(self) -> int:
        """Return how many one commit may hold; a single callback always fits."""
        count = super().next_count()
        if self.waiting_bytes > BATCH_BYTES:
            sizes = accumulate(len(received.body) for received, _ in self.waiting[:count])
            count = max(1, sum(1 for size in sizes if size <= BATCH_BYTES))
        return count

    def take(self, count: int) -> list[Place]:
        """Take so many from the front, and their bytes."""
        taken = super().take(count)
        self.waiting_bytes -= sum(len(received.body) for received, _ in taken)
        metrics.WAITING.set(len(self.waiting))
        return taken

    async def write_batch(self, batch: Sequence[Place]) -> None:
        """Commit a batch, and in no task of its own: waiting for one costs turns of the event loop,
        and in each of them other requests come first.
        """
        metrics.CALLBACK_BYTES.inc(sum(len(received.body) for received, _ in batch))
        began = time.perf_counter()
        timer = asyncio.get_running_loop().call_later(self._timeout, self._give_up, batch)
        stored: Sequence[bool] = ()
        failure: Exception | None = None
        try:
            stored = await self.write([received for received, _ in batch])
        except Exception as error:
            failure = error
        except BaseException as error:  # the process ends
            if self.is_writer():
                self.refuse(batch, error)
            raise
        finally:
            timer.cancel()
        if not self.is_writer():
            return
        if failure is None:
            metrics.COMMIT_SECONDS.observe(time.perf_counter() - began)
            self._confirm(batch, stored)
        else:  # nobody was answered yet: refuse, let Meta retry
            await self._fail(batch, failure)

    def _confirm(self, batch: Sequence[Place], stored: Sequence[bool]) -> None:
        """Answer 200 to a committed batch, but for the tenants that have no key."""
        self._failures = 0
        metrics.ACCEPTED.inc(sum(stored))
        metrics.COMMIT_CALLBACKS.observe(len(batch))
        self.answer(batch, stored)
        if self._refused:
            logger.warning("whatsapp callbacks stored again", extra={"refused": self._refused})
            self._refused = 0
        self._on_commit()

    def _give_up(self, batch: Sequence[Place]) -> None:
        """Let another writer refuse the batch and go on with what waits."""
        writer = self.writer
        refusing = partial(self._fail, batch, TimeoutError())
        self.writer = asyncio.get_running_loop().create_task(self.write_all(after=refusing))
        if writer is not None:
            self._abandon(writer)

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Wait no longer for a task that uses the database.

        It is not cancelled: the driver would first wait for a hanging server to agree, twice 5 s.
        Nor is its connection closed here, which the event loop may be about to poll. The store ends
        the connection's socket, the task fails by itself and closes what it used.
        """
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        self._store.abandon()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen: nobody waits for it

    async def write(self, items: Sequence[VerifiedCallback]) -> list[bool]:
        """Seal and commit those whose tenant has a key; return of each whether it was.

        Raises:
            TimeoutError: too much that was given up has not ended yet, or this was given up.
        """
        if len(self._abandoned) >= MOST_ABANDONED:
            raise TimeoutError
        received_at = clock.now()
        day = received_at.date()
        tenants = {received.tenant_id for received in items}
        found = await self._store.ciphers({(tenant_id, day) for tenant_id in tenants})
        self._check_waited_for()
        ciphers = {tenant_id: cipher for (tenant_id, _), cipher in found.items()}
        batch = [received for received in items if received.tenant_id in ciphers]
        if batch:
            ids = await self._store.take_ids(len(batch))
            self._check_waited_for()
            await self._store.commit(received_at, _sealed(ids, batch, ciphers))
        return [received.tenant_id in ciphers for received in items]

    def _check_waited_for(self) -> None:
        if not self.is_writer():  # refused meanwhile; the connection belongs to the successor
            raise TimeoutError

    async def _fail(self, batch: Sequence[Place], error: Exception) -> None:
        """Answer 503 to the batch; and, if the database is away, to all who wait behind it: they
        must not wait for a time-out each. Nor must they where the next batch fails as well.
        """
        self._failures += 1
        metrics.COMMITS_FAILED.inc()
        self.refuse(batch, error)
        self._store.abandon()
        if self.waiting and (self._failures > 1 or not await self._is_there()):
            self.refuse(self.take(len(self.waiting)), error)
            self._store.abandon()

    async def _is_there(self) -> bool:
        if len(self._abandoned) >= MOST_ABANDONED:
            return False
        probe = asyncio.get_running_loop().create_task(self._store.answers())
        await asyncio.wait((probe,), timeout=PROBE_SECONDS)
        if probe.done():
            return probe.result()
        self._abandon(probe)
        return False

    def refuse(self, batch: Sequence[Place], error: BaseException) -> None:
        """Answer 503 to a batch."""
        if not self._refused:  # the first of an outage; its end is logged with the count
            logger.error(
                "whatsapp callbacks cannot be stored, answering 503",
                extra={"error": type(error).__name__},
            )
        self._refused += len(batch)
        super().refuse(batch, error)


def _sealed(
    ids: Iterable[int], batch: list[VerifiedCallback], ciphers: dict[UUID, Cipher]
) -> list[DeliveryRow]:
    return [
        DeliveryRow(
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
