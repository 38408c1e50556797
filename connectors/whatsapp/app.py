"""Put the receiver together: one per web process, alive from ASGI's start-up to its shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, connections
from psycopg.conninfo import make_conninfo

from connectors.whatsapp import partitions
from connectors.whatsapp.doorbell import AsyncDoorbell
from connectors.whatsapp.inbox import Inbox
from connectors.whatsapp.receiver import Receiver
from connectors.whatsapp.routes import Routes
from connectors.whatsapp.store import PostgresStore
from lib import clock
from lib.requests import Budget

logger = logging.getLogger("sigma.whatsapp.webhooks")

# Between two log lines on what was accepted.
LOG_SECONDS = 60.0

T = TypeVar("T")


class Webhooks:
    """The receiver with everything it needs."""

    def __init__(self) -> None:
        # Tenants and keys are read through Django in one thread, away from the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._doorbell = AsyncDoorbell()
        self._routes = Routes(run_sync=self._run_sync)
        self._inbox = Inbox(
            PostgresStore(
                conninfo=_conninfo(), run_sync=self._run_sync, prepares=not settings.SIGMA_PGBOUNCER
            ),
            on_commit=self._doorbell.press,
            max_waiting=settings.SIGMA_INBOX_MAX_WAITING,
            max_bytes=settings.SIGMA_INBOX_MAX_BYTES,
            max_batch=settings.SIGMA_INBOX_MAX_BATCH,
            timeout=settings.SIGMA_INBOX_TIMEOUT_MS / 1000,
        )
        self.receiver = Receiver(
            routes=self._routes,
            inbox=self._inbox,
            budget=Budget(settings.SIGMA_INBOX_MAX_BYTES, beside=lambda: self._inbox.waiting_bytes),
            max_body=settings.SIGMA_MAX_BODY_BYTES,
        )
        self._watcher: asyncio.Task[None] | None = None
        self._logging: asyncio.Task[None] | None = None
        self._partitions: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow changes of tenants and secrets; see that Raw has its partitions."""
        self._watcher = asyncio.create_task(self._routes.watch())
        self._logging = asyncio.create_task(self._log_accepted())
        self._partitions = asyncio.create_task(self._run_sync(_make_partitions))
        self._doorbell.warm_up()
        logger.info("whatsapp web process accepts callbacks", extra={"pid": os.getpid()})

    async def stop(self) -> None:
        """Finish what was accepted, then let go of everything."""
        for task in (self._watcher, self._logging):
            if task is not None:
                task.cancel()
        await self._inbox.close()
        self.receiver.log_accepted()
        self._doorbell.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _log_accepted(self) -> None:
        while True:
            await asyncio.sleep(LOG_SECONDS)
            self.receiver.log_accepted()

    async def _run_sync(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _with_fresh_connection, function)


def _with_fresh_connection(function: Callable[[], T]) -> T:
    close_old_connections()
    return function()


def _make_partitions() -> None:
    """Make the coming partitions, where possible; the default one takes what has none."""
    try:
        partitions.ensure(clock.now().date())
    except DatabaseError as error:
        logger.warning("whatsapp raw partitions not made", extra={"error": type(error).__name__})


def _conninfo() -> str:
    """Return Django's connection parameters for the driver, certificates and all."""
    parameters = connection.get_connection_params()
    # What is not text is Django's own: cursor factories, adapters.
    known = {name: value for name, value in parameters.items() if isinstance(value, str) and value}
    return make_conninfo(**{**known, "application_name": "sigma-receiver"})
