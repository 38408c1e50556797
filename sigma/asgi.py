"""The web process: webhook receiver and live streams in front, Django's WSGI application behind.

Django's own ASGI handler runs synchronous views one at a time; in ``sigma.threads`` they run
side by side (``docs/adr/0004``). The receiver shares the process but neither its middleware nor
its threads.
"""

from __future__ import annotations

# First, because it sets Django up; what follows needs Django's apps.
from sigma.wsgi import application as django_application

# isort: split
import asyncio
import gc
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from django.conf import settings

from connectors.events import stream
from connectors.events.stream import Streams
from connectors.whatsapp.receiver import PATH, Webhooks
from lib import structs
from lib.heartbeat import Heartbeat
from lib.requests import (
    Answer,
    BodyIncomplete,
    BodyLate,
    BodyTooLarge,
    Budget,
    Headers,
    Message,
    NoRoom,
    Reading,
    Receive,
    Scope,
    Send,
    Unreadable,
    headers_of,
)
from sigma import jsonerrors
from sigma.clients import Address, address_of
from sigma.gate import Busy, Gate, tenant_of
from sigma.heads import refused
from sigma.stopping import on_stop
from sigma.threads import Deliver, Full, Places, Threads
from workspaces.sessions import was_good

# The receiver's loop waits at most this long for a thread that computes a page (Python's default is
# 5 ms). Measured by `make bench`: "callbacks p99, everybody reads".
SWITCH_SECONDS = 0.0005

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
# Who shows neither a key or session that was good lately nor a link to a file is served in a thread
# for all of them: every thread that computes is one more that callbacks wait for.
STRANGERS_THREADS, STRANGERS_WAITING, STRANGERS_PER_ADDRESS = 1, 1_000, 40
# And for how many times as long as it took such a thread rests, as the one that hashes does: of a
# flood of short work each has a sixth of a core in the long run, and nobody notices who comes
# alone. By the clock on the wall: where the host is busy, strangers wait; see `make attack`.
REST, LONGEST_REST_SECONDS = 5.0, 3.0
# Looked for in the receiver's loop, where a parser of cookies would let strangers spend its time.
SESSION = re.compile(
    rb"(?:^|;) *" + settings.SESSION_COOKIE_NAME.encode() + rb"=([a-z0-9]{32})(?:;|$)"
)
# How long a body may take, and how much of bodies for Django may be in the making at once: of
# members, and of strangers, of whom one has to have room for the largest (a key's first request).
BODY_SECONDS, BODIES_BYTES, STRANGERS_BYTES = 15.0, 64_000_000, 16_000_000

# Lists of broadcasts are the only large bodies for Django.
LISTS = re.compile(r"/api/v1/broadcasts/[^/]+/recipients/?")
MULTIPART_BYTES = 10_000

# What API keys are for, and what each of them gets a share of.
API = ("/graphql", "/api/v1/", "/media/")

CLOSE = (("connection", "close"),)
# After how many seconds to ask again.
AGAIN = {429: "5", 503: "2"}
LENGTH = b"content-length"
UNREADABLE: dict[type[Unreadable], tuple[int, bytes]] = {
    BodyTooLarge: (413, b"The body is too large.\n"),
    BodyIncomplete: (400, b"The body ended too early.\n"),
    BodyLate: (408, b"The body did not arrive in time.\n"),
    NoRoom: (503, b"Too much is being read; try again.\n"),
}
FULL = (503, b"Too many files are on their way; try again.\n")
ENCODED = (415, b"Send the body in UTF-8, and without Content-Encoding.\n")


class Lane:
    """Threads for requests that anybody may send: beyond ``most``, and beyond ``per_address``, who
    comes is refused. A place is that of the work, waiting or under way: whoever is slow to read the
    answer holds neither a place nor a thread.
    """

    def __init__(self, threads: Threads, most: int, per_address: int) -> None:
        self._threads, self._most, self._per_address = threads, most, per_address
        self._here = Counter[Address]()

    async def work(self, scope: Scope, receive: Receive) -> Deliver:
        """Do a request's work, or refuse it while too many wait."""
        address = address_of(scope)
        of_address = 0 if address and address.is_loopback else self._here[address]
        if of_address >= self._per_address or self._here.total() >= self._most:
            return _refusal(scope, 429, b"Too many ask at once; try again.\n").send
        self._here[address] += 1
        try:
            return await self._threads.work(scope, receive)
        finally:
            self._here[address] -= 1
            self._here += Counter()  # forgets who has none


class Health:
    """One answer for all who ask within a moment, however many they are. The question is always
    the same, as from this host itself: no stranger decides what others are told.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._answer: asyncio.Task[Deliver] | None = None
        self._until = 0.0

    async def work(self, scope: Scope, receive: Receive) -> Deliver:
        """Return what sends the answer."""
        loop = asyncio.get_running_loop()
        if self._answer is None or (self._answer.done() and loop.time() >= self._until):
            self._answer = loop.create_task(self._ask(scope, receive))
        return await asyncio.shield(self._answer)

    async def _ask(self, scope: Scope, receive: Receive) -> Deliver:
        question = {
            **scope, "method": "GET", "query_string": b"", "headers": [(b"host", _own_host())],
        }  # fmt: skip
        try:
            return await self._threads.work(question, _replay(b"", receive))
        finally:
            self._until = asyncio.get_running_loop().time() + HEALTH_SECONDS


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
        self._heartbeat = Heartbeat("web")
        places = Places()
        self._django = _threaded(settings.SIGMA_WEB_THREADS, places)
        health = _threaded(1, places)
        self._health = Health(health)
        hashing = _threaded(HASHING_THREADS, places, _step_back, _rest)
        self._hashing = Lane(hashing, HASHES_WAITING, HASHES_PER_ADDRESS)
        strangers = _threaded(STRANGERS_THREADS, places, rest=_rest, later=self._django)
        self._strangers = Lane(strangers, STRANGERS_WAITING, STRANGERS_PER_ADDRESS)
        self._all_threads = (self._django, health, hashing, strangers)
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
        if is_encoded or not jsonerrors.is_text(headers.get(b"content-type", b"")):
            return _refusal(scope, *ENCODED).send
        # Who signs in is nobody yet, whatever cookie comes along.
        is_signing_in = path in HASHING and scope["method"] == "POST"
        is_member = not is_signing_in and _is_known(scope, headers)
        budget = self._members_bodies if is_member else self._strangers_bodies
        limit = self._largest if LISTS.fullmatch(path) else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        with Reading(budget, limit, BODY_SECONDS) as reading:
            try:
                body = reading.begin(headers, receive)
                if body is None:
                    body = await reading.rest()
                request = _for_wsgi(scope, headers, body), _replay(body, receive)
                if is_signing_in:
                    return await self._hashing.work(*request)
                if not path.startswith(API):
                    return await self._lane_of(scope, is_member).work(*request)
                async with self._gate.admitted(scope, headers):
                    # The first of many with a key, before it was their turn, has shown that it
                    # is good.
                    is_member = is_member or _is_known(scope, headers)
                    return await self._lane_of(scope, is_member).work(*request)
            except Unreadable as error:
                return _refusal(scope, *UNREADABLE[type(error)]).send
            except Full:
                refused["files_full"] += 1
                return _refusal(scope, *FULL).send
            except Busy as busy:
                again = (("retry-after", str(busy.seconds)), ("cache-control", "no-store"))
                document = jsonerrors.body_of(path, 429) or b""
                return Answer(429, document, again, kind=jsonerrors.KIND).send

    def _lane_of(self, scope: Scope, is_member: bool) -> Threads | Lane | Health:
        """Return where a request is worked on that is not to sign in."""
        if scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD"):
            return self._health
        return self._django if is_member else self._strangers

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
                for threads in self._all_threads:
                    threads.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _is_known(scope: Scope, headers: Headers) -> bool:
    """Whether a request shows a session or a key that was good lately, or a link to a file."""
    session = SESSION.search(headers.get(b"cookie", b""))
    if session is not None and was_good(session[1].decode()):
        return True
    return tenant_of(scope, headers) is not None


def _own_host() -> bytes:
    """Return a name that Django answers to."""
    named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    return (named or ["localhost"])[0].encode()


def _threaded(
    threads: int, places: Places, begin: Callable[[], None] | None = None,
    rest: Callable[[Scope, float], float] | None = None, later: Threads | None = None,
) -> Threads:  # fmt: skip
    return Threads(django_application, threads, places, begin, rest, later)


def _rest(scope: Scope, seconds: float) -> float:
    """Return how long a thread of strangers rests; who turned out to be known costs them none."""
    is_known = _is_known(scope, headers_of(scope))
    return 0.0 if is_known else min(REST * seconds, LONGEST_REST_SECONDS)


def _step_back() -> None:
    """Let others have the processor first, where threads have a priority of their own."""
    if sys.platform == "linux":
        # Sandboxes may refuse it, and a thread that cannot begin ends its pool for good.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)


def _refusal(scope: Scope, status: int, words: bytes) -> Answer:
    """Return an answer in the shape of the door that was asked, else in words."""
    headers = (("retry-after", AGAIN[status]), *CLOSE) if status in AGAIN else CLOSE
    document = jsonerrors.body_of(scope["path"], status)
    if document is None:
        return Answer(status, words, headers)
    return Answer(status, document, headers, kind=jsonerrors.KIND)


def _for_wsgi(scope: Scope, headers: Headers, body: bytes) -> Scope:
    """Return the scope in WSGI's terms, which know no chunks: a body has a length."""
    if b"transfer-encoding" not in headers:
        return scope
    own = [pair for pair in scope["headers"] if pair[0] not in (b"transfer-encoding", LENGTH)]
    return {**scope, "headers": [*own, (LENGTH, str(len(body)).encode())]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body at once, then what the connection says."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay


application = Application()
