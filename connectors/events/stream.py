"""``GET /events/stream``: a tenant's events as they happen, for user interfaces (SSE).

https://html.spec.whatwg.org/multipage/server-sent-events.html. Answered in front of Django: a
stream holds no thread. Nothing is kept: after ``gap`` (and after a reconnection) ask again for what
you show.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from msgspec import DecodeError, Raw, Struct, json
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from connectors.events import outbox
from lib import clock
from lib.loops import DatabaseThreads
from lib.requests import Answer, Receive, Scope, Send, gone
from workspaces.access import (
    NotAllowed,
    NotAuthenticated,
    TenantRequired,
    WrongTenant,
    actor_of,
)
from workspaces.access import Scope as Permission
from workspaces.events import EVENT_TYPES, is_wanted
from workspaces.sessions import SessionRules

logger = logging.getLogger("sigma.whatsapp.events")

PATH = "/events/stream"
MAX_PER_TENANT = 50
HEARTBEAT_SECONDS = 15.0
# A key that was revoked ends its streams within this time.
RECHECK_SECONDS = 60.0
# For the broker's confirmation; after that the stream begins, and a gap follows.
READY_SECONDS = 2.0
# A client that reads nothing for this long is gone.
STUCK_SECONDS = 60.0
HELLO = b"retry: 3000\nevent: hello\ndata: {}\n\n"
GAP = b"event: gap\ndata: {}\n\n"
HEARTBEAT = b": still here\n\n"
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold it back
    (b"x-content-type-options", b"nosniff"),
)


# A slow stream has a bounded queue: when it is full it is emptied, and the stream says that
# something is missing (``gap``), as all do after the broker was away.
MAX_QUEUED = 1_000
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
MAY_WATCH = frozenset({Permission.EVENTS_READ, Permission.MESSAGES_READ})


class PublishedEvent(Struct):
    """An event as it was published; what is only passed on stays undecoded."""

    id: str
    type: str
    timestamp: Raw
    data: Raw


class StreamedEvent(Struct, frozen=True):
    """An event as it is sent to a watcher."""

    type: str
    text: bytes


_decoder = json.Decoder(list[PublishedEvent])


class Watcher:
    """What one stream still has to send."""

    def __init__(self, tenant_id: UUID, types: frozenset[str]) -> None:
        self.channel, self._types = outbox.channel(tenant_id), types
        self._queue: deque[StreamedEvent] = deque()
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.has_started = self.is_over = self._gap = False

    def offer(self, events: Sequence[StreamedEvent]) -> None:
        """Queue what it wants; where that is too much, remember a gap instead."""
        wanted = [event for event in events if is_wanted(event.type, self._types)]
        if len(self._queue) + len(wanted) > MAX_QUEUED:
            self.mark_gap()
        elif wanted:
            self._queue.extend(wanted)
            self._changed.set()

    def mark_gap(self) -> None:
        """Drop what is queued: the client has to ask again for what it shows."""
        self._queue.clear()
        self._gap = True
        self._changed.set()

    def end(self) -> None:
        """End the stream."""
        self.is_over = True
        self._changed.set()

    async def next(self, seconds: float) -> tuple[bool, list[StreamedEvent]]:
        """Return whether something was missed, and then what came, within some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()
        gap, events = self._gap, list(self._queue)
        self._gap = False
        self._queue.clear()
        return gap, events


class Hub:
    """All watchers of a process, with one subscription to the broker; on the event loop alone."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}
        self._redis: Redis | None = None
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    def count(self, tenant_id: UUID | None = None) -> int:
        """Return how many watch: all, or those of a tenant."""
        if tenant_id is not None:
            return len(self._watchers.get(outbox.channel(tenant_id), ()))
        return sum(map(len, self._watchers.values()))

    async def join(self, watcher: Watcher) -> None:
        """Begin to fill a watcher's queue; its ``ready`` says from when on nothing is missed."""
        channel = watcher.channel
        others = self._watchers.setdefault(channel, set())
        if any(other.ready.is_set() for other in others):
            watcher.ready.set()
        others.add(watcher)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        elif len(others) == 1 and self._pubsub is not None:
            with suppress(RedisError, OSError):  # the reader comes back and subscribes to all
                await self._pubsub.subscribe(channel)

    async def leave(self, watcher: Watcher) -> None:
        """Remove a watcher, and its tenant's channel with the last one."""
        channel = watcher.channel
        others = self._watchers.get(channel, set())
        others.discard(watcher)
        if not others:
            self._watchers.pop(channel, None)
            if self._pubsub is not None:
                with suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(channel)

    def end(self) -> None:
        """End every stream."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def close(self) -> None:
        """Close the connection to the broker."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    async def _read(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, OSError) as error:
                kind = type(error).__name__
                logger.warning("whatsapp live events interrupted", extra={"error": kind})
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        """Subscribe to the channels of all watchers and pass on what comes, until it breaks."""
        redis = Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=10
        )
        try:
            self._pubsub = pubsub = redis.pubsub()
            if self._watchers:
                await pubsub.subscribe(*self._watchers)
            while True:
                if not pubsub.subscribed:
                    await asyncio.sleep(POLL_SECONDS / 20)
                    continue
                message = await pubsub.get_message(timeout=POLL_SECONDS)
                if message is not None:
                    self._handle(message)
        finally:
            self._pubsub = None
            with suppress(RedisError, OSError):
                await redis.aclose()

    def _handle(self, message: dict[str, Any]) -> None:
        watchers = self._watchers.get(message["channel"].decode(), ())
        if message["type"] == "subscribe":
            for watcher in watchers:
                # The first time it is the beginning; later the broker was away in between.
                if watcher.has_started:
                    watcher.mark_gap()
                watcher.ready.set()
        elif message["type"] == "message" and watchers:
            events = _events(message["data"])
            for watcher in watchers:
                watcher.offer(events)


def _events(data: bytes) -> list[StreamedEvent]:
    try:
        events = _decoder.decode(data)
    except DecodeError:
        logger.warning("whatsapp live events: what was published could not be read")
        return []
    return [StreamedEvent(event.type, _encoded(event)) for event in events]


def _encoded(event: PublishedEvent) -> bytes:
    body = {"type": event.type, "timestamp": event.timestamp, "data": event.data}
    head = f"event: {event.type}\nid: {event.id}\ndata: "
    return head.encode() + json.encode(body) + b"\n\n"


class StreamRefused(Exception):
    """The stream does not begin; the HTTP status, a code and a sentence say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


AGAIN = (("retry-after", "10"),)
REFUSAL_HEADERS: Mapping[int, tuple[tuple[str, str], ...]] = {
    401: (("www-authenticate", "Bearer"),),
    405: (("allow", "GET"),),
    429: AGAIN,
    503: AGAIN,
}
REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NotAuthenticated: (401, "UNAUTHENTICATED"),
    NotAllowed: (403, "FORBIDDEN"),
    WrongTenant: (403, "WRONG_TENANT"),
    TenantRequired: (400, "TENANT_REQUIRED"),
}


class StreamCaller(NamedTuple):
    """Who watches which tenant."""

    tenant_id: UUID
    label: str


class Streams:
    """The ASGI application of all streams of a process."""

    def __init__(self) -> None:
        self._hub = Hub()
        self._threads = DatabaseThreads(2, "streams")
        self._begun = 0
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream to its end, or answer why not."""
        self._begun += 1  # also those whose key is still checked: a rush must not pass the limit
        try:
            caller = await self._admit(scope)
            watcher = Watcher(caller.tenant_id, _types(scope))
            await self._watch(watcher, scope, caller, receive, send)
        except StreamRefused as refusal:
            await _refuse(refusal, send)
        finally:
            self._begun -= 1

    def end(self) -> None:
        """End every stream and begin no other: the server is about to stop."""
        self._is_ending = True
        self._hub.end()

    async def close(self) -> None:
        """Close the connections to the broker and the database, and end the threads."""
        await self._hub.close()
        await asyncio.to_thread(self._threads.close)

    async def _watch(
        self, watcher: Watcher, scope: Scope, caller: StreamCaller, receive: Receive, send: Send
    ) -> None:
        try:
            await self._hub.join(watcher)
            if self._is_ending:
                watcher.end()
            guard = self._guard(watcher, scope, caller)
            await _first(gone(receive), self._serve(watcher, send), guard)
        finally:
            await self._hub.leave(watcher)

    async def _admit(self, scope: Scope) -> StreamCaller:
        if scope["method"] != "GET":
            raise StreamRefused(405, "METHOD_NOT_ALLOWED", "Send a GET.")
        if self._is_ending or self._begun > settings.SIGMA_STREAMS:
            raise StreamRefused(
                503, "UNAVAILABLE", "Too many streams are open here; try again later."
            )
        try:
            caller = await self._threads.run(identify, scope)
        except tuple(REFUSALS) as error:
            raise StreamRefused(*REFUSALS[type(error)], str(error)) from None
        except (DatabaseError, InterfaceError):
            raise StreamRefused(503, "UNAVAILABLE", "The database cannot be reached.") from None
        if self._hub.count(caller.tenant_id) >= MAX_PER_TENANT:
            raise StreamRefused(429, "TOO_MANY", f"A tenant has at most {MAX_PER_TENANT} streams.")
        return caller  # no other caller is counted before this one watches

    async def _serve(self, watcher: Watcher, send: Send) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(watcher.ready.wait(), READY_SECONDS)
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        watcher.has_started = True
        await _write(send, HELLO)
        while not watcher.is_over:
            gap, events = await watcher.next(HEARTBEAT_SECONDS)
            text = (GAP if gap else b"") + b"".join(event.text for event in events)
            await _write(send, text or HEARTBEAT)
        await _write(send, b"", more=False)

    async def _guard(self, watcher: Watcher, scope: Scope, caller: StreamCaller) -> None:
        """End the stream when the caller may no longer watch this tenant."""
        while not watcher.is_over:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                if await self._threads.run(identify, scope) != caller:
                    watcher.end()
            except tuple(REFUSALS):
                watcher.end()
            except (DatabaseError, InterfaceError):
                logger.warning("whatsapp stream not checked again: the database is away")
        await asyncio.sleep(STUCK_SECONDS)  # until the end is written


def identify(scope: Scope) -> StreamCaller:
    """Return who asks, by API key or session, as Django's views do. Blocks on the database.

    A browser's EventSource sends no headers of its own, so ``?tenant=`` may name the tenant.

    Raises:
        workspaces.access.NotAuthenticated: no key and no session, or not a valid key.
        workspaces.access.NotAllowed: neither events:read nor messages:read.
        workspaces.access.TenantRequired: the user must name one of several tenants.
        workspaces.access.WrongTenant: the user named one that is not theirs.
    """
    actor = actor_of(_request(scope), now=clock.now())
    if not MAY_WATCH & actor.scopes:
        raise NotAllowed("This needs the permission events:read or messages:read.")
    return StreamCaller(actor.tenant_id, actor.label)


def _request(scope: Scope) -> HttpRequest:
    request = ASGIRequest(dict(scope), BytesIO())
    query = parse_qs(scope["query_string"].decode("ascii", "replace"))
    if "tenant" in query:
        request.META.setdefault("HTTP_X_SIGMA_TENANT", query["tenant"][0])
    SessionMiddleware(_nothing).process_request(request)
    AuthenticationMiddleware(_nothing).process_request(request)
    SessionRules(_nothing).process_request(request)
    return request


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def _write(send: Send, text: bytes, *, more: bool = True) -> None:
    message = {"type": "http.response.body", "body": text, "more_body": more}
    await asyncio.wait_for(send(message), STUCK_SECONDS)


async def _first(*works: Awaitable[None]) -> None:
    """Wait for the first of several to end, and end the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        with suppress(TimeoutError):  # the client was stuck
            task.result()


def _types(scope: Scope) -> frozenset[str]:
    asked = parse_qs(scope["query_string"].decode("ascii", "replace")).get("types", [])
    names = frozenset(name for value in asked for name in value.split(",") if name)
    for name in names - EVENT_TYPES.keys():
        raise StreamRefused(400, "UNKNOWN_TYPE", f"{name[:64]!r} is not a type of event.")
    return names


async def _refuse(refusal: StreamRefused, send: Send) -> None:
    body = json.encode({"error": {"code": refusal.code, "message": refusal.message}})
    headers = (("cache-control", "no-store"), *REFUSAL_HEADERS.get(refusal.status, ()))
    await Answer(refusal.status, body, headers, kind="application/json").send(send)
