"""The web process: webhook receiver and live streams in front, Django's WSGI application behind.

Django's own ASGI handler runs synchronous views one at a time; in threads of ours
(``sigma/threads.py``) they run side by side (``docs/adr/0004``). The receiver shares the process
but neither its middleware nor its threads.
"""

from __future__ import annotations

# First, because it sets Django up; what follows needs Django's apps.
from sigma.ready import IS_READY

# isort: split
import asyncio
import gc
import re
import sys
from importlib import import_module

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

from connectors.events import stream
from connectors.events.stream import Streams
from connectors.whatsapp.receiver import PATH, Webhooks
from lib import structs
from lib.heartbeat import ProcessHeartbeat
from lib.requests import (
    Budget,
    Deliver,
    Reading,
    Receive,
    Scope,
    Send,
    Unreadable,
    headers_of,
)
from sigma.answers import is_text, refusal, too_busy
from sigma.gate import Asker, Busy, Gate, asker_of
from sigma.heads import refused
from sigma.metrics import counted, door_of
from sigma.stopping import on_stop
from sigma.threads import Full, Lanes, is_signing_in
from sigma.uploads import Uploads, brings_file
from workspaces.access import last_seen_with

__all__ = ("IS_READY", "Application", "application")

# The API and the admin, without the receiver.
django_application = WSGIHandler()
# The receiver's loop waits at most this long for a thread that computes a page (Python's default is
# 5 ms). Measured by `make bench`: "callbacks p99, everybody reads".
SWITCH_SECONDS = 0.0005

# How long a body may take, and how much of bodies for Django may be in the making at once: of
# members, and of strangers, of whom one has to have room for the largest (a key's first request).
BODY_SECONDS, BODIES_BYTES, STRANGERS_BYTES = 15.0, 64_000_000, 16_000_000

# Lists of broadcasts are the only large bodies for Django.
LISTS = re.compile(r"/api/v1/broadcasts/[^/]+/recipients/?")
MULTIPART_BYTES = 10_000
# A file, or a send that comes as a form.
MAY_BRING_FILE = re.compile(r"/api/v1/(?:media|messages)/?")

# What API keys are for, and what each of them gets a share of.
API = ("/graphql", "/api/v1/", "/media/")

LENGTH = b"content-length"
FULL = (503, b"Too many files are on their way; try again.\n")
ENCODED = (415, b"Send the body in UTF-8, and without Content-Encoding.\n")


class Application:
    """Dispatch by path, and tie the receiver's life to the server's."""

    def __init__(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        # Else Django loads what answers with the first request, in one of many threads.
        import_module(settings.ROOT_URLCONF)
        structs.warm()
        # What is loaded by now stays. Callbacks leave no cycles, but pages of Django do, and
        # everybody waits while they are collected: 100 ms for 50,000 objects, 4 for these (`make
        # attack`). Those that wait for a while grow old, and must not stay for good.
        gc.collect()
        gc.freeze()
        gc.collect()  # else Python counts what is frozen among what a full one has to wait for
        gc.set_threshold(2_000, 10, 10)
        self._webhooks = Webhooks()
        self._receiver = self._webhooks.receiver
        self._streams = Streams()
        self._heartbeat = ProcessHeartbeat("web")
        self._lanes = Lanes(django_application)
        self._uploads = Uploads()
        # One tenant leaves threads to the others.
        at_once = max(1, settings.SIGMA_WEB_THREADS * 3 // 4)
        self._gate = Gate(rate=settings.SIGMA_API_RATE, at_once=at_once)
        self._largest = settings.SIGMA_BROADCAST_MAX_BYTES + MULTIPART_BYTES
        self._members_bodies = Budget(BODIES_BYTES)
        self._strangers_bodies = Budget(max(STRANGERS_BYTES, self._largest))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path.startswith(PATH) and path[len(PATH) : len(PATH) + 1] in ("", "/"):
            await self._receiver(scope, receive, send)
            return
        if path == stream.PATH and scope["type"] == "http":
            await self._streams(scope, receive, send)
            return
        if scope["type"] == "http":
            send = counted(door_of(path), send)
            deliver = await self._work(scope, receive)
            await deliver(send)
        else:  # a WebSocket, which nothing of ours speaks
            await send({"type": "websocket.close", "code": 1000})

    async def _work(self, scope: Scope, receive: Receive) -> Deliver:
        """Hand over a request whose body is there: a slow caller must not hold a thread. One to
        the API waits for its key's turn.
        """
        path, headers = scope["path"], headers_of(scope)
        is_encoded = headers.get(b"content-encoding", b"identity") != b"identity"
        if is_encoded or not is_text(headers.get(b"content-type", b"")):
            return refusal(path, *ENCODED).send
        asker = asker_of(scope, headers)
        is_member = asker.is_known and not is_signing_in(scope)
        budget = self._members_bodies if is_member else self._strangers_bodies
        limit = self._largest if LISTS.fullmatch(path) else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        with Reading(budget, limit, BODY_SECONDS) as reading:
            try:
                scope, body = await self._read(reading, asker, scope, receive)
                request = scope, body, receive
                if not path.startswith(API):
                    return await self._lanes.of(scope, is_member=is_member).work(*request)
                async with self._gate.admitted(asker):
                    # The first of many with a key, before it was their turn, has shown that it
                    # is good.
                    is_member = is_member or last_seen_with(asker.key) is not None
                    return await self._lanes.of(scope, is_member=is_member).work(*request)
            except Unreadable as error:
                return refusal(path, error.status, f"{error.words}\n".encode()).send
            except Full:
                refused["files_full"] += 1
                return refusal(path, *FULL).send
            except Busy as busy:
                return too_busy(path, busy.seconds).send

    async def _read(
        self, reading: Reading, asker: Asker, scope: Scope, receive: Receive
    ) -> tuple[Scope, bytes]:
        """Return a request and its body; a file is not read into memory, but kept on the way."""
        headers = headers_of(scope)
        if MAY_BRING_FILE.fullmatch(scope["path"]) and brings_file(scope, headers):
            return await self._uploads.read(scope, headers, receive, known=asker.is_known), b""
        body = reading.begin(headers, receive)
        if body is None:
            body = await reading.rest()
        if b"transfer-encoding" in headers:
            scope = _with_length(scope, len(body))
        return scope, body

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                on_stop(self._streams.end)
                await self._webhooks.start()
                self._heartbeat.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self._heartbeat.stop)
                await self._streams.close()
                await self._webhooks.stop()
                await asyncio.to_thread(self._uploads.close)
                self._lanes.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _with_length(scope: Scope, length: int) -> Scope:
    """Return the scope in WSGI's terms, which know no chunks: a body has a length."""
    own = [pair for pair in scope["headers"] if pair[0] not in (b"transfer-encoding", LENGTH)]
    return {**scope, "headers": [*own, (LENGTH, str(length).encode())]}


application = Application()
