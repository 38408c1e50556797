"""Post many parcels at once, from a thread with an event loop of its own.

A name is resolved by us, its addresses are checked, and only an address that passed is connected
to: a name that answers differently the second time (DNS rebinding) gains nothing. No redirects, no
proxies from the environment, no cookies, and of an answer only its status is kept.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from connectors.events.addresses import Address, Policy, UnusableAddress
from connectors.events.parcels import Parcel, Report
from connectors.events.verdicts import comment, explain, is_ours, patience
from connectors.events.ways import has_way_to, is_cut_off
from lib import loops

# A request in all, and to connect to one address.
SECONDS, CONNECT_SECONDS = 15, 5
TIMEOUT = aiohttp.ClientTimeout(total=SECONDS, sock_connect=CONNECT_SECONDS)
# Names that nobody answers for hold a thread for long; other names must not wait for those.
RESOLVERS = 64
# Read so that the connection can serve the next parcel; nobody looks at it.
MOST_ANSWER = 4_096
NO_IPV6 = "Its address is one of IPv6, which cannot be reached from here."


class Doorkeeper(AbstractResolver):
    """Resolve names to addresses that may be connected to, and let no socket reach another."""

    def __init__(self, policy: Policy, resolver: AbstractResolver) -> None:
        self._policy, self._resolver = policy, resolver
        self._passed: set[str] = set()

    def check(self, url: URL) -> None:
        """Refuse a URL that may not be used; an address in it passes here, no name is asked.

        Raises:
            UnusableAddress: says why.
            OSError: this machine has no network, or no socket left.
        """
        target = self._policy.check(str(url))
        if target.address is not None:
            if not _has_way_to(target.address):
                raise _no_way()
            self._passed.add(str(target.address))

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
        fit = [each for each in fit if _has_way_to(ip_address(each["host"]))]
        if not fit:
            raise _no_way()
        self._passed.update(str(ip_address(each["host"])) for each in fit)
        return fit

    def open(self, info: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """Make the socket for an address that passed.

        Raises:
            UnusableAddress: nobody checked this one.
        """
        family, kind, protocol, _, address = info
        if str(ip_address(address[0])) not in self._passed:
            raise UnusableAddress("The address was not checked.")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Let go of the resolver behind."""
        await self._resolver.close()


def _has_way_to(address: Address) -> bool:
    """Whether to try this address: one of IPv4 always."""
    return not isinstance(address, IPv6Address) or has_way_to(address)


def _no_way() -> Exception:
    if is_cut_off():
        return OSError(errno.ENETUNREACH, "No network")
    return UnusableAddress(NO_IPV6)


class Courier:
    """Takes parcels and brings reports; at home in one ``with`` block."""

    def __init__(self, policy: Policy, *, resolver: AbstractResolver | None = None) -> None:
        self._policy, self._resolver = policy, resolver
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._loop.set_default_executor(self._resolvers)
        self._thread = threading.Thread(target=self._loop.run_forever, name="courier", daemon=True)
        self.under_way = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._doorkeeper, self._session = self._do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        self._loop.close()

    def send(self, parcel: Parcel) -> None:
        """Set out with a parcel; its report comes later."""
        self.under_way += 1
        asyncio.run_coroutine_threadsafe(self._deliver(parcel), self._loop)

    def wait(self, seconds: float) -> list[Report]:
        """Return the reports that are there, waiting a while for the first."""
        reports: list[Report] = []
        try:
            reports.append(self._reports.get(timeout=seconds))
            while True:
                reports.append(self._reports.get_nowait())
        except Empty:
            self.under_way -= len(reports)
            return reports

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> tuple[Doorkeeper, aiohttp.ClientSession]:
        keeper = Doorkeeper(self._policy, self._resolver or aiohttp.ThreadedResolver())
        connector = aiohttp.TCPConnector(
            resolver=keeper, use_dns_cache=False, limit=0, socket_factory=keeper.open
        )
        session = aiohttp.ClientSession(
            connector=connector, timeout=TIMEOUT, trust_env=False, auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(), max_line_size=MOST_ANSWER,
        )  # fmt: skip
        return keeper, session

    async def _close(self) -> None:
        await loops.cancel_others()
        await self._session.close()

    async def _deliver(self, parcel: Parcel) -> None:
        try:
            report = await self._post(parcel)
        except Exception as error:  # one parcel's trouble is not another's
            report = Report(parcel, error=explain(error), ours=error if is_ours(error) else None)
        self._reports.put(report)

    async def _post(self, parcel: Parcel) -> Report:
        url = URL(parcel.url)
        self._doorkeeper.check(url)
        async with self._session.post(
            url, data=parcel.body, headers=parcel.headers, allow_redirects=False
        ) as answer:
            if answer.content_length is not None and answer.content_length <= MOST_ANSWER:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await answer.read()
            status, wait = answer.status, patience(answer.status, answer.headers)
            error = "" if 200 <= status < 300 else comment(status)
            return Report(parcel, status, error, wait)
