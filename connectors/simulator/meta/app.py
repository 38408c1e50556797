"""The ASGI application: bytes in, bytes out, or the connection cut on purpose."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from connectors.simulator.meta import control, graph, media
from connectors.simulator.meta.control import NEWEST
from connectors.simulator.meta.http import Conduct, HttpAnswer, Request
from connectors.simulator.meta.simulator import Simulator

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
VERSION = re.compile(r"v[0-9]+\.[0-9]+")
# Under this name the server hands over a way to cut the connection.
ABORT = "sigma.abort"
MAX_BODY_BYTES = 110 * 1024 * 1024
FORBIDDEN = HttpAnswer(
    403, b"This is a simulator for programs on this machine only.\n", b"text/plain"
)
TOO_LARGE = HttpAnswer(413, b"Too large.\n", b"text/plain")


class SimulatorApplication:
    """Serves one simulator."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; quietly none when the server stops meanwhile."""
        with suppress(asyncio.CancelledError):
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _request(scope, receive)
        if request is None:
            answered = TOO_LARGE
        elif not _is_from_here(request):
            answered = FORBIDDEN
        else:
            answered = await self._answered(request)
        if answered.delay:
            await asyncio.sleep(answered.delay)
        if answered.conduct is Conduct.ANSWER:
            await _send(answered, send)
        else:
            if answered.conduct is Conduct.CLOSE:
                scope["extensions"][ABORT]["cut"]()
            await _until_gone(receive)

    async def _answered(self, request: Request) -> HttpAnswer:
        parts = request.parts
        if not parts or parts[0] == "sim":
            return await control.handle(self._sim, request)
        if "/".join(parts) == media.PATH:
            return media.download(self._sim, request)
        return await graph.handle(self._sim, request)


async def _request(scope: Scope, receive: Receive) -> Request | None:
    """Return the request, ``None`` for one that is too large."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        pieces = [body]
        size = len(body)
        while message.get("more_body"):
            message = await receive()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > MAX_BODY_BYTES:
                return None
        body = b"".join(pieces)
    parts = [part for part in scope["path"].split("/") if part]
    version = NEWEST
    if parts and VERSION.fullmatch(parts[0]):
        version = parts.pop(0)
    query = scope["query_string"]
    return Request(
        method=scope["method"],
        parts=parts,
        version=version,
        query=_query(query),
        headers=dict(scope["headers"]),
        body=body,
    )


@lru_cache(maxsize=1024)
def _query(text: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True))


def _is_from_here(request: Request) -> bool:
    """Whether it was asked by this machine's name, and not by a page of somebody else's."""
    host = request.headers.get(b"host", b"127.0.0.1").decode("latin-1")
    origin = request.headers.get(b"origin")
    if not _is_loopback(f"http://{host}"):
        return False
    return origin is None or _is_loopback(origin.decode("latin-1"))


@lru_cache(maxsize=1024)
def _is_loopback(url: str) -> bool:
    try:
        name = urlsplit(url).hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(answered: HttpAnswer, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": answered.status,
            "headers": [
                (b"content-type", answered.content_type),
                (b"content-length", str(len(answered.body)).encode()),
                *answered.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answered.body})
