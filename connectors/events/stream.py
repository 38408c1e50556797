"""``GET /events/stream``: a tenant's events as they happen, for user interfaces (SSE).

https://html.spec.whatwg.org/multipage/server-sent-events.html. Answered in front of Django: a
stream holds no thread. Nothing is kept: after ``gap`` (and after a reconnection) ask again for what
you show.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import NamedTuple
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, InterfaceError, close_old_connections, connections
from django.http import HttpRequest, HttpResponse
from msgspec import json

from connectors.events.hub import Hub, Watcher
from lib import clock
from lib.requests import Receive, Scope, Send, gone
from workspaces.access import NotAllowed, NotAuthenticated, TenantRequired, actor_of
from workspaces.access import Scope as Permission
from workspaces.event_types import EVENT_TYPES
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


MAY_WATCH = frozenset({Permission.EVENTS_READ, Permission.MESSAGES_READ})


class StreamRefused(Exception):
    """The stream does not begin; the HTTP status, a code and a sentence say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


REFUSALS: dict[type[Exception], tuple[int, str]] = {
    NotAuthenticated: (401, "UNAUTHENTICATED"),
    NotAllowed: (403, "FORBIDDEN"),
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
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="streams")
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
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, connections.close_all)
        self._threads.shutdown(wait=False, cancel_futures=True)

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
            caller = await self._identify(scope)
        except tuple(REFUSALS) as error:
            raise StreamRefused(*REFUSALS[type(error)], str(error)) from None
        except (DatabaseError, InterfaceError):
            raise StreamRefused(503, "UNAVAILABLE", "The database cannot be reached.") from None
        if self._hub.count(caller.tenant_id) >= MAX_PER_TENANT:
            raise StreamRefused(429, "TOO_MANY", f"A tenant has at most {MAX_PER_TENANT} streams.")
        return caller  # no other caller is counted before this one watches

    async def _identify(self, scope: Scope) -> StreamCaller:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(identify, scope))

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
                if await self._identify(scope) != caller:
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
    """
    close_old_connections()
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
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers += _more_headers(refusal.status)
    start = {"type": "http.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _more_headers(status: int) -> Iterable[tuple[bytes, bytes]]:
    return {
        401: [(b"www-authenticate", b"Bearer")],
        405: [(b"allow", b"GET")],
        429: [(b"retry-after", b"10")],
        503: [(b"retry-after", b"10")],
    }.get(status, [])
