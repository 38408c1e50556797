"""A WSGI application behind ASGI: a thread makes an answer, or a piece of one, and whoever reads it
slowly holds none meanwhile.

Servers of WSGI, and a2wsgi, keep a thread until the last piece is sent.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from a2wsgi.wsgi import build_environ

from lib.requests import Message, Receive, Scope, Send, gone, headers_of
from sigma.clients import address_of
from sigma.gate import tenant_of
from sigma.heads import refused

# What is made, and sent, at a time.
PIECE_BYTES = 65_536
# Where answers are made while they are sent; whatever else is asked for is made whole.
STREAMED = re.compile(r"/media/|/api/v1/broadcasts/[^/]+/outcomes\.csv")
# Those of a process, each of which holds a connection to Meta or a page of rows: within the
# descriptors that ``sigma.heads`` sets aside. Who has kept one of them waiting for so long makes
# way where there are no more.
MOST_STREAMS, PATIENCE_SECONDS = 100, 5.0
# No tenant takes all of them from others, and nobody at one address.
MOST_OF_ONE = MOST_STREAMS // 4
END = {"type": "http.response.body", "body": b""}

# Sends an answer that is made, or that is made while it is sent.
Deliver = Callable[[Send], Awaitable[None]]
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Full(Exception):
    """Too many files are on their way, in all or to whoever asks, and none has to make way."""


class Places:
    """Those of the streams of a process, taken and given back by threads. ``owner`` is whom a
    stream counts for, ``None`` for nobody.
    """

    def __init__(self) -> None:
        self._taken, self._lock = 0, threading.Lock()
        self._of = Counter[object]()
        # Streams that wait for their readers, and since when; the longest time comes first.
        self._waiting: dict[asyncio.Timeout, tuple[float, asyncio.Task[Any] | None]] = {}

    def take(self, owner: object) -> None:
        """Take a place.

        Raises:
            Full: there is none, or the owner has enough.
        """
        with self._lock:
            has_enough = owner is not None and self._of[owner] >= MOST_OF_ONE
            if has_enough or self._taken >= MOST_STREAMS:
                raise Full
            self._taken += 1
            self._of[owner] += 1

    def give_back(self, owner: object) -> None:
        """Give one back."""
        with self._lock:
            self._taken -= 1
            self._of[owner] -= 1
            self._of += Counter()  # forgets who has none

    async def wait(self, sending: Awaitable[None]) -> bool:
        """Wait for a reader; return whether it came before the stream had to make way."""
        try:
            async with asyncio.timeout(None) as patience:
                self._waiting[patience] = time.monotonic(), asyncio.current_task()
                await sending
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(patience, None)
        # Who was told to make way does so even if the reader came at that moment.
        return patience.when() is None

    async def make_way(self) -> None:
        """End the stream that has waited longest, if places are short and it has waited long."""
        slowest = next(iter(self._waiting), None)
        if slowest is None or self._taken < MOST_STREAMS:
            return
        since, task = self._waiting[slowest]
        if task is not None and time.monotonic() - since >= PATIENCE_SECONDS:
            del self._waiting[slowest]
            slowest.reschedule(0)
            await asyncio.wait([task])


class WsgiCall:
    """One request's way through the application; its methods are for threads, one at a time. With
    ``places`` the answer is a stream, which has one of them until it is closed.
    """

    def __init__(
        self,
        application: WSGI,
        environ: dict[str, Any],
        places: Places | None = None,
        owner: object = None,
    ) -> None:
        self._application, self._environ = application, environ
        self._places, self._owner = places, owner
        self.context = contextvars.copy_context()
        self._answer: Iterable[bytes] | None = None
        self._pieces: Iterator[bytes] = iter(())
        # The beginning of the answer, what of it was made last, and whether that is the end.
        self.start: Message = {}
        self.piece, self.is_over = b"", False
        # How long a thread took for the last step.
        self.seconds = 0.0

    def begin(self) -> None:
        """Make the first piece of a stream, or the whole of everything else.

        Raises:
            Full: there is no place for a stream, and the application was not asked.
        """
        if self._places:
            self._places.take(self._owner)
        self.go_on()

    def go_on(self) -> None:
        """Make what comes next."""
        began = time.perf_counter()
        try:
            self.piece = b"".join(self._made())
        except BaseException:
            self.close()
            raise
        finally:
            self.seconds = time.perf_counter() - began

    def close(self) -> None:
        """Let go of what the answer holds."""
        if self.is_over:
            return
        self.is_over = True
        try:
            getattr(self._answer, "close", lambda: None)()
        finally:
            if self._places:
                self._places.give_back(self._owner)

    def _made(self) -> list[bytes]:
        if self._answer is None:
            self._answer = self._application(self._environ, self._begin)
            self._pieces = iter(self._answer)
        size, parts = 0, list[bytes]()
        for part in self._pieces:
            parts.append(part)
            size += len(part)
            if size >= PIECE_BYTES and self._places:
                return parts
        self.close()
        return parts

    def _begin(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        }


class Threads:
    """Serve a WSGI application in ``threads`` of its own, each of which begins with ``begin``.

    After a request of some seconds one of them does nothing for as long as ``rest`` says. What a
    stream goes on with is made by ``later``, where given: nobody is a stranger who was given one.
    """

    def __init__(
        self,
        application: WSGI,
        threads: int,
        places: Places,
        begin: Callable[[], None] | None = None,
        rest: Callable[[Scope, float], float] | None = None,
        later: Threads | None = None,
    ) -> None:
        self._application, self._places, self._rest = application, places, rest
        self._later = later or self
        self._pool = ThreadPoolExecutor(threads, "WSGI", initializer=begin)

    async def work(self, scope: Scope, receive: Receive) -> Deliver:
        """Return what sends what a request comes to, and holds no more than that. Its body has to
        be whole (:func:`with_body`).

        Raises:
            Full: there are too many streams; somebody may be slow later.
        """
        is_stream = STREAMED.match(scope["path"])
        if is_stream:
            await self._places.make_way()
        with io.BytesIO((await receive())["body"]) as body:
            environ = dict(build_environ(scope, body))  # type: ignore[arg-type]
            places, owner = (self._places, owner_of(scope)) if is_stream else (None, None)
            work = WsgiCall(self._application, environ, places, owner)
            try:
                await self._run(work, work.begin)
            finally:
                if self._rest:
                    self._let_rest(self._rest(scope, work.seconds))
        if work.is_over:
            return partial(_send_whole, work.start, work.piece)
        return partial(self._stream, work, receive)

    def close(self) -> None:
        """Forget what waits, rests above all: a process must not wait for them at its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _stream(self, work: WsgiCall, receive: Receive, send: Send) -> None:
        """Send pieces as they are made, to the end or while somebody reads them."""
        leaving, start = asyncio.ensure_future(gone(receive)), work.start
        try:
            while not (work.is_over or leaving.done()):
                if not await self._places.wait(_send_piece(start, work.piece, send)):
                    # Returned from before its end, the server closes the connection.
                    refused["file_unread"] += 1
                    return
                start = {}
                await self._later._run(work, work.go_on)
            if work.is_over:
                await _send_whole(start, work.piece, send)
        finally:
            leaving.cancel()
            if not work.is_over:
                await self._later._run(work, work.close)

    def _let_rest(self, seconds: float) -> None:
        """Let a thread rest in its turn: behind who waits by now, and nobody's answer waits."""
        with suppress(RuntimeError):  # the server ends
            self._pool.submit(time.sleep, seconds)

    async def _run(self, work: WsgiCall, step: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, work.context.run, step)


def owner_of(scope: Scope) -> object:
    """Return whom a stream counts for: the tenant of its key or link, else an address; at loopback
    that is nobody.
    """
    tenant_id = tenant_of(scope, headers_of(scope))
    if tenant_id:
        return tenant_id
    address = address_of(scope)
    return None if address is None or address.is_loopback else address


def with_body(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a whole body at once, then what the connection says."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


async def _send_whole(start: Message, piece: bytes, send: Send) -> None:
    await _send_piece(start, piece, send)
    await send(END)


async def _send_piece(start: Message, piece: bytes, send: Send) -> None:
    """Send what is made: not all at once, for a connection copies what it cannot send yet."""
    if start:
        await send(start)
    for at in range(0, len(piece), PIECE_BYTES):
        body = piece[at : at + PIECE_BYTES]
        await send({"type": "http.response.body", "body": body, "more_body": True})
