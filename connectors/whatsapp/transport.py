"""How requests reach Meta: pooled clients that never retry, and whether a failed one had left.

Sends are asynchronous, on aiohttp's pool behind httpx's transport (docs/adr/0012): one per event
loop. Everything else blocks, on one client per process, and files on another. None follows
redirects, keeps cookies, or takes a proxy from the environment; ``SSL_CERT_FILE`` and
``SSL_CERT_DIR`` are honoured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from functools import cache, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext

import aiohttp
import httpx
from django.conf import settings
from httpx_aiohttp import AiohttpTransport

from connectors.whatsapp.wire.answers import Answer
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Unavailable

CONNECT_SECONDS, READ_SECONDS = 5.0, 40.0
# aiohttp's limit for waiting in its pool and connecting together.
POOL_SECONDS = 10.0
# A request is given up after this; whoever holds a lease on a send needs more.
TOTAL_SECONDS = 60.0
# A connection the other end has just closed looks alive, and a send on it has no clear outcome:
# keep none for long.
KEEPALIVE_SECONDS = 5.0
# The largest answer that is read: of a send, and of anything else (a page of templates).
MAX_SEND_ANSWER, MAX_ANSWER = 256 * 1024, 8 * 1024 * 1024
# Meta's file hosts turn away some clients that do not look like a browser.
HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; SIGMA-WhatsApp-Connector)",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
TIMEOUT = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=POOL_SECONDS)

# What aiohttp raises before it has a connection to write on. Its other connection errors, which
# httpx-aiohttp calls "connect timeout" too, come from connections that carried the request.
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_NOT_SENT_BLOCKING = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
)  # fmt: skip


async def send(url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
    """POST ``content`` once.

    Raises:
        workspaces.channel_errors.Unavailable: the request did not leave.
        workspaces.channel_errors.OutcomeUnknown: it may have left, and there is no whole answer.
    """
    transport = await _transport()
    try:
        # Not by way of httpx's client, which looks for redirects, cookies and authentication that
        # there are not: 0.2 ms for each send.
        request = httpx.Request(
            "POST",
            _url(url),
            content=content,
            headers={**HEADERS, **headers},
            extensions={"timeout": TIMEOUT.as_dict()},
        )
        async with asyncio.timeout(TOTAL_SECONDS):
            response = await transport.handle_async_request(request)
            try:
                return await _read(response)
            finally:
                await response.aclose()
    except ChannelError:
        raise
    # Whatever it is: the request may have left, and must not be taken for one that did not.
    except Exception as error:
        raise _send_failed(error) from None


def call(method: str, url: str, *, headers: Mapping[str, str], content: bytes = b"") -> Answer:
    """Make one request, blocking.

    Raises:
        workspaces.channel_errors.Unavailable: it did not leave, or changes nothing (GET).
        workspaces.channel_errors.OutcomeUnknown: it may have left, and there is no whole answer.
    """
    body = bytearray()
    end = time.monotonic() + TOTAL_SECONDS
    try:
        with blocking().stream(method, url, content=content, headers=dict(headers)) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER or time.monotonic() > end:
                    raise httpx.ReadError("too long")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _call_failed(error, method) from None
    return Answer(response.status_code, response.headers, bytes(body))


@cache
def blocking() -> httpx.Client:
    """Return this process's blocking client."""
    return _client(httpx.Limits(max_connections=100, max_keepalive_connections=20))


@cache
def downloads() -> httpx.Client:
    """Return this process's client for files: they may be read slowly, and nothing else must wait
    for their connections. Whoever serves them bounds their number; few are kept when idle.
    """
    return _client(httpx.Limits(max_keepalive_connections=20))


def _client(limits: httpx.Limits) -> httpx.Client:
    return httpx.Client(
        timeout=TIMEOUT, headers=HEADERS, verify=_certificates(), trust_env=False,
        cookies=_no_cookies(), limits=limits,
    )  # fmt: skip


async def _read(response: httpx.Response) -> Answer:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_SEND_ANSWER:
            raise OutcomeUnknown("Meta's answer is too long to be one.")
    return Answer(response.status_code, response.headers, bytes(body))


def _send_failed(error: Exception) -> ChannelError:
    cause = error.__cause__ or error
    if isinstance(cause, _NOT_SENT):
        return Unavailable(f"Meta cannot be reached ({type(cause).__name__}).")
    return OutcomeUnknown(f"The request left and no answer came ({type(cause).__name__}).")


def _call_failed(error: Exception, method: str) -> ChannelError:
    kind = type(error).__name__
    if method == "GET" or isinstance(error, _NOT_SENT_BLOCKING):
        return Unavailable(f"Meta cannot be reached ({kind}).")
    return OutcomeUnknown(f"The request left and no answer came ({kind}).")


_lives: dict[asyncio.AbstractEventLoop, AsyncGenerator[AiohttpTransport, None]] = {}
_transports: dict[asyncio.AbstractEventLoop, AiohttpTransport] = {}


async def _transport() -> AiohttpTransport:
    """Return the running loop's transport; it is closed with the loop (``shutdown_asyncgens``)."""
    loop = asyncio.get_running_loop()
    transport = _transports.get(loop)
    if transport is None:
        for ended in [other for other in tuple(_transports) if other.is_closed()]:
            del _transports[ended], _lives[ended]
        life = _lives[loop] = _live(loop)
        transport = _transports[loop] = await anext(life)
    return transport


async def _live(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[AiohttpTransport, None]:
    transport = AiohttpTransport(client=_session)
    try:
        yield transport
    finally:
        _transports.pop(loop, None)
        _lives.pop(loop, None)
        await transport.aclose()


@lru_cache(maxsize=1_000)
def _url(url: str) -> httpx.URL:
    """Parse an address once: a number's sends all go to the same one."""
    return httpx.URL(url)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=settings.SIGMA_SEND_CONCURRENCY,
        keepalive_timeout=KEEPALIVE_SECONDS,
        ssl=_certificates(),
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


@cache
def _certificates() -> SSLContext:
    return httpx.create_ssl_context()


def _no_cookies() -> CookieJar:
    """Return a jar that takes none: what Meta sets for one tenant is nobody else's."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))
