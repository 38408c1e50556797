"""Simulated callbacks on the wire: to loopback addresses only, over keep-alive connections."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from connectors.whatsapp.wire.signature import sign


class NotLoopback(Exception):
    """The simulator only talks to this machine: http://127.0.0.1, http://[::1] or http://localhost."""


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """A callback URL on this machine and the app secret to sign with."""

    host: str
    port: int
    path: str
    secret: bytes = field(repr=False)

    def request(self, body: bytes) -> bytes:
        """Return the complete signed HTTP request of one callback."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            "Content-Type: application/json\r\nUser-Agent: facebookexternalua\r\n"
            f"X-Hub-Signature-256: {sign(body, self.secret)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def target(url: str, secret: bytes) -> CallbackTarget:
    """Return the target of a callback URL.

    Raises:
        NotLoopback: any other host, or not plain ``http``.
    """
    parts = urlsplit(url)
    # Not resolved: a name may lead anywhere, and to another place at the second look.
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
        port = parts.port or 80
    except ValueError:
        is_loopback = False
    if not is_loopback or parts.scheme != "http":
        raise NotLoopback(f"{NotLoopback.__doc__} Refused: {parts.scheme}://{parts.netloc}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return CallbackTarget(host, port, path, secret)


def status_of(answer: bytes | bytearray) -> int | None:
    """Return the status of a complete HTTP/1.1 answer, ``None`` while more has to come.

    Raises:
        ValueError: not HTTP, or a body without a length.
    """
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    lines = head.lower().split(b"\r\n")
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(lines[0].split()[1]) if len(body) >= int(value) else None
        if name == b"transfer-encoding":
            return int(lines[0].split()[1]) if body.endswith(b"0\r\n\r\n") else None
    raise ValueError("An answer without a length.")


@dataclass(slots=True)
class Shot:
    """One request: its number, when it was due (monotonic clock), how often it was sent before."""

    index: int
    request: bytes
    due: float
    attempt: int = 0


class Connection(asyncio.Protocol):
    """Tells ``on_answer`` of every status, and ``on_lost`` of its end and the request cut off."""

    def __init__(
        self,
        on_answer: Callable[[Connection, Shot, int], None],
        on_lost: Callable[[Connection, Shot | None], None],
    ) -> None:
        self._on_answer, self._on_lost, self._answer = on_answer, on_lost, bytearray()
        self._transport: asyncio.Transport | None = None
        self._shot: Shot | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        # A cast: uvloop's transports behave like asyncio's but do not derive from them.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, shot: Shot, now: float) -> None:
        """Send one request; the previous one must have been answered."""
        self._shot, self._since = shot, now
        if self._transport is not None:
            self._transport.write(shot.request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is complete."""
        self._answer += data
        try:
            status = status_of(self._answer)
        except ValueError:
            self.abort()
            return
        if status is not None and self._shot is not None:
            shot, self._shot = self._shot, None
            self._answer.clear()
            self._on_answer(self, shot, status)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end, whoever wanted it."""
        shot, self._shot = self._shot, None
        self._on_lost(self, shot)

    def abort_if_older(self, limit: float) -> None:
        """Give up on a request that was sent before ``limit`` (monotonic time)."""
        if self._shot is not None and self._since < limit:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
