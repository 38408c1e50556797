"""Which threads of the web process work on a request for Django: by who asks, and for what.

A stranger is whoever shows neither an API key or session that was good lately nor a link to a file.
Strangers share one thread, a bounded number of them waits for it, and whatever they do leaves the
other threads to those who are known.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import partial

from django.conf import settings

from lib.requests import Headers, Receive, Scope, headers_of
from sigma import jsonerrors
from sigma.clients import Address, address_of
from sigma.gate import tenant_of
from sigma.metrics import METRICS, Metrics
from sigma.threads import WSGI, Deliver, Places, Threads, with_body
from workspaces.sessions import was_good

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
# Looked for in the receiver's loop, where a parser of cookies would let strangers spend its time.
SESSION = re.compile(
    rb"(?:^|;) *" + settings.SESSION_COOKIE_NAME.encode() + rb"=([a-z0-9]{32})(?:;|$)"
)


class Lane:
    """Threads for requests that anybody may send: beyond ``most``, and beyond ``per_address``, they
    are refused. A place is that of the work, waiting or under way: whoever is slow to read the
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
            words = b"Too many ask at once; try again.\n"
            return jsonerrors.refusal(scope["path"], 429, words).send
        self._here[address] += 1
        try:
            return await self._threads.work(scope, receive)
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

    async def work(self, scope: Scope, receive: Receive) -> Deliver:
        """Return what sends the answer."""
        loop = asyncio.get_running_loop()
        if self._answer is None or (self._answer.done() and loop.time() >= self._until):
            self._answer = loop.create_task(self._ask(scope, receive))
        return await asyncio.shield(self._answer)

    async def _ask(self, scope: Scope, receive: Receive) -> Deliver:
        own = {"method": "GET", "query_string": b"", "headers": [(b"host", _own_host())]}
        try:
            return await self._threads.work({**scope, **own}, with_body(b"", receive))
        finally:
            self._until = asyncio.get_running_loop().time() + HEALTH_SECONDS


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


def is_known(scope: Scope, headers: Headers) -> bool:
    """Whether a request shows a session or a key that was good lately, or a link to a file."""
    session = SESSION.search(headers.get(b"cookie", b""))
    if session is not None and was_good(session[1].decode()):
        return True
    return tenant_of(scope, headers) is not None


def rest_of(scope: Scope, seconds: float) -> float:
    """Return how many seconds a thread of strangers rests after a request that took ``seconds``;
    none if whoever asked is known by now.
    """
    return 0.0 if is_known(scope, headers_of(scope)) else min(REST * seconds, LONGEST_REST_SECONDS)


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
