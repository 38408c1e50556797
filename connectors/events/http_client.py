"""An HTTP client with an SSRF guard: posts many attempts at once, from a thread with an event loop.

A name is resolved by us, its addresses are checked, and only an address that passed is connected
to: a name that answers differently the second time (DNS rebinding) gains nothing. No redirects, no
proxies from the environment, no cookies, and of an answer only its status is kept: the errors are
fixed sentences, nothing that the other side said.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.events.addresses import (
    Address,
    Policy,
    UnusableAddress,
    has_route_to,
    is_offline,
)
from connectors.events.attempts import AttemptResult, ClaimedDelivery
from lib import loops

# A request in all, and to connect to one address.
SECONDS, CONNECT_SECONDS = 15, 5
TIMEOUT = aiohttp.ClientTimeout(total=SECONDS, sock_connect=CONNECT_SECONDS)
# A name server that does not answer holds a thread for long; other names must not wait for it.
RESOLVER_THREADS = 64
# Of the body so much is read and dropped, so that the connection can serve the next request.
MAX_ANSWER = 4_096
NO_IPV6 = "Its address is one of IPv6, which cannot be reached from here."

# With these statuses Retry-After is followed.
BUSY = frozenset({429, 502, 503, 504})
REDIRECTS = range(300, 400)
# This machine has no file, memory, port or network left for a connection; no endpoint causes that.
# EADDRNOTAVAIL says that all ports are in use: addresses without a route are not tried.
LOCAL_ERRORS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,
        errno.ENETDOWN,
        socket.EAI_MEMORY,
    }
)
# No route to it, or no name server that knows: an endpoint can cause these too. They are this
# machine's fault only where it has no route to anywhere.
PERHAPS_LOCAL_ERRORS = frozenset({errno.ENETUNREACH, socket.EAI_AGAIN})
# As an OSError is written. Where the addresses of a name failed differently, one error lists all
# of them, in its text only (aiohappyeyeballs).
_NUMBER = re.compile(r"\[Errno (-?\d+)\]")
_NO_THREAD = "can't start new thread"
# The first that fits; from the particular to the general.
REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "Its TLS certificate was not accepted."),
    (aiohttp.ClientSSLError, "No TLS connection could be agreed on."),
    (aiohttp.ClientConnectorDNSError, "Its name does not resolve."),
    (aiohttp.ConnectionTimeoutError, "It could not be connected to."),
    (TimeoutError, "It did not answer within 15 seconds."),
    (aiohttp.ClientConnectorError, "It could not be connected to."),
    (aiohttp.InvalidURL, "This is not a URL."),
    (aiohttp.ClientResponseError, "It did not answer in HTTP."),
    (aiohttp.ClientError, "The connection broke."),
    (OSError, "The connection broke."),
)


class HttpClient:
    """Takes attempts and returns their results; open inside one ``with`` block."""

    def __init__(self, policy: Policy, *, resolver: AbstractResolver | None = None) -> None:
        self._policy, self._resolver = policy, resolver
        self._results: SimpleQueue[AttemptResult] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")
        self._loop.set_default_executor(self._threads)
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="http-client", daemon=True
        )
        self.in_flight = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._guard, self._session = self._do(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._loop.close()

    def send(self, delivery: ClaimedDelivery, *, headers: Mapping[str, str], body: bytes) -> None:
        """Begin an attempt; :meth:`wait` returns its result later."""
        self.in_flight += 1
        asyncio.run_coroutine_threadsafe(self._deliver(delivery, headers, body), self._loop)

    def wait(self, seconds: float) -> list[AttemptResult]:
        """Return the results that are there, waiting up to ``seconds`` for the first."""
        results: list[AttemptResult] = []
        try:
            results.append(self._results.get(timeout=seconds))
            while True:
                results.append(self._results.get_nowait())
        except Empty:
            self.in_flight -= len(results)
            return results

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> tuple[SsrfGuard, aiohttp.ClientSession]:
        guard = SsrfGuard(self._policy, self._resolver or aiohttp.ThreadedResolver())
        connector = aiohttp.TCPConnector(
            resolver=guard, use_dns_cache=False, limit=0, socket_factory=guard.open
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=TIMEOUT,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_ANSWER,
        )
        return guard, session

    async def _close(self) -> None:
        await loops.cancel_others()
        await self._session.close()

    async def _deliver(
        self, delivery: ClaimedDelivery, headers: Mapping[str, str], body: bytes
    ) -> None:
        try:
            result = AttemptResult(delivery, *await self._post(delivery.url, headers, body))
        except Exception as error:  # one attempt's trouble is not another's
            local = error if is_local(error) else None
            result = AttemptResult(delivery, error=reason_of(error), local_error=local)
        self._results.put(result)

    async def _post(
        self, address: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, timedelta]:
        url = URL(address)
        self._guard.check(url)
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            if answer.content_length is not None and answer.content_length <= MAX_ANSWER:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await answer.read()
            status = answer.status
            return status, error_of(status), retry_after_of(status, answer.headers)


class SsrfGuard(AbstractResolver):
    """Resolves names to addresses that may be connected to, and opens no socket to another."""

    def __init__(self, policy: Policy, resolver: AbstractResolver) -> None:
        self._policy, self._resolver = policy, resolver
        self._passed: set[str] = set()

    def check(self, url: URL) -> None:
        """Refuse a URL that may not be used; an address in it passes here, no name is asked.

        Raises:
            UnusableAddress: says why.
            OSError: this machine has no network, or no socket left.
        """
        destination = self._policy.check(str(url))
        if destination.address is not None:
            if not _is_reachable(destination.address):
                raise _unreachable()
            self._passed.add(str(destination.address))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be connected to.

        Raises:
            UnusableAddress: it has none of these.
            OSError: the name does not resolve; this machine has no network, or no socket left.
        """
        name = host.rstrip(".").lower()
        found = await self._resolver.resolve(host, port, family)
        fit = [each for each in found if self._policy.permits(name, ip_address(each["host"]))]
        if not fit:
            raise UnusableAddress("The name leads to no address of the public internet.")
        fit = [each for each in fit if _is_reachable(ip_address(each["host"]))]
        if not fit:
            raise _unreachable()
        self._passed.update(str(ip_address(each["host"])) for each in fit)
        return fit

    def open(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Make the socket for an address that passed.

        Raises:
            UnusableAddress: it was not checked.
        """
        family, kind, protocol, _, address = info
        if str(ip_address(address[0])) not in self._passed:
            raise UnusableAddress("The address was not checked.")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Close the resolver behind."""
        await self._resolver.close()


def _is_reachable(address: Address) -> bool:
    """Whether to try this address: one of IPv4 always."""
    return not isinstance(address, IPv6Address) or has_route_to(address)


def _unreachable() -> Exception:
    if is_offline():
        return OSError(errno.ENETUNREACH, "No network")
    return UnusableAddress(NO_IPV6)


def is_local(error: BaseException) -> bool:
    """Whether there was no answer because this machine could not ask: the one rule for that."""
    if isinstance(error, OSError):
        text = str(getattr(error, "os_error", error))
        numbers = {int(number) for number in _NUMBER.findall(text)}
        return bool(numbers & LOCAL_ERRORS) or (
            bool(numbers & PERHAPS_LOCAL_ERRORS) and is_offline()
        )
    return isinstance(error, MemoryError) or _NO_THREAD in str(error)


def reason_of(error: BaseException) -> str:
    """Return why there was no answer."""
    if isinstance(error, UnusableAddress):
        return str(error)
    reasons = (reason for kind, reason in REASONS if isinstance(error, kind))
    return next(reasons, f"It could not be sent: {type(error).__name__}.")


def error_of(status: int) -> str:
    """Return what is wrong with an answer; empty for a success."""
    if 200 <= status < 300:
        return ""
    if status in REDIRECTS:
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def retry_after_of(status: int, headers: Mapping[str, str]) -> timedelta:
    """Return how long a busy receiver asks to wait; zero otherwise."""
    asked = headers.get("retry-after", "")
    if status in BUSY and asked.isdecimal() and len(asked) <= 6:
        return timedelta(seconds=int(asked))
    return timedelta(0)
