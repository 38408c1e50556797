"""A WSGI application behind ASGI: a thread makes an answer, or a piece of one, and whoever reads it
slowly holds none meanwhile.

Servers of WSGI, and a2wsgi, keep a thread until the last piece is sent.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from a2wsgi.wsgi import build_environ

from connectors.webhooks.requests import Message, Receive, Scope, Send
from sigma.heads import refused

# What is made, and sent, at a time.
PIECE_BYTES = 65_536
# Answers that are made while they are sent, each of which holds a connection to Meta or a page of
# rows: of a process, within the descriptors that ``sigma.heads`` sets aside.
MOST_STREAMS = 100
END = {"type": "http.response.body", "body": b""}

# Sends an answer that is made, or that is made while it is sent.
Deliver = Callable[[Send], Awaitable[None]]
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Full(Exception):
    """Too many files are on their way, and all of them are being read."""


class Work:
    """One request's way through the application; its methods are for threads, one at a time."""

    def __init__(self, application: WSGI, environ: dict[str, Any]) -> None:
        self._application, self._environ = application, environ
        self.context = contextvars.copy_context()
        self._answer: Iterable[bytes] | None = None
        self._pieces: Iterator[bytes] = iter(())
        # The beginning of the answer, what of it was made last, and whether that is the end.
        self.start: Message = {}
        self.piece, self.is_over = b"", False

    def go_on(self) -> None:
        """Make the next piece of a stream, or the whole of everything else."""
        try:
            self.piece = b"".join(self._made())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what the answer holds."""
        if not self.is_over:
            self.is_over = True
            getattr(self._answer, "close", lambda: None)()

    def _made(self) -> list[bytes]:
        if self._answer is None:
            self._answer = self._application(self._environ, self._begin)
            self._pieces = iter(self._answer)
        size, parts = 0, list[bytes]()
        for part in self._pieces:
            parts.append(part)
            size += len(part)
            if size >= PIECE_BYTES and getattr(self._answer, "streaming", False):
                return parts
        self.close()
        return parts

    def _begin(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.start = {
            "type": "http.response.start", "status": int(status.split(" ", 1)[0]),
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
        }  # fmt: skip


class Threads:
    """Serve a WSGI application in ``threads`` of its own, each of which begins with ``begin``."""

    def __init__(
        self, application: WSGI, threads: int, begin: Callable[[], None] | None = None
    ) -> None:
        self._application = application
        self._pool = ThreadPoolExecutor(threads, "WSGI", initializer=begin)
        self._streams = 0
        # Streams that wait for their readers, the one that has waited longest first.
        self._unread: dict[asyncio.Timeout, None] = {}

    async def work(self, scope: Scope, receive: Receive) -> Deliver:
        """Return what sends what a request comes to, and holds no more than that. Its body has to
        be whole.
        """
        with io.BytesIO((await receive())["body"]) as body:
            environ = dict(build_environ(scope, body))  # type: ignore[arg-type]
            work = Work(self._application, environ)
            await self._run(work, work.go_on)
        if work.is_over:
            return partial(_send_whole, work.start, work.piece)
        return partial(self._deliver, work)

    async def _deliver(self, work: Work, send: Send) -> None:
        """Send a stream while there is room, for which whoever reads least makes way.

        Raises:
            Full: nothing was sent; somebody may be slow later.
        """
        try:
            if self._streams >= MOST_STREAMS and not self._end_slowest():
                raise Full
            await self._stream(work, send)
        finally:
            if not work.is_over:
                await self._run(work, work.close)

    async def _stream(self, work: Work, send: Send) -> None:
        self._streams += 1
        start: Message | None = work.start
        try:
            while True:
                async with asyncio.timeout(None) as patience:
                    self._unread[patience] = None
                    try:
                        await _send_piece(start, work.piece, send)
                    finally:
                        self._unread.pop(patience, None)
                if work.is_over:
                    break
                start = None
                await self._run(work, work.go_on)
            await send(END)
        except TimeoutError:
            if not patience.expired():
                raise
            # Returned from before its end, the server closes the connection.
            refused["file_unread"] += 1
        finally:
            self._streams -= 1

    def _end_slowest(self) -> bool:
        """End the stream that has waited longest for its reader, if one waits."""
        slowest = next(iter(self._unread), None)
        if slowest is None:
            return False
        del self._unread[slowest]
        slowest.reschedule(0)
        return True

    async def _run(self, work: Work, step: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, work.context.run, step)


async def _send_whole(start: Message, piece: bytes, send: Send) -> None:
    await _send_piece(start, piece, send)
    await send(END)


async def _send_piece(start: Message | None, piece: bytes, send: Send) -> None:
    """Send what is made: not all at once, for a connection copies what it cannot send yet."""
    if start is not None:
        await send(start)
    for at in range(0, len(piece), PIECE_BYTES):
        body = piece[at : at + PIECE_BYTES]
        await send({"type": "http.response.body", "body": body, "more_body": True})
