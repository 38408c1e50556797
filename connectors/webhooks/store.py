"""The receiver's own database connection: one statement per group commit, no ORM."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from contextlib import suppress
from datetime import datetime

import psycopg
from psycopg import AsyncConnection

from connectors.webhooks.ciphers import DayCiphers, RunSync
from connectors.webhooks.inbox import Row
from connectors.webhooks.raw import BLOCK
from workspaces.daykeys import Pair
from workspaces.envelope import Cipher

# A database that is recovering is not asked again by every callback that arrives meanwhile.
AWAY_SECONDS = 0.25
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


class PostgresStore:
    """Commit batches over one connection, made when needed and dropped on any doubt."""

    def __init__(self, *, conninfo: str, run_sync: RunSync) -> None:
        self._conninfo, self._run_sync = conninfo, run_sync
        self._connection: AsyncConnection | None = None
        self._away_until = 0.0
        self._ids: deque[int] = deque()
        self._ciphers = DayCiphers(run_sync=run_sync)

    async def take_ids(self, count: int) -> list[int]:
        """Return ``count`` ids, fetching blocks of 1,000 from the sequence where needed."""
        while len(self._ids) < count:
            try:
                start = await self._next_block()
            except psycopg.OperationalError:  # the connection died while nobody used it
                await self.reset()
                start = await self._next_block()
            self._ids.extend(range(start, start + BLOCK))
        return [self._ids.popleft() for _ in range(count)]

    async def ciphers(self, wanted: set[Pair]) -> dict[Pair, Cipher]:
        """Return the ciphers of those who have one."""
        return await self._ciphers.of(wanted)

    async def commit(self, received_at: datetime, rows: list[Row]) -> None:
        """Insert the rows and their pointers in one statement, which is its own transaction.

        A connection that turns out to be dead is replaced and the rows are sent again. Whether the
        first attempt was committed does not matter: ids are never given twice, so rows that are
        there already are refused as a whole.
        """
        parameters = _parameters(received_at, rows)
        try:
            await self._insert(parameters)
        except psycopg.OperationalError:
            await self.reset()
            with suppress(psycopg.errors.UniqueViolation):
                await self._insert(parameters)

    async def _insert(self, parameters: dict[str, object]) -> None:
        connection = await self._connected()
        await connection.execute(COMMIT, parameters, prepare=True)

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

    def hang_up(self) -> None:
        """Make a statement that the server does not answer fail at once, by ending its socket."""
        if self._connection is None or self._connection.closed:
            return
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    async def reset(self) -> None:
        """Close the connection; the next commit opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # close() would first wait for a statement that may never end.
            connection.pgconn.finish()

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
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


def _parameters(received_at: datetime, rows: list[Row]) -> dict[str, object]:
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
