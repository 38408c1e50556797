"""Read an ASGI request: path, headers and a body of bounded size, nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from itertools import islice
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Sends an answer that is made, or that is made while it is sent.
Deliver = Callable[[Send], Awaitable[None]]


# What proxies add to a request: whoever calls through one may be anywhere.
OF_PROXIES = (
    b"forwarded",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-forwarded-port",
    b"x-forwarded-server",
    b"x-forwarded-by",
    b"x-real-ip",
    b"x-client-ip",
    b"x-envoy-external-address",
    b"cf-connecting-ip",
    b"true-client-ip",
)
# How many bodies in the making are looked at for one that finds no room.
LOOKS = 100


class Unreadable(Exception):
    """The body is not taken; the kinds below say why, and what an answer to it says: an HTTP
    ``status`` and, unless a door has words of its own, these.
    """

    status, words = 400, "The body cannot be read."


class BodyTooLarge(Unreadable):
    """The body exceeds the size that Meta may send (webhooks overview: 3 MB)."""

    status, words = 413, "The body is too large."


class BodyIncomplete(Unreadable):
    """The connection ended before the announced body was complete."""

    status, words = 400, "The body ended too early."


class BodyLate(Unreadable):
    """The body did not arrive in time."""

    status, words = 408, "The body did not arrive in time."


class NoRoom(Unreadable):
    """Too much is being read at once."""

    status, words = 503, "Too much is being read; try again."


Headers = dict[bytes, bytes]


def is_of_proxy(scope: Scope, headers: Headers) -> bool:
    """Whether a proxy seems to have passed a request on: by its headers, or because it speaks
    HTTP/1.0, as nginx does to what is behind it unless it is told otherwise.
    """
    return scope.get("http_version") == "1.0" or any(name in headers for name in OF_PROXIES)


def headers_of(scope: Scope) -> Headers:
    """Return the headers by lower-case name; of several with one name the last counts."""
    return dict(scope["headers"])


async def gone(receive: Receive) -> None:
    """Wait until the caller has left, or was answered; the body has to be read."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Budget:
    """The bytes of bodies that may be in the making at once; ``beside`` counts what else is held.

    A body that is there with its headers needs none: it cannot be held back. Where there is no
    room, those make way that come more slowly than the largest body may, the slowest first: who
    announces much and sends little must not keep out others.
    """

    def __init__(self, limit: int, *, beside: Callable[[], int] = lambda: 0) -> None:
        self._limit, self._beside, self.taken = limit, beside, 0
        # Bodies that are coming and hold something; who was looked at, or grew, goes to the end.
        self.coming: dict[Reading, None] = {}

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes.

        Raises:
            NoRoom: they are not there.
        """
        if not self._has_room(size):
            self._make_room(size)
        self.taken += size

    def _has_room(self, size: int) -> bool:
        return self.taken + self._beside() + size <= self._limit

    def _make_room(self, size: int) -> None:
        now = time.monotonic()
        looked_at = list(islice(self.coming, LOOKS))
        for reading in looked_at:
            self.coming[reading] = self.coming.pop(reading)
        slow = [reading for reading in looked_at if reading.is_slow(now)]
        for reading in sorted(slow, key=lambda reading: reading.pace(now)):
            del self.coming[reading]
            reading.make_way()
            if self._has_room(size):
                return
        raise NoRoom


class Reading:
    """One body in the making: what it may hold, and how long it may take. Leaving gives back what
    it held.
    """

    __slots__ = (
        "_announced",
        "_arrived",
        "_began",
        "_budget",
        "_first",
        "_held",
        "_limit",
        "_makes_way",
        "_receive",
        "_seconds",
        "_timer",
    )

    def __init__(self, budget: Budget, limit: int, seconds: float) -> None:
        self._budget, self._limit, self._seconds, self._held = budget, limit, seconds, 0
        self._arrived, self._makes_way = 0, False

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
            async with asyncio.timeout(self._seconds) as self._timer:
                message = await self._first
                self._began = time.monotonic()
                self._hold(self._announced)
                return await self._chunks(message, self._receive)
        except TimeoutError:
            raise (NoRoom if self._makes_way else BodyLate) from None
        finally:
            self._budget.coming.pop(self, None)

    def is_slow(self, now: float) -> bool:
        """Whether less has come than would be there by now of the largest body in time."""
        return self._arrived * self._seconds < (now - self._began) * self._limit

    def pace(self, now: float) -> float:
        """Return the bytes that have come in a second; only of what is slow, so time has passed."""
        return self._arrived / (now - self._began)

    def make_way(self) -> None:
        """Give back what it holds, and end the reading."""
        self._makes_way = True
        self._budget.taken -= self._held
        self._held = 0
        if not self._timer.expired():
            self._timer.reschedule(0)

    async def _chunks(self, message: Message, receive: Receive) -> bytes:
        body = bytearray()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            self._check(body)
            self._arrived = len(body)
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
            self._budget.coming.pop(self, None)  # it makes no way for itself
            self._budget.take(size - self._held)
            self._held = size
            self._budget.coming[self] = None


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
