"""The sender service: an ASGI application with four routes over the one way to send.

``POST /send`` queues a message as GraphQL and REST do, then waits a while for its outcome. Waiting
costs no thread, and whoever hangs up loses nothing: what was queued will be sent.

It is plain ASGI: what a framework would bring (routes, answers, CORS) is less than what it would
have to be taught (bodies of bounded size and time, 204 for every preflight, one shape of errors).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from uuid import UUID

from django.conf import settings
from msgspec import json

from connectors.sender import accounts, callers, messages, outcomes
from connectors.sender.accounts import SendingAccount
from connectors.sender.callers import ApiCaller
from connectors.sender.errors import HttpHeaders, JsonAnswer, ServiceError, unavailable
from connectors.sender.messages import TextMessage
from connectors.sender.outcomes import Asked, DeliveryStatus, OutcomePoller
from lib import clock, errorids
from lib.brake import DATABASE_AWAY
from lib.loops import DatabaseThreads
from lib.requests import (
    Answer,
    BodyTooLarge,
    Budget,
    Headers,
    Reading,
    Receive,
    Scope,
    Send,
    Unreadable,
    headers_of,
)

logger = logging.getLogger("sigma.whatsapp.sender")

PATHS = frozenset({"health", "send", "status", "messages"})
THREADS, HEALTH_THREADS = 8, 2
# Calls at once in one process; more than may wait, so that some can still be told to come again.
MOST_CALLS = 6_000
# A text has at most 4,096 characters; escaped, each is up to 12 bytes.
BODY_BYTES, BODY_SECONDS, ALL_BODIES_BYTES = 64_000, 10.0, 16_000_000
# How long the log wants to hear of a message; what takes longer waits for a pause or a limit.
LOG_SECONDS, LOG_PAUSE_SECONDS = 600.0, 1.0

OF_JSON: HttpHeaders = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
CLOSE: HttpHeaders = (("connection", "close"),)
AWAY = "The database cannot be reached, or took too long; try again."

# What pages of the origins that may call can send and read (CORS). No cookies are involved,
# so credentials are never allowed; a page of another origin gets no header, and its browser keeps
# the answer from it. https://fetch.spec.whatwg.org/#http-cors-protocol
REQUEST_HEADERS = "authorization, content-type, idempotency-key, prefer, x-api-key"
RESPONSE_HEADERS = "retry-after, idempotency-replayed"
# A browser asks again after this many seconds; no browser waits longer than a day.
PREFLIGHT_SECONDS = "600"


class Service:
    """Everything that serves, for one process."""

    def __init__(self) -> None:
        self._threads = DatabaseThreads(THREADS, "sender")
        # Health is asked for when every other thread is busy.
        self._health_threads = DatabaseThreads(HEALTH_THREADS, "health")
        # Those who wait for an outcome are not held up by those who come.
        self._outcomes_thread = DatabaseThreads(1, "outcomes")
        self._outcomes = OutcomePoller(self._find)
        # The log is in no hurry: what waits for long is not asked about all the time.
        self._log_outcomes = OutcomePoller(self._find, pause=LOG_PAUSE_SECONDS)
        self._logging: set[asyncio.Task[None]] = set()
        self._bodies, self._calls = Budget(ALL_BODIES_BYTES), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (ASGI)."""
        headers = headers_of(scope)
        self._calls += 1
        try:
            answer = await self._answer(scope, headers, receive)
        except ServiceError as error:
            answer = error.answer()
        except DATABASE_AWAY:
            answer = unavailable(AWAY).answer()
        except Exception as error:  # of what goes wrong on our side only the log has details
            hidden = errorids.hide(logger, "whatsapp sender request", error)
            answer = ServiceError(500, "INTERNAL", hidden).answer()
        finally:
            self._calls -= 1
        text = b"" if answer.document is None else json.encode(answer.document)
        fields = (*(OF_JSON if text else ()), *answer.headers, *_cors_headers(headers))
        await Answer(answer.status, text, fields, kind="application/json").send(send)

    async def check(self, address: str | None) -> None:
        """Make sure that what was configured may be served at an address (``None``: not known).

        Raises:
            callers.UnsafeToStart: calls without a key may not.
        """
        await self._threads.run(callers.check, address)

    def end(self) -> None:
        """End every wait for an outcome: the server is about to stop."""
        self._outcomes.end()
        self._log_outcomes.end()

    def close(self) -> None:
        """End the threads; blocks until they have finished what they do."""
        for threads in (self._threads, self._outcomes_thread, self._health_threads):
            threads.close()

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> JsonAnswer:
        name, _, rest = scope["path"].strip("/").partition("/")
        if name not in PATHS or bool(rest) != (name == "messages"):
            raise ServiceError(404, "NOT_FOUND", "There is nothing at this path.")
        methods = ("POST",) if name == "send" else ("GET", "HEAD")
        allow = ", ".join((*methods, "OPTIONS"))
        if scope["method"] == "OPTIONS":
            return JsonAnswer(204, None, (("allow", allow), *_preflight_headers(headers, allow)))
        if scope["method"] not in methods:
            message = f"Send a {methods[0]} to /{name}."
            raise ServiceError(405, "METHOD_NOT_ALLOWED", message, headers=(("allow", allow),))
        if self._calls > MOST_CALLS:
            raise unavailable("Too many call at once; try again.")
        if name == "health":
            return await self._health(headers)
        if name == "send":
            return await self._send(headers, receive)
        if name == "status":
            return JsonAnswer(200, (await self._threads.run(_account, headers)).status())
        return JsonAnswer(200, await self._threads.run(_message, headers, rest))

    async def _health(self, headers: Headers) -> JsonAnswer:
        try:
            if callers.is_anonymous(headers):
                await self._health_threads.run(accounts.ask_database)
                return JsonAnswer(200, {"status": "healthy", "connected": True, "phone": None})
            account = await self._health_threads.run(_account, headers)
        except DATABASE_AWAY:
            return JsonAnswer(503, accounts.unhealthy(AWAY))
        return JsonAnswer(503 if account.reason else 200, account.health())

    async def _send(self, headers: Headers, receive: Receive) -> JsonAnswer:
        caller = await self._threads.run(callers.may_send, headers)
        text = messages.text_in(await self._body(headers, receive))
        queued, status = await self._threads.run(
            messages.queue, caller, text, idempotency_key=_idempotency_key(headers)
        )
        most: float = settings.SIGMA_SENDER_WAIT_SECONDS
        seconds = messages.seconds_to_wait(headers.get(b"prefer", b""), most)
        key = caller.tenant_id, queued.message_id
        status = await self._outcomes.wait(key, status, seconds=seconds)
        if not queued.is_repeat:
            logging_it = asyncio.create_task(self._log(caller, text, queued.message_id, status))
            self._logging.add(logging_it)
            logging_it.add_done_callback(self._logging.discard)
        replayed = (("idempotency-replayed", "true"),) if queued.is_repeat else ()
        failure = outcomes.failure_of(status, queued.message_id)
        if failure is not None:
            answer = failure.answer()
            return answer._replace(headers=answer.headers + replayed)
        document = {"success": True, "message_id": str(queued.message_id)}
        if status.is_final:
            return JsonAnswer(200, document, replayed)
        return JsonAnswer(202, {**document, "status": status.status}, replayed)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        if headers.get(b"content-encoding", b"identity") != b"identity":
            message = "Send the body without Content-Encoding."
            raise ServiceError(415, "BAD_REQUEST", message, headers=CLOSE)
        with Reading(self._bodies, BODY_BYTES, BODY_SECONDS) as reading:
            try:
                whole = reading.begin(headers, receive)
                return await reading.rest() if whole is None else whole
            except BodyTooLarge as error:
                message = f"The body is larger than {BODY_BYTES:,} bytes."
                raise ServiceError(error.status, "BAD_REQUEST", message, headers=CLOSE) from None
            except Unreadable as error:
                code = "UNAVAILABLE" if error.status == 503 else "BAD_REQUEST"
                status, words = error.status, error.words
                raise ServiceError(status, code, words, retryable=True, headers=CLOSE) from None

    async def _find(self, keys: Collection[Asked]) -> dict[Asked, DeliveryStatus]:
        return await self._outcomes_thread.run(outcomes.find, keys)

    async def _log(
        self, caller: ApiCaller, text: TextMessage, message_id: UUID, status: DeliveryStatus
    ) -> None:
        """Log what became of a message: now, or once it is known."""
        key = caller.tenant_id, message_id
        status = await self._log_outcomes.wait(key, status, seconds=LOG_SECONDS)
        outcomes.log(
            status, message_id=message_id, workspace_id=caller.workspace_id, phone=text.phone
        )


def _account(headers: Headers) -> SendingAccount:
    return accounts.look(callers.may_look(headers), now=clock.now())


def _message(headers: Headers, given_id: str) -> dict[str, object]:
    return messages.describe(callers.may_look(headers), given_id)


def _idempotency_key(headers: Headers) -> str | None:
    given = headers.get(b"idempotency-key")
    return None if given is None else given.decode("latin-1").strip()


def _cors_headers(headers: Headers) -> HttpHeaders:
    """Return what every answer says to a browser."""
    if not settings.SIGMA_SENDER_ORIGINS:
        return ()
    if not callers.has_known_origin(headers):
        return (("vary", "Origin"),)
    return (
        ("vary", "Origin"),
        ("access-control-allow-origin", headers[b"origin"].decode("latin-1")),
        ("access-control-expose-headers", RESPONSE_HEADERS),
    )


def _preflight_headers(headers: Headers, methods: str) -> HttpHeaders:
    """Return what an answer to OPTIONS says beside that, for a route with these methods."""
    if not callers.has_known_origin(headers):
        return ()
    return (
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", REQUEST_HEADERS),
        ("access-control-max-age", PREFLIGHT_SECONDS),
    )
