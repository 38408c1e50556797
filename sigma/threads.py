"""Which threads of the web process work on a request for Django, by who asks and for what, and how
one of them makes an answer, or a piece of one: whoever reads it slowly holds none meanwhile.

A stranger is whoever shows neither an API key or session that was good lately nor a link to a file.
Strangers share one thread, a bounded number of them waits for it, and whatever they do leaves the
other threads to those who are known.

Servers of WSGI, and a2wsgi, keep a thread until the last piece is sent.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from a2wsgi.wsgi import build_environ
from django.conf import settings

from lib.requests import Deliver, Message, Receive, Scope, Send, gone, headers_of
from sigma import answers
from sigma.clients import Address, address_of
from sigma.gate import asker_of
from sigma.heads import refused
from sigma.metrics import METRICS, Metrics

# Health is asked for when every other thread is busy. Anybody may ask, and as often as they like.
HEALTH, HEALTH_SECONDS = "/healthz", 0.25
# Where passwords are hashed, which takes cores for a tenth of a second: one after the other in a
# thread of their own, so that strangers who sign in hold none of the API's; beyond so many who
# wait, others come again.
HASHING = frozenset({"/admin/login/", "/admin/password_change/"})
# Nobody takes all places from others; loopback may, which is somebody who tries it out.
HASHING_THREADS, HASHES_WAITING, HASHES_PER_ADDRESS = 1, 32, 4
# Whatever else this host does comes first (nice(1)).
HASHING_NICENESS = 10
# Every thread that computes is one more that callbacks wait for.
STRANGERS_THREADS, STRANGERS_WAITING, STRANGERS_PER_ADDRESS = 1, 1_000, 40
# For how many times as long as it took the thread of strangers rests, and the one that hashes: of a
# flood of short work each has a sixth of a core in the long run, and nobody notices who comes
# alone. By the clock on the wall: where the host is busy, strangers wait; see `make attack`.
REST, LONGEST_REST_SECONDS = 5.0, 3.0
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

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Lanes:
    """All threads of a web process that serve a WSGI application."""

    def __init__(self, application: WSGI) -> None:
        threads = partial(Threads, application, places=Places())
        members, health = threads(settings.SIGMA_WEB_THREADS), threads(1)
        hashing = threads(HASHING_THREADS, begin=_step_back, rest=rest_of)
        strangers = threads(STRANGERS_THREADS, rest=rest_of, later=members)
        self._members, self._health, self._metrics = members, SharedHealth(health), Metrics()
        self._hashing = Lane(hashing, HASHES_WAITING, HASHES_PER_ADDRESS)
        self._strangers = Lane(strangers, STRANGERS_WAITING, STRANGERS_PER_ADDRESS)
        self._threads = (members, health, hashing, strangers)

    def of(self, scope: Scope, *, is_member: bool) -> Threads | Lane | SharedHealth | Metrics:
        """Return where a request is worked on."""
        if is_signing_in(scope):
            return self._hashing
        if scope["method"] in ("GET", "HEAD") and scope["path"] in (HEALTH, METRICS):
            return self._health if scope["path"] == HEALTH else self._metrics
        return self._members if is_member else self._strangers

    def close(self) -> None:
        """Drop what waits."""
        self._metrics.close()
        for threads in self._threads:
            threads.close()


def is_signing_in(scope: Scope) -> bool:
    """Whether a request makes us hash a password; such a one is a stranger's, whatever cookie it
    carries.
    """
    return scope["path"] in HASHING and scope["method"] == "POST"


def rest_of(scope: Scope, seconds: float) -> float:
    """Return how many seconds a thread of strangers rests after a request that took ``seconds``;
    none if whoever asked is known by now.
    """
    is_known = asker_of(scope, headers_of(scope)).is_known
    return 0.0 if is_known else min(REST * seconds, LONGEST_REST_SECONDS)


def _step_back() -> None:
    """Give the calling thread a lower priority, where threads have one of their own."""
    if sys.platform == "linux":
        # Sandboxes may refuse it, and a thread that cannot begin ends its pool for good.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)


def _own_host() -> bytes:
    """Return a name that Django answers to."""
    named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    return (named or ["localhost"])[0].encode()


class Lane:
    """Threads for requests that anybody may send: beyond ``most``, and beyond ``per_address``, they
    are refused. A place is that of the work, waiting or under way: whoever is slow to read the
    answer holds neither a place nor a thread.
    """

    def __init__(self, threads: Threads, most: int, per_address: int) -> None:
        self._threads, self._most, self._per_address = threads, most, per_address
        self._here = Counter[Address]()

    async def work(self, scope: Scope, body: bytes, receive: Receive) -> Deliver:
        """Do a request's work, or refuse it while too many wait."""
        address = address_of(scope)
        of_address = 0 if address and address.is_loopback else self._here[address]
        if of_address >= self._per_address or self._here.total() >= self._most:
            words = b"Too many ask at once; try again.\n"
            return answers.refusal(scope["path"], 429, words).send
        self._here[address] += 1
        try:
            return await self._threads.work(scope, body, receive)
        finally:
            self._here[address] -= 1
            self._here += Counter()  # drops addresses that have none


class SharedHealth:
    """One answer for all who ask within a moment, however many they are. The question is always
    the same, as from this host itself: no stranger decides what others are answered.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._answer: asyncio.Task[Deliver] | None = None
        self._until = 0.0

    async def work(self, scope: Scope, body: bytes, receive: Receive) -> Deliver:
        """Return what sends the answer."""
        loop = asyncio.get_running_loop()
        if self._answer is None or (self._answer.done() and loop.time() >= self._until):
            self._answer = loop.create_task(self._ask(scope, receive))
        return await asyncio.shield(self._answer)

    async def _ask(self, scope: Scope, receive: Receive) -> Deliver:
        own = {"method": "GET", "query_string": b"", "headers": [(b"host", _own_host())]}
        try:
            return await self._threads.work({**scope, **own}, b"", receive)
        finally:
            self._until = asyncio.get_running_loop().time() + HEALTH_SECONDS


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

    async def work(self, scope: Scope, body: bytes, receive: Receive) -> Deliver:
        """Return what sends what a request comes to, and holds no more than that. ``receive`` says
        from then on what becomes of the connection.

        Raises:
            Full: there are too many streams; somebody may be slow later.
        """
        is_stream = STREAMED.match(scope["path"])
        if is_stream:
            await self._places.make_way()
        with io.BytesIO(body) as file:
            environ = dict(build_environ(scope, file))  # type: ignore[arg-type]
            environ |= scope.get("sigma.environ", {})  # what was read in front of us
            places, owner = (self._places, owner_of(scope)) if is_stream else (None, None)
            work = WsgiCall(self._application, environ, places, owner)
            try:
                await self._run(work, work.go_on)
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
    asker = asker_of(scope, headers_of(scope))
    if asker.tenant_id:
        return asker.tenant_id
    address = address_of(scope)
    return None if address is None or address.is_loopback else address


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

    def go_on(self) -> None:
        """Make the next piece of a stream, or the whole of everything else.

        Raises:
            Full: there is no place for a stream, and the application was not asked.
        """
        if self._places and self._answer is None:
            self._places.take(self._owner)
        began = time.perf_counter()
        try:
            if self._answer is None:
                self._answer = self._application(self._environ, self._begin)
                self._pieces = iter(self._answer)
            size, parts = 0, list[bytes]()
            for part in self._pieces:
                parts.append(part)
                size += len(part)
                if size >= PIECE_BYTES and self._places:
                    break
            else:
                self.close()
            self.piece = b"".join(parts)
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

    def _begin(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        }


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
