"""Read an ASGI request: path, headers and a body of bounded size, nothing more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyTooLarge(Exception):
    """The body exceeds the size that Meta may send (webhooks overview: 3 MB)."""


class BodyIncomplete(Exception):
    """The connection ended before the announced body was complete."""


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of that lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Return the body, however it was cut into chunks.

    Raises:
        BodyTooLarge: announced or actual size over ``limit`` bytes.
        BodyIncomplete: the client went away.
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge
        return body
    return await _read_chunks(message, receive, limit)


async def _read_chunks(message: Message, receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise BodyIncomplete


class Answer:
    """A constant answer, encoded once."""

    __slots__ = ("_body", "_start")

    def __init__(self, status: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()):
        fields = (("content-type", "text/plain; charset=utf-8"), *headers)
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        encoded.append((b"content-length", str(len(body)).encode()))
        self._start = {"type": "http.response.start", "status": status, "headers": encoded}
        self._body = {"type": "http.response.body", "body": body}

    async def send(self, send: Send) -> None:
        """Send it."""
        await send(self._start)
        await send(self._body)
