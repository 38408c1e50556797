"""The hot path: an ASGI application that answers Meta's callbacks in front of Django.

A POST is verified over its raw bytes, sealed, committed and only then answered with 200. Nothing of
the body is parsed before that. Bad signatures and unknown tenants get one and the same answer.
Whose callback it is, and with which secrets, is known in memory, fresh within a second, and looked
up again before a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, connections
from psycopg.conninfo import make_conninfo

from connectors.whatsapp import retention
from connectors.whatsapp.inbox import Inbox, InboxFull, InboxUnavailable, VerifiedCallback
from connectors.whatsapp.processing import WAKE_UP
from connectors.whatsapp.store import PostgresStore
from connectors.whatsapp.wire import signature
from lib import clock, metrics
from lib.requests import (
    Answer,
    BodyIncomplete,
    BodyLate,
    BodyTooLarge,
    Budget,
    NoRoom,
    Reading,
    Receive,
    Scope,
    Send,
    Unreadable,
    headers_of,
)
from lib.wakeups import AsyncWakeUp
from workspaces import directory
from workspaces.directory import Directory, Route

logger = logging.getLogger("sigma.whatsapp.webhooks")
PATH = "/webhooks/whatsapp"
RETRY_AFTER = (("retry-after", "2"),)
# Meta's challenge is a short number or word; what is echoed must not be somebody's page.
MAX_CHALLENGE = 256
# How long a body may take that did not come with its headers.
BODY_SECONDS = 10.0
# Between two log lines on what was accepted.
LOG_SECONDS = 60.0
OK = Answer(200)
FORBIDDEN = Answer(403, b"Forbidden\n")
UNAUTHORIZED = Answer(401, b"Unauthorized\n")
NOT_FOUND = Answer(404, b"Not Found\n")
METHOD_NOT_ALLOWED = Answer(405, b"Method Not Allowed\n", (("allow", "GET, POST"),))
TOO_LARGE = Answer(413, b"The body is larger than a callback may be.\n", (("connection", "close"),))
ENCODED = Answer(415, b"Send the body without Content-Encoding.\n", (("connection", "close"),))
FULL = Answer(503, b"Too many callbacks are waiting; try again.\n", RETRY_AFTER)
UNAVAILABLE = Answer(503, b"The callback could not be stored; try again.\n", RETRY_AFTER)
# Bodies of whose refusal more is said here than of any body's, and the others.
UNREADABLE: dict[type[Unreadable], Answer] = {BodyTooLarge: TOO_LARGE, NoRoom: FULL}
UNREADABLE |= {
    kind: Answer(kind.status, f"{kind.words}\n".encode(), (("connection", "close"),))
    for kind in (BodyIncomplete, BodyLate)
}
REASONS = {
    FORBIDDEN: "verify_token",
    UNAUTHORIZED: "signature",
    UNREADABLE[BodyLate]: "late",
    UNREADABLE[BodyIncomplete]: "incomplete",
    NOT_FOUND: "path",
    METHOD_NOT_ALLOWED: "method",
    TOO_LARGE: "too_large",
    ENCODED: "encoded",
    FULL: "full",
    UNAVAILABLE: "not_stored",
}
# Looked up once: somebody who floods us with bad requests must pay more for each than we do.
REFUSALS = {answer: metrics.REFUSED.labels(reason) for answer, reason in REASONS.items()}
POLL_SECONDS = 1.0
# A stranger who hammers us with bad signatures must not become a load on the database.
RECHECK_SECONDS = 0.5

# Stands in for unknown tenants, so that they take as long to refuse as wrong signatures.
DECOY = Route(UUID(int=0), "", (os.urandom(32),), (os.urandom(32),))
NEVER = datetime.max.replace(tzinfo=UTC)
T = TypeVar("T")
RunSync = Callable[[Callable[[], T]], Awaitable[T]]


class Receiver:
    """Answer ``/webhooks/whatsapp`` (shared apps) and ``/webhooks/whatsapp/<slug or UUID>``."""

    def __init__(self, *, routes: Routes, inbox: Inbox, budget: Budget, max_body: int) -> None:
        self._routes, self._inbox, self._budget, self._max_body = routes, inbox, budget, max_body
        self._accepted: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request (ASGI)."""
        segment, method = scope["path"][len(PATH) :].strip("/"), scope["method"]
        try:
            if "/" in segment:
                answer = NOT_FOUND
            elif method == "POST":
                answer = await self._accept(segment, scope, receive)
            elif method == "GET":
                answer = await self._verify_url(segment, scope)
            else:
                answer = METHOD_NOT_ALLOWED
        except DirectoryUnavailable:
            answer = UNAVAILABLE
        if answer is not OK and answer in REFUSALS:
            REFUSALS[answer].inc()
        await answer.send(send)

    async def _verify_url(self, segment: str, scope: Scope) -> Answer:
        """Echo the challenge to whoever knows the verify token.

        Rule: Meta, "Create a webhook endpoint", verification requests.
        """
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        challenge = query.get("hub.challenge", "")
        wanted = query.get("hub.mode") == "subscribe" and _is_echoable(challenge)
        route = await self._routes.find(segment, lambda r: r.accepts_verify_token(token))
        if route is None or not wanted:
            logger.warning(
                "whatsapp webhook verification refused", extra={"tenant": _shown(segment)}
            )
            return FORBIDDEN
        logger.info("whatsapp webhook verified", extra={"tenant": route.slug or "(shared app)"})
        return Answer(200, challenge.encode(), (("x-content-type-options", "nosniff"),))

    async def _accept(self, segment: str, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return ENCODED
        try:
            # Before the body: whoever has no signature gets none of our memory.
            digest = signature.digest_in(headers.get(b"x-hub-signature-256"))
            with Reading(self._budget, self._max_body, BODY_SECONDS) as reading:
                whole = reading.begin(headers, receive)
                body = await reading.rest() if whole is None else whole
                route = await self._routes.find(segment, lambda r: self._is_signed(body, digest, r))
        except signature.InvalidSignature:
            route = None
        except Unreadable as error:
            logger.warning(
                "whatsapp callback not read",
                extra={"tenant": _shown(segment), "error": type(error).__name__},
            )
            return UNREADABLE[type(error)]
        if route is None:
            logger.warning(
                "WhatsApp webhook signature validation failed", extra={"tenant": _shown(segment)}
            )
            return UNAUTHORIZED
        return await self._store(route, VerifiedCallback(route.tenant_id, body, digest))

    def _is_signed(self, body: bytes, digest: bytes, route: Route) -> bool:
        # To refuse takes as long for a tenant without a secret, for one who rotates theirs, and
        # for one who does not exist.
        least = self._routes.most_secrets
        return signature.fits(body, digest, route.app_secrets or DECOY.app_secrets, least=least)

    def log_accepted(self) -> None:
        """Write a line for each tenant that had callbacks accepted since the last time."""
        accepted, self._accepted = self._accepted, Counter()
        for slug, count in accepted.items():
            logger.info(
                "whatsapp callbacks accepted",
                extra={"tenant": slug or "(shared app)", "callbacks": count},
            )

    async def _store(self, route: Route, received: VerifiedCallback) -> Answer:
        try:
            await self._inbox.store(received)
        except InboxFull:
            return FULL
        except InboxUnavailable:
            return UNAVAILABLE
        self._accepted[route.slug] += 1
        return OK


def _is_echoable(challenge: str) -> bool:
    return 0 < len(challenge) <= MAX_CHALLENGE and challenge.isascii() and challenge.isprintable()


def _shown(segment: str) -> str:
    """Return the tenant as it stood in the URL, fit for a log line."""
    return "".join(c if c.isalnum() or c in "-_" else "?" for c in segment[:64]) or "(shared app)"


class DirectoryUnavailable(Exception):
    """The tenants are not known yet: the database has been away since the process started."""


class Routes:
    """Keep the directory current; ``run_sync`` runs a function that may use the database in a
    thread.
    """

    def __init__(self, *, run_sync: RunSync[Directory | None]) -> None:
        self._run_sync = run_sync
        # As loaded; and without what has expired since.
        self._directory: Directory | None = None
        self._live: Directory | None = None
        self._next_expiry = NEVER
        # App secrets of the tenant who has most of them.
        self.most_secrets = 1
        self._checked_at = 0.0
        self._lock = asyncio.Lock()

    async def find(self, segment: str, accepts: Callable[[Route], bool]) -> Route | None:
        """Return the route of a URL segment if ``accepts`` agrees, else ``None``.

        Before refusing, look once more whether the directory has changed: a secret that was rotated
        a moment ago counts.

        Raises:
            DirectoryUnavailable: nothing is known, so nothing can be judged.
        """
        seen = self._directory
        route = self._lookup(segment)
        if accepts(route):
            return route
        await self._recheck()
        if self._directory is None:
            raise DirectoryUnavailable
        if self._directory is seen:
            return None
        route = self._lookup(segment)
        return route if accepts(route) else None

    async def watch(self) -> None:
        """Refresh for as long as the process lives."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # whatever it was, the next round tries again
                logger.warning(
                    "whatsapp tenant directory not refreshed", extra={"error": type(error).__name__}
                )
            await asyncio.sleep(POLL_SECONDS)

    async def refresh(self) -> None:
        """Load the directory again if it has changed."""
        async with self._lock:
            await self._load()

    def _lookup(self, segment: str) -> Route:
        if clock.now() >= self._next_expiry and self._directory is not None:
            self._show(self._directory.at(clock.now()))
        return (self._live and self._live.find(segment)) or DECOY

    async def _recheck(self) -> None:
        """Refresh, unless that was done a moment ago: by whoever we waited for, for instance."""
        with suppress(Exception):  # the watcher logs it; the answer here is a refusal
            async with self._lock:
                if time.monotonic() - self._checked_at >= RECHECK_SECONDS:
                    await self._load()

    async def _load(self) -> None:
        try:
            found = await self._run_sync(self._load_if_changed)
        finally:  # a database that is away is not asked by every stranger either
            self._checked_at = time.monotonic()
        if found is not None:
            self._directory = found
            self._show(found)

    def _show(self, live: Directory) -> None:
        self._live = live
        everybody = (live.installation, *live.routes.values())
        self.most_secrets = max(1, *(len(route.app_secrets) for route in everybody))
        self._next_expiry = live.next_expiry or NEVER

    def _load_if_changed(self) -> Directory | None:
        now, known = clock.now(), self._directory
        expired = known is not None and known.next_expiry is not None and known.next_expiry <= now
        if known is not None and not expired and directory.current_version() == known.version:
            return None
        return directory.load(now)


class Webhooks:
    """The receiver with all it needs: one per web process, from ASGI's start-up to its shutdown."""

    def __init__(self) -> None:
        # Tenants and keys are read through Django in one thread, away from the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._worker = AsyncWakeUp(WAKE_UP)
        self._routes = Routes(run_sync=self._run_sync)
        self._inbox = Inbox(
            PostgresStore(
                conninfo=_conninfo(), run_sync=self._run_sync, prepares=not settings.SIGMA_PGBOUNCER
            ),
            on_commit=self._worker.notify,
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
        self._worker.warm_up()
        logger.info("whatsapp web process accepts callbacks", extra={"pid": os.getpid()})

    async def stop(self) -> None:
        """Finish what was accepted, then close everything."""
        for task in (self._watcher, self._logging):
            if task is not None:
                task.cancel()
        await self._inbox.close()
        self.receiver.log_accepted()
        self._worker.close()
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
    connection.ensure_connection()  # and with it, the clock is known
    return function()


def _make_partitions() -> None:
    """Make the coming partitions, where possible; the default one takes what has none."""
    try:
        retention.ensure_partitions(clock.now().date())
    except DatabaseError as error:
        logger.warning("whatsapp raw partitions not made", extra={"error": type(error).__name__})


def _conninfo() -> str:
    """Return Django's connection parameters for the driver, certificates and all."""
    parameters = connection.get_connection_params()
    # What is not text is Django's own: cursor factories, adapters.
    known = {name: value for name, value in parameters.items() if isinstance(value, str) and value}
    return make_conninfo(**{**known, "application_name": "sigma-receiver"})
