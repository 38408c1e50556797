"""What the inbox needs of the database: ids, day ciphers, and one statement per group commit.

The receiver has a connection of its own for this, without the ORM.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, AsyncCursor

from connectors.whatsapp.inbox import DeliveryRow
from connectors.whatsapp.raw import BLOCK
from lib.envelope import Cipher
from workspaces import keys
from workspaces.keys import Pair

logger = logging.getLogger("sigma.whatsapp.webhooks")
# A database that is recovering is not asked again by every callback that arrives meanwhile.
AWAY_SECONDS = 0.25
# What is in use is loaded anew this often, away from the commits.
RENEW_SECONDS = 10.0
# A tenant without a key is not asked about by every batch.
TROUBLE_SECONDS = 0.5
# What a server says whose connection another one prepared the statement on, or did it already.
UNPREPARED = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
)
# Array parameters go in binary: as text they are 2.6 times slower. Callbacks of one commit arrived
# one after the other: a microsecond apart, they are told apart and keep their order.
COMMIT = """
WITH stored AS (
    INSERT INTO webhook_deliveries (id, received_at, tenant_id, size, digest, body)
    SELECT r.id, %(received_at)b::timestamptz + (r.place - 1) * interval '1 microsecond',
           (%(tenants)b::uuid[])[r.tenant], r.size, r.digest, r.body
    FROM unnest(%(ids)b::int8[], %(owners)b::int4[], %(sizes)b::int4[], %(digests)b::bytea[],
                %(bodies)b::bytea[]) WITH ORDINALITY AS r (id, tenant, size, digest, body, place)
    RETURNING id, received_at, tenant_id, size
)
INSERT INTO webhook_pending (delivery_id, received_at, tenant_id, size)
SELECT id, received_at, tenant_id, size FROM stored
"""
Loaded = tuple[dict[Pair, Cipher], dict[Pair, Exception]]
RunSync = Callable[[Callable[[], Loaded]], Awaitable[Loaded]]


class Abandoned(psycopg.OperationalError):
    """The connection was given up while it was being made or used."""


class PostgresStore:
    """Commit batches over one connection, made when needed and dropped on any doubt."""

    def __init__(self, *, conninfo: str, run_sync: RunSync, prepares: bool = True) -> None:
        self._conninfo, self._prepares = conninfo, prepares
        self._connection: DroppableConnection | None = None
        # Counts the connections that were given up: a caller that sees it move is not waited for.
        self._generation = 0
        self._away_until = 0.0
        self._ids: deque[int] = deque()
        self._ciphers = DayCiphers(run_sync=run_sync)

    async def take_ids(self, count: int) -> list[int]:
        """Return ``count`` ids, fetching blocks of 1,000 from the sequence where needed."""
        while len(self._ids) < count:
            generation = self._generation
            try:
                start = await self._next_block()
            except psycopg.OperationalError:
                self._check_waited_for(generation)
                start = await self._next_block()
            self._ids.extend(range(start, start + BLOCK))
        return [self._ids.popleft() for _ in range(count)]

    async def ciphers(self, wanted: set[Pair]) -> dict[Pair, Cipher]:
        """Return the ciphers of those who have one."""
        return await self._ciphers.of(wanted)

    async def commit(self, received_at: datetime, rows: list[DeliveryRow]) -> None:
        """Insert the rows and their pointers in one statement, which is its own transaction.

        A connection that turns out to be dead is replaced and the rows are sent again. Whether the
        first attempt was committed does not matter: ids are never given twice, so rows that are
        there already are refused as a whole.
        """
        parameters, generation = _parameters(received_at, rows), self._generation
        try:
            await self._insert(parameters)
        except psycopg.OperationalError:
            self._check_waited_for(generation)
            with suppress(psycopg.errors.UniqueViolation):
                await self._insert(parameters)

    async def _insert(self, parameters: dict[str, object]) -> None:
        connection = await self._connected()
        try:
            await connection.execute(COMMIT, parameters, prepare=self._prepares)
        except UNPREPARED:
            # A pooler gives each statement another connection of the server.
            self._prepares = False
            await connection.execute(COMMIT, parameters)

    def _check_waited_for(self, generation: int) -> None:
        """Replace a connection that died while nobody used it, so that its statement is repeated.

        Raises:
            Abandoned: it was given up; nobody waits for what was under way on it.
        """
        if generation != self._generation:
            raise Abandoned
        self.abandon()

    async def _next_block(self) -> int:
        connection = await self._connected()
        cursor = await connection.execute("SELECT nextval('webhook_delivery_blocks')")
        (start,) = await cursor.fetchone() or (0,)
        return int(start)

    async def answers(self) -> bool:
        """Whether the database answers a trivial question on a connection of ours."""
        try:
            await (await self._connected()).execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def abandon(self) -> None:
        """Give the connection up; the next statement opens another."""
        self._generation += 1
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()

    async def _connected(self) -> DroppableConnection:
        if self._connection is not None and self._connection.is_closed:
            self._connection.drop()
            self._connection = None
        if self._connection is None:
            generation = self._generation
            connection = DroppableConnection(await self._connect())
            if generation != self._generation:
                connection.drop()
                raise Abandoned
            self._connection = connection
        return self._connection

    async def _connect(self) -> AsyncConnection:
        clock = asyncio.get_running_loop().time
        if clock() < self._away_until:
            raise psycopg.OperationalError("The database was away a moment ago.")
        try:
            return await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=2
            )
        except psycopg.OperationalError:
            self._away_until = clock() + AWAY_SECONDS
            raise


def _parameters(received_at: datetime, rows: list[DeliveryRow]) -> dict[str, object]:
    tenants = list({row.tenant_id for row in rows})
    position = {tenant_id: index for index, tenant_id in enumerate(tenants, start=1)}
    return {
        "received_at": received_at,
        "tenants": tenants,
        "ids": [row.id for row in rows],
        "owners": [position[row.tenant_id] for row in rows],
        "sizes": [row.size for row in rows],
        "digests": [row.digest for row in rows],
        "bodies": [row.sealed for row in rows],
    }


class DroppableConnection:
    """A connection that is closed only when nobody uses it.

    The event loop polls the socket of a connection in use. If that is closed under it, uvloop polls
    a descriptor that is no longer there, or somebody else's, and the process is aborted.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection, self._users, self._is_dropped = connection, 0, False

    @property
    def is_closed(self) -> bool:
        """Whether the other side has ended it."""
        return self._connection.closed

    async def execute(
        self,
        statement: str,
        parameters: Mapping[str, object] | None = None,
        *,
        prepare: bool = False,
    ) -> AsyncCursor:
        """Run a statement and return its result."""
        self._users += 1
        try:
            return await self._connection.execute(statement, parameters, prepare=prepare)
        finally:
            self._users -= 1
            if self._is_dropped:
                self._close_if_unused()

    def drop(self) -> None:
        """Make statements under way fail, and close the connection with the last of them."""
        self._is_dropped = True
        if self._users and not self.is_closed:
            # Borrowed: one of its own cannot be had where all are in use.
            borrowed = socket.socket(fileno=self._connection.fileno())
            with suppress(OSError):
                borrowed.shutdown(socket.SHUT_RDWR)
            borrowed.detach()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self._users:
            # close() would first wait for a statement that may never end.
            self._connection.pgconn.finish()


class DayCiphers:
    """Ciphers by tenant and day, in memory for at most 30 s, renewed before that while in use.

    One tenant's trouble is not another's.
    """

    def __init__(self, *, run_sync: RunSync) -> None:
        self._run_sync = run_sync
        self._known: dict[Pair, tuple[float, Cipher]] = {}
        self._used: set[Pair] = set()
        self._renewed_at = time.monotonic()
        self._renewal: asyncio.Task[None] | None = None
        # Until when a pair counts as having none; the tenants whose trouble was logged.
        self._without: dict[Pair, float] = {}
        self._troubled: set[UUID] = set()

    async def of(self, wanted: set[Pair]) -> dict[Pair, Cipher]:
        """Return the ciphers of those who have one, making keys on first use."""
        now, known = time.monotonic(), self._known
        self._used |= wanted
        stale = [pair for pair in wanted if pair not in known or known[pair][0] < now]
        if stale and (missing := [p for p in stale if self._without.get(p, 0.0) < now]):
            await self._load(missing)
        elif now - self._renewed_at > RENEW_SECONDS and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        return {pair: known[pair][1] for pair in wanted if known.get(pair, (0.0,))[0] >= now}

    async def _renew(self) -> None:
        """Load what was used since the last time; forget what has expired."""
        now = self._renewed_at = time.monotonic()
        used, self._used = self._used & self._known.keys(), set()
        try:
            await self._load([pair for pair in used if self._known[pair][0] >= now])
        except Exception as error:  # the ciphers at hand are good for a while yet
            logger.warning("whatsapp keys not renewed", extra={"error": type(error).__name__})
        finally:
            self._renewal = None
        now = time.monotonic()
        for pair in [pair for pair, (until, _) in self._known.items() if until < now]:
            del self._known[pair]
        self._without = {pair: until for pair, until in self._without.items() if until >= now}

    async def _load(self, pairs: list[Pair]) -> None:
        now = time.monotonic()  # before the question: a key may be destroyed while it is answered
        ciphers, troubles = await self._run_sync(lambda: keys.day_ciphers(pairs))
        for pair, cipher in ciphers.items():
            self._known[pair] = (now + keys.CACHE_SECONDS, cipher)
            self._troubled.discard(pair[0])
        for pair, error in troubles.items():
            self._known.pop(pair, None)
            self._without[pair] = time.monotonic() + TROUBLE_SECONDS
            self._complain(pair[0], error)

    def _complain(self, tenant_id: UUID, error: Exception) -> None:
        """Log a tenant's trouble once until it is over."""
        if tenant_id in self._troubled:
            return
        self._troubled.add(tenant_id)
        logger.error(
            "whatsapp callbacks of one tenant cannot be sealed, answering 503",
            extra={"tenant": tenant_id, "error": type(error).__name__},
        )
