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


Headers = dict[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """Return the headers by lower-case name; of several with one name the last counts."""
    return dict(scope["headers"])


async def read_body(headers: Headers, receive: Receive, *, limit: int) -> bytes:
    """Return the body, however it was cut into chunks.

    Raises:
        BodyTooLarge: announced or actual size over ``limit`` bytes.
        BodyIncomplete: the client went away.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
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
        described = (("content-type", "text/plain; charset=utf-8"),) if body else ()
        fields = (*described, *headers)
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        encoded.append((b"content-length", str(len(body)).encode()))
        self._start = {"type": "http.response.start", "status": status, "headers": encoded}
        self._body = {"type": "http.response.body", "body": body}

    async def send(self, send: Send) -> None:
        """Send it."""
        await send(self._start)
        await send(self._body)
