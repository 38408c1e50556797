"""Where simulated callbacks may go, and what they look like on the wire. Loopback only."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from connectors.whatsapp.wire.signature import sign


class NotLoopback(Exception):
    """The simulator only talks to this machine: http://127.0.0.1, http://[::1] or http://localhost."""


@dataclass(frozen=True, slots=True)
class Target:
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


def target(url: str, secret: bytes) -> Target:
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
    return Target(host, port, path, secret)


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
