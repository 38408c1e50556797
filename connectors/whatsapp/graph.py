"""Ask the Graph API with a tenant's credentials: JSON in, JSON or a named error out.

Requests reach Meta by pooled clients that never retry and tell whether a failed request had left.
Sends are asynchronous, on aiohttp's pool behind httpx's transport (docs/adr/0012): one per event
loop. Everything else blocks, on one client per process, and files on another. None follows
redirects, keeps cookies, or takes a proxy from the environment; ``SSL_CERT_FILE`` and
``SSL_CERT_DIR`` are honoured.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import chain
from ssl import SSLContext
from urllib.parse import urlencode

import aiohttp
import httpx
import msgspec
from django.conf import settings
from httpx_aiohttp import AiohttpTransport

from connectors.whatsapp.wire.errors import GraphAnswer, Json, error_of, is_wrong_proof
from lib.ttl import TtlCache
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Unavailable
from workspaces.channels import Credentials, OutgoingFile

logger = logging.getLogger("sigma.whatsapp.graph")
CONNECT_SECONDS, READ_SECONDS = 5.0, 40.0
# aiohttp's limit for waiting in its pool and connecting together.
POOL_SECONDS = 10.0
# A request is given up after this; whoever holds a lease on a send needs more.
TOTAL_SECONDS = 60.0
# A file may take so long to be sent: 100 MB at 350 KB/s.
UPLOAD_SECONDS = 300.0
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
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)

_VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")
_NO_PARAMETERS: Mapping[str, str] = {}
_versions_logged: set[str] = set()
# Digests of tokens, and the proof that fitted each.
_fitting: TtlCache[bytes, str] = TtlCache(seconds=3600, size=1000)
# One transport per event loop, and the generator that closes it with the loop.
_lifetimes: dict[asyncio.AbstractEventLoop, AsyncGenerator[AiohttpTransport, None]] = {}
_transports: dict[asyncio.AbstractEventLoop, AiohttpTransport] = {}


class Graph:
    """The Graph API as one token sees it. Nothing it raises or logs holds a token."""

    def __init__(self, credentials: Credentials, url: str) -> None:
        token = credentials.access_token
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._writing = {**self._headers, "Content-Type": "application/json"}
        self._proofs = _Proofs(credentials)

    def get(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Json:
        """Read a node or an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        return self._object(self.ask(node, parameters), changes=False)

    def ask(self, node: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> GraphAnswer:
        """Read a node and leave the judgement of the answer to the caller.

        Raises:
            workspaces.channel_errors.Unavailable: there is no answer.
        """
        return self._call("GET", node, parameters, headers=self._headers)

    def post(self, node: str, body: Json) -> Json:
        """Change a node or add to an edge.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        content = msgspec.json.encode(body)
        answer = self._call("POST", node, headers=self._writing, content=content)
        return self._object(answer, changes=True)

    def begin(self, node: str, parameters: Mapping[str, str]) -> Json:
        """Add to an edge what ``parameters`` say, in the query.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = self._call("POST", node, parameters, headers=self._headers)
        return self._object(answer, changes=True)

    def upload(self, node: str, fields: Mapping[str, str], file: OutgoingFile) -> Json:
        """Give an edge a file, as a form that is made while it is sent.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        head, tail, boundary = _form_around(fields, file)
        headers = {
            **self._headers,
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + file.size + len(tail)),
        }
        return self._stream(
            node,
            headers,
            lambda: chain([head], _in_time(file.pieces(), UPLOAD_SECONDS), [tail]),
            UPLOAD_SECONDS,
        )

    def send_rest(self, node: str, file: OutgoingFile, offset: int, *, seconds: float) -> Json:
        """Give a session of a resumable upload a file's bytes from ``offset`` on.

        https://developers.facebook.com/docs/graph-api/guides/upload

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer; bytes may be there.
        """
        headers = {
            "Authorization": self._headers["Authorization"].replace("Bearer", "OAuth", 1),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(file.size - offset),
            "file_offset": str(offset),
        }
        return self._stream(
            node, headers, lambda: _in_time(_rest(file.pieces(), offset), seconds), seconds
        )

    def _stream(
        self,
        node: str,
        headers: Mapping[str, str],
        content: Callable[[], Iterable[bytes]],
        seconds: float,
    ) -> Json:
        """POST what is made while it is sent."""
        for proof in self._proofs.candidates():
            answer = call_once(
                "POST",
                self._address(node, proof),
                headers=headers,
                content=content(),
                client=downloads(),
                seconds=seconds + TOTAL_SECONDS,
            )
            if self._proofs.is_settled(proof, answer):
                break
        return self._object(answer, changes=True)

    def answer_to(self, method: str, node: str, body: Json) -> GraphAnswer:
        """Change something, and leave the judgement of the answer to the caller.

        Raises:
            workspaces.channel_errors.ChannelError: there is no answer.
        """
        content = msgspec.json.encode(body)
        return self._call(method, node, headers=self._writing, content=content)

    def delete(self, node: str, parameters: Mapping[str, str]) -> Json:
        """Delete what ``parameters`` name.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        answer = self._call("DELETE", node, parameters, headers=self._headers)
        return self._object(answer, changes=True)

    async def send(self, node: str, content: bytes) -> Json:
        """POST ``content``, which is JSON already, without blocking.

        Raises:
            workspaces.channel_errors.ChannelError: there is no proper answer.
        """
        for proof in self._proofs.candidates():
            address = self._address(node, proof)
            answer = await send_once(address, content=content, headers=self._writing)
            if self._proofs.is_settled(proof, answer):
                break
        return self._object(answer, changes=True)

    def _call(
        self,
        method: str,
        node: str,
        parameters: Mapping[str, str] = _NO_PARAMETERS,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
    ) -> GraphAnswer:
        for proof in self._proofs.candidates():
            address = self._address(node, proof, parameters)
            answer = call_once(method, address, headers=headers, content=content)
            if self._proofs.is_settled(proof, answer):
                break
        return answer

    def _address(
        self, node: str, proof: str, parameters: Mapping[str, str] = _NO_PARAMETERS
    ) -> str:
        query = urlencode({**parameters, "appsecret_proof": proof} if proof else parameters)
        # The name of an upload may have a query of its own.
        joint = "&" if "?" in node else "?"
        return f"{self.url}/{node}{joint}{query}" if query else f"{self.url}/{node}"

    def _object(self, answer: GraphAnswer, *, changes: bool) -> Json:
        self._log_version(answer)
        if not answer.is_success or answer.problem is not None:
            raise error_of(answer, changes=changes)
        found = answer.json
        if found is None:
            sentence = "Meta's answer is not a JSON object."
            raise OutcomeUnknown(sentence) if changes else Unavailable(sentence)
        return found

    def _log_version(self, answer: GraphAnswer) -> None:
        """Log, once per process, that Meta answers as another version than the one we ask for."""
        answered = answer.headers.get("facebook-api-version", "")
        asked = self.url.rpartition("/")[2]
        known = answered in (asked, "") or answered in _versions_logged
        if known or not _VERSION.fullmatch(answered) or not _VERSION.fullmatch(asked):
            return
        _versions_logged.add(answered)
        logger.warning(
            "whatsapp: the Graph API answers as another version than SIGMA_GRAPH_URL names",
            extra={"asked": asked, "answered": answered},
        )


class _Proofs:
    """What proves that a token is used by its own app: one for each live app secret, and the one
    that fits first. Which does is known to the whole process, for as long as it lives.

    A request whose proof is refused was not carried out, so it may be made again with another.
    https://developers.facebook.com/docs/graph-api/guides/secure-requests
    """

    def __init__(self, credentials: Credentials) -> None:
        token = credentials.access_token.encode()
        secrets = [credentials.app_secret, *credentials.others]
        self._all = [
            hmac.digest(s.encode(), token, "sha256").hex() if s else ""
            for s in secrets
            if s is not None
        ]
        self._token = hashlib.sha256(token).digest()

    def candidates(self) -> list[str]:
        """Return the proofs in the order to try them; one that is empty where there is none."""
        if len(self._all) < 2:
            return self._all or [""]
        known = _fitting.get(self._token)
        return sorted(self._all, key=lambda proof: proof != known)

    def is_settled(self, proof: str, answer: GraphAnswer) -> bool:
        """Whether no other proof is to be tried; one that was accepted is remembered."""
        if len(self._all) < 2:
            return True
        if answer.is_success:
            _fitting.put(self._token, proof)
            return True
        return not is_wrong_proof(answer)


async def send_once(url: str, *, content: bytes, headers: Mapping[str, str]) -> GraphAnswer:
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


@lru_cache(maxsize=1_000)
def _url(url: str) -> httpx.URL:
    """Parse an address once: a number's sends all go to the same one."""
    return httpx.URL(url)


async def _read(response: httpx.Response) -> GraphAnswer:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_SEND_ANSWER:
            raise OutcomeUnknown("Meta's answer is too long to be one.")
    return GraphAnswer(response.status_code, response.headers, bytes(body))


def _send_failed(error: Exception) -> ChannelError:
    cause = error.__cause__ or error
    if isinstance(cause, _NOT_SENT):
        return Unavailable(f"Meta cannot be reached ({type(cause).__name__}).")
    return OutcomeUnknown(f"The request left and no answer came ({type(cause).__name__}).")


def _form_around(fields: Mapping[str, str], file: OutgoingFile) -> tuple[bytes, bytes, str]:
    """Return what stands in a form before a file and after it, and the form's boundary."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{file.filename}"\r\nContent-Type: {file.mime_type}\r\n\r\n'
    )
    return "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode(), boundary


def _rest(pieces: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """Yield a file's bytes from ``offset`` on."""
    for piece in pieces:
        if offset < len(piece):
            yield piece[offset:]
        offset = max(0, offset - len(piece))


def _in_time(pieces: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    """Yield a file's pieces while there is time.

    Raises:
        workspaces.channel_errors.Unavailable: Meta takes them too slowly.
    """
    end = time.monotonic() + seconds
    for piece in pieces:
        if time.monotonic() > end:
            raise Unavailable("Meta takes the file too slowly.")
        yield piece


def call_once(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | Iterable[bytes] = b"",
    client: httpx.Client | None = None,
    seconds: float = TOTAL_SECONDS,
) -> GraphAnswer:
    """Make one request, blocking, with the ``client`` that is given or the process's usual one.

    Raises:
        workspaces.channel_errors.Unavailable: it did not leave, or changes nothing (GET).
        workspaces.channel_errors.OutcomeUnknown: it may have left, and there is no whole answer.
    """
    body = bytearray()
    end = time.monotonic() + seconds
    using = client or blocking()
    try:
        with using.stream(method, url, content=content, headers=dict(headers)) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER or time.monotonic() > end:
                    raise httpx.ReadError("too long")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _call_failed(error, method) from None
    return GraphAnswer(response.status_code, response.headers, bytes(body))


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
        timeout=TIMEOUT,
        headers=HEADERS,
        verify=_certificates(),
        trust_env=False,
        cookies=_no_cookies(),
        limits=limits,
    )


def _call_failed(error: Exception, method: str) -> ChannelError:
    kind = type(error).__name__
    if method == "GET" or isinstance(error, _NOT_SENT_BLOCKING):
        return Unavailable(f"Meta cannot be reached ({kind}).")
    return OutcomeUnknown(f"The request left and no answer came ({kind}).")


async def _transport() -> AiohttpTransport:
    """Return the running loop's transport; it is closed with the loop (``shutdown_asyncgens``)."""
    loop = asyncio.get_running_loop()
    transport = _transports.get(loop)
    if transport is None:
        for ended in [other for other in tuple(_transports) if other.is_closed()]:
            del _transports[ended], _lifetimes[ended]
        lifetime = _lifetimes[loop] = _lifetime(loop)
        transport = _transports[loop] = await anext(lifetime)
    return transport


async def _lifetime(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[AiohttpTransport, None]:
    transport = AiohttpTransport(client=_session)
    try:
        yield transport
    finally:
        _transports.pop(loop, None)
        _lifetimes.pop(loop, None)
        await transport.aclose()


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
