"""``GET /metrics``: what all processes counted and what stands in the database, for Prometheus.

It is answered on loopback without a token, and elsewhere, or where a proxy may stand in front, with
``Authorization: Bearer`` and ``SIGMA_METRICS_TOKEN``. Whoever may not is refused in the event loop;
all others share one answer for a moment, made by threads that serve nothing else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric

from lib import brake, heartbeat, metrics
from lib.requests import (
    Answer,
    Deliver,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    headers_of,
    is_of_proxy,
)
from sigma import health
from sigma.clients import subscriber

logger = logging.getLogger("sigma.whatsapp.metrics")

METRICS = "/metrics"
# One answer is good for so long, and so is what was read for it.
ANSWER_SECONDS, READ_SECONDS = 1.0, 5.0
# How long an answer waits for what is read, and how long each statement of it may take.
PATIENCE_SECONDS, STATEMENT_MS = 2.0, 1_000
# Up to so many rows of a queue are counted.
MOST_COUNTED = 100_000
LOCAL_HOST = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?")
UNAUTHORIZED = Answer(
    401,
    b"Ask on this host itself, or with the token of SIGMA_METRICS_TOKEN.\n",
    (("www-authenticate", "Bearer"), ("cache-control", "no-store")),
)
HEADERS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))

# Which work is stopped; the lines are those of the brakes.
LINES = ("callbacks", "sends", "events", "broadcasts")
# Each is at most MOST_COUNTED rows of a partial index, or of a small table.
QUEUES = """
SELECT 'callbacks', count(*), min(at) FROM (
    SELECT received_at AS at FROM webhook_pending LIMIT %(most)s) q
UNION ALL SELECT 'sends', count(*), min(at) FROM (
    SELECT o.due_at AS at FROM workspaces w CROSS JOIN LATERAL (
        SELECT due_at FROM outbox
        WHERE tenant_id = w.tenant_id AND workspace_id = w.id AND due_at <= now() LIMIT %(most)s
    ) o LIMIT %(most)s) q
UNION ALL SELECT 'events', count(*), min(at) FROM (
    SELECT next_attempt_at AS at FROM event_deliveries
    WHERE next_attempt_at <= clock_timestamp() LIMIT %(most)s) q
UNION ALL SELECT 'archive', count(*), min(at) FROM (
    SELECT due_at AS at FROM archive_fetches WHERE due_at <= clock_timestamp() LIMIT %(most)s) q
UNION ALL SELECT 'broadcasts', count(*), min(at) FROM (
    SELECT coalesce(started_at, scheduled_at, created_at) AS at FROM broadcasts
    WHERE ended_at IS NULL AND state NOT IN ('DRAFT', 'REFUSED')
      AND (state IN ('CHECKING', 'RUNNING')
           OR (state = 'SCHEDULED' AND scheduled_at <= clock_timestamp())) LIMIT %(most)s) q
UNION ALL SELECT 'search', coalesce(sum(messages), 0), min(at) FROM (
    SELECT cardinality(message_ids) AS messages, created_at AS at
    FROM message_words_pending LIMIT %(most)s) q
"""
WAITING = f"""
SELECT queue, pending, greatest(0, coalesce(extract(epoch FROM clock_timestamp() - oldest), 0))
FROM ({QUEUES}) AS q (queue, pending, oldest)
"""  # noqa: S608 - words of ours
LEDGER = """
SELECT coalesce(sum(processed), 0), coalesce(sum(quarantined), 0), coalesce(sum(dead), 0)
FROM webhook_ledger
"""
PAUSES = """
SELECT code::text, count(*) FROM sending_pauses
WHERE lifted_at IS NULL AND coalesce(until > clock_timestamp(), true) GROUP BY code
"""


class Metrics:
    """The answer for all who ask within a moment."""

    def __init__(self) -> None:
        self._text = ThreadPoolExecutor(1, "metrics")
        self._readings = (
            _Latest(_of_database, [metrics.DATABASE_UP.of(0)]),
            _Latest(_of_broker, [metrics.BROKER_UP.of(0)]),
        )
        self._answer: asyncio.Task[Answer] | None = None
        self._until = 0.0
        if metrics.trouble:
            extra = {"error": metrics.trouble, "folder": str(settings.SIGMA_METRICS_FOLDER)}
            logger.warning("whatsapp metrics are those of this process alone", extra=extra)

    async def work(self, scope: Scope, body: bytes, receive: Receive) -> Deliver:
        """Return what sends the answer, or a refusal."""
        if not is_allowed(scope, headers_of(scope)):
            return UNAUTHORIZED.send
        loop = asyncio.get_running_loop()
        if self._answer is None or (self._answer.done() and loop.time() >= self._until):
            self._answer = loop.create_task(self._make())
        return (await asyncio.shield(self._answer)).send

    def close(self) -> None:
        """End the threads; one that waits for the database ends when that answers."""
        self._text.shutdown(wait=False, cancel_futures=True)
        for reading in self._readings:
            reading.close()

    async def _make(self) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            read = await asyncio.gather(*(reading.get() for reading in self._readings))
            found = [metric for families in read for metric in families]
            text = await loop.run_in_executor(self._text, metrics.exposition, found)
            return Answer(200, text, HEADERS, kind=CONTENT_TYPE_PLAIN_0_0_4)
        finally:
            self._until = loop.time() + ANSWER_SECONDS


class _Latest:
    """What a function read last, in a thread of its own; ``silence`` while it takes too long."""

    def __init__(self, read: Callable[[], list[Metric]], silence: list[Metric]) -> None:
        self._read, self._silence = read, silence
        self._thread = ThreadPoolExecutor(1, "metrics-read")
        self._reading: asyncio.Future[list[Metric]] | None = None
        self._began = 0.0

    async def get(self) -> list[Metric]:
        loop = asyncio.get_running_loop()
        is_old = loop.time() - self._began >= READ_SECONDS
        if self._reading is None or (self._reading.done() and is_old):
            self._began = loop.time()
            self._reading = loop.run_in_executor(self._thread, self._read)
        await asyncio.wait((self._reading,), timeout=PATIENCE_SECONDS)
        if not self._reading.done():
            return self._silence
        if (error := self._reading.exception()) is not None:  # what was counted is shown
            logger.error("whatsapp metrics not read", exc_info=error)
            return self._silence
        return self._reading.result()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def is_allowed(scope: Scope, headers: Headers) -> bool:
    """Whether a request shows the token, or comes from this host and through no proxy."""
    token = settings.SIGMA_METRICS_TOKEN.encode()
    if token and hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + token):
        return True
    if settings.SIGMA_PROXIES or is_of_proxy(scope, headers):
        return False
    peer = subscriber((scope.get("client") or ("",))[0])
    is_here = peer is not None and peer.is_loopback
    return is_here and LOCAL_HOST.fullmatch(headers.get(b"host", b"")) is not None


def counted(door: str, send: Send) -> Send:
    """Return ``send`` that counts and times the beginning of the answer to a request."""
    began = time.perf_counter()

    async def counting(message: Message) -> None:
        if message["type"] == "http.response.start":
            metrics.REQUESTS.labels(door, f"{message['status'] // 100}xx").inc()
            metrics.REQUEST_SECONDS.labels(door).observe(time.perf_counter() - began)
        await send(message)

    return counting


def door_of(path: str) -> str:
    """Return which door a path leads to."""
    return _DOORS.get(path.split("/", 2)[1] if path.startswith("/") else "", "other")


_DOORS = {"graphql": "graphql", "api": "rest", "media": "media", "admin": "admin"}


def _of_broker() -> list[Metric]:
    return [metrics.BROKER_UP.of(health.broker_state() == "ok")]


def _of_database() -> list[Metric]:
    """Read what stands in the database. A part is left out that takes too long, or whose schema is
    older than this process.
    """
    found: list[Metric] = []
    try:
        for part in (_processes, _stopped, _queues, _ledger, _pauses):
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}")
                    found += part()
            except (
                DatabaseError,
                InterfaceError,
            ) as error:  # away, too slow, or a schema older than this process
                if not connection.is_usable():
                    return [*found, metrics.DATABASE_UP.of(0)]
                extra = {"part": part.__name__.strip("_"), "error": brake.name_of(error)}
                logger.warning("whatsapp metrics not read", extra=extra)
        return [*found, metrics.DATABASE_UP.of(1)]
    finally:
        connection.close()


def _processes() -> Iterator[Metric]:
    heard = heartbeat.heard()
    ages = dict.fromkeys(health.roles(heard), math.inf)
    ahead = dict.fromkeys(ages, 0.0)
    for one in heard:
        ages[one.role] = min(ages[one.role], one.seconds)
        if not one.is_late:
            ahead[one.role] = max(ahead[one.role], one.clock_ahead, key=abs)
    yield metrics.HEARTBEAT.of(ages)
    yield metrics.CLOCK_AHEAD.of(ahead)


def _stopped() -> Iterator[Metric]:
    stopped = brake.stopped_lines()
    yield metrics.STOPPED.of({line: line in stopped for line in dict.fromkeys((*LINES, *stopped))})


def _queues() -> Iterator[Metric]:
    rows = _rows(WAITING, {"most": MOST_COUNTED})
    yield metrics.QUEUE_PENDING.of({queue: pending for queue, pending, _ in rows})
    yield metrics.QUEUE_OLDEST.of({queue: seconds for queue, _, seconds in rows})


def _ledger() -> Iterator[Metric]:
    ((processed, quarantined, dead),) = _rows(LEDGER)
    yield metrics.LEDGER.of({"processed": processed, "quarantined": quarantined, "dead": dead})


def _pauses() -> Iterator[Metric]:
    yield metrics.PAUSES.of(dict(_rows(PAUSES)))


def _rows(statement: str, parameters: dict[str, int] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
