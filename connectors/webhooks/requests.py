"""Read an ASGI request: path, headers and a body of bounded size, nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Unreadable(Exception):
    """The body is not taken; the kinds below say why."""


class BodyTooLarge(Unreadable):
    """The body exceeds the size that Meta may send (webhooks overview: 3 MB)."""


class BodyIncomplete(Unreadable):
    """The connection ended before the announced body was complete."""


class BodyLate(Unreadable):
    """The body did not arrive in time."""


class NoRoom(Unreadable):
    """Too much is being read at once."""


Headers = dict[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """Return the headers by lower-case name; of several with one name the last counts."""
    return dict(scope["headers"])


class Budget:
    """The bytes of bodies that may be in the making at once; ``beside`` counts what else is held.

    A body that is there with its headers needs none: it cannot be held back.
    """

    def __init__(self, limit: int, *, beside: Callable[[], int] = lambda: 0) -> None:
        self._limit, self._beside, self.taken = limit, beside, 0

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes.

        Raises:
            NoRoom: they are not there.
        """
        if self.taken + self._beside() + size > self._limit:
            raise NoRoom
        self.taken += size


class Reading:
    """One body in the making: what it may hold, and how long it may take. Leaving gives back what
    it held.
    """

    __slots__ = ("_announced", "_budget", "_first", "_held", "_limit", "_receive", "_seconds")

    def __init__(self, budget: Budget, limit: int, seconds: float) -> None:
        self._budget, self._limit, self._seconds, self._held = budget, limit, seconds, 0

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.taken -= self._held

    def begin(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body if it is there already, as it usually is: no timer, no reservation.

        Raises:
            BodyTooLarge: announced or actual size.
        """
        announced = headers.get(b"content-length", b"")
        self._announced = int(announced) if announced.isdigit() else 0
        if self._announced > self._limit:
            raise BodyTooLarge
        waiting = receive().__await__()
        try:
            self._first: Awaitable[Message] = _Resumed(next(waiting), waiting)
        except StopIteration as arrived:
            message: Message = arrived.value
            if message["type"] == "http.request" and not message.get("more_body"):
                whole: bytes = message.get("body", b"")
                self._check(whole)
                return whole
            self._first = _given(message)
        self._receive = receive
        return None

    async def rest(self) -> bytes:
        """Return the body that was begun, however it is cut into chunks.

        Raises:
            Unreadable: too large, too slow, cut off, or too much is being read already.
        """
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._first
                self._hold(self._announced)
                return await self._chunks(message, self._receive)
        except TimeoutError:
            raise BodyLate from None

    async def _chunks(self, message: Message, receive: Receive) -> bytes:
        body = bytearray()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            self._check(body)
            self._hold(len(body))
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()
        raise BodyIncomplete

    def _check(self, body: bytes | bytearray) -> None:
        if len(body) > self._limit:
            raise BodyTooLarge

    def _hold(self, size: int) -> None:
        if size > self._held:
            self._budget.take(size - self._held)
            self._held = size


class _Resumed:
    """Go on waiting for what was asked for already and did not answer at once."""

    __slots__ = ("_future", "_waiting")

    def __init__(self, future: Any, waiting: Generator[Any, None, Message]) -> None:
        self._future, self._waiting = future, waiting

    def __await__(self) -> Generator[Any, None, Message]:
        try:
            yield self._future
            return (yield from self._waiting)
        finally:
            self._waiting.close()


async def _given(message: Message) -> Message:
    return message


class Answer:
    """A constant answer, encoded once."""

    __slots__ = ("_body", "_start")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        *,
        kind: str = "text/plain; charset=utf-8",
    ) -> None:
        described = (("content-type", kind),) if body else ()
        fields = (*described, *headers)
        encoded = [(name.encode(), value.encode()) for name, value in fields]
        encoded.append((b"content-length", str(len(body)).encode()))
        self._start = {"type": "http.response.start", "status": status, "headers": encoded}
        self._body = {"type": "http.response.body", "body": body}

    async def send(self, send: Send) -> None:
        """Send it."""
        await send(self._start)
        await send(self._body)
