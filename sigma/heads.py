"""uvicorn's HTTP protocol with bounds: on heads, on waiting, and on connections.

uvicorn bounds none of them: one caller with headers without an end takes a process' memory, and
half a head is held for ever. The application bounds bodies itself. Chosen by ``--http
sigma.heads:Bounded``, together with ``--ws none``: a connection that is upgraded would leave the
counts.

Nothing here runs once per header; that alone would cost a sixth of the accepted callbacks.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import httptools
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from lib import metrics
from sigma.clients import subscriber

logger = logging.getLogger("sigma.whatsapp.web")

# Descriptors that are left to databases, brokers, files and calls of our own.
RESERVE = 300
# What is parsed between two looks at what is waiting for its end. uvloop reads 256 kB at once: as
# short headers, or as chunks of one byte, they would keep everybody waiting for 15 ms and more.
HEAD_PIECE_BYTES, BODY_PIECE_BYTES = 2_048, 8_192
# Pieces in which a body may come: so many at least, and one for so many bytes, which clients that
# send a list row by row exceed.
PIECES, BYTES_PER_PIECE = 500, 8

# How many were refused since the process began, by reason; for /healthz.
refused: Counter[str] = Counter()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process. Sweeps are a second apart; who waits longer than so many is let go."""

    # Bytes of a request's line and headers, of a trailer, of a chunk's extension; their number.
    head_bytes: int = 32_768
    fields: int = 100
    # Bytes of all heads that are not complete.
    all_heads_bytes: int = 64_000_000
    # Requests that one connection may send ahead of their answers.
    pipelined: int = 8
    sweep_seconds: float = 1.0
    # For a head, or for silence before it.
    head_sweeps: int = 10
    # For the next request after an answer. A proxy that sends it while we close loses it, so with
    # one this is longer than its own patience; strangers hold few of its connections.
    idle_seconds: int = 5
    # For an answer that is not read: so many bytes at least in so many sweeps.
    unread_sweeps: int = 30
    unread_bytes: int = 32_768
    # Sweeps between two log lines.
    log_sweeps: int = 60
    connections: int = 10_000
    # 0: no bound. Of loopback there is none, unless this is for trying it out.
    per_address: int = 0
    bounds_loopback: bool = False


def configured() -> Limits:
    """Return the bounds that the settings give; the operating system's come before them."""
    descriptors = _raise_descriptors(settings.SIGMA_CONNECTIONS + RESERVE)
    # Half of few, rather than none.
    room = max(descriptors // 2, descriptors - RESERVE)
    return Limits(
        connections=min(settings.SIGMA_CONNECTIONS, room),
        per_address=settings.SIGMA_CONNECTIONS_PER_ADDRESS,
        head_sweeps=settings.SIGMA_HEAD_SECONDS,
        idle_seconds=settings.SIGMA_KEEPALIVE_SECONDS,
    )


def _raise_descriptors(wanted: int) -> int:
    """Return how many descriptors this process may have, after asking for ``wanted``: shells start
    programs with 256 or 1,024, and allow more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    except (OSError, ValueError):  # macOS has a lower bound that it does not tell
        return soft
    return more


class Hall:
    """What the connections of one server have in common: counts, and the sweep over all."""

    def __init__(self, limits: Limits, connections: set[Any]) -> None:
        self.limits, self._connections = limits, connections
        # Connections that were let in, in all and by address; bytes of incomplete heads.
        self._count, self._by_address, self.held = 0, Counter[str](), 0
        self.tick = 0
        self._timer: asyncio.TimerHandle | None = None
        self._logged, self._counted = refused.copy(), refused.copy()

    def enter(self, address: str, loop: asyncio.AbstractEventLoop) -> str | None:
        """Count a connection in, or return why there is no room for it."""
        if self._count >= self.limits.connections:
            return "too_many_connections"
        if address and self._by_address[address] >= self.limits.per_address:
            return "too_many_of_one_address"
        self._count += 1
        if address:
            self._by_address[address] += 1
        if self._timer is None:
            self._timer = loop.call_later(self.limits.sweep_seconds, self._sweep, loop)
        return None

    def leave(self, address: str) -> None:
        """Count a connection out that was let in."""
        self._count -= 1
        if address:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def address_of(self, client: tuple[str, int] | None) -> str:
        """Return the address that a connection counts for; empty: for none."""
        address = subscriber(client[0]) if client and self.limits.per_address else None
        is_exempt = address and address.is_loopback and not self.limits.bounds_loopback
        return "" if address is None or is_exempt else str(address)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tick += 1
        for connection in list(self._connections):
            connection.sweep(self.tick)
        for reason, count in (refused - self._counted).items():
            metrics.CONNECTIONS_REFUSED.labels(reason).inc(count)
        self._counted = refused.copy()
        if self.tick % self.limits.log_sweeps == 0:
            self._log()
        self._timer = None
        if self._count or refused != self._logged:
            self._timer = loop.call_later(self.limits.sweep_seconds, self._sweep, loop)

    def _log(self) -> None:
        """Write one line about everybody who was refused since the last one."""
        counts = refused - self._logged
        if counts:
            logger.warning("whatsapp web refused callers", extra=dict(sorted(counts.items())))
            self._logged = refused.copy()


class ParsingEnded(Exception):
    """Ends the parsing of a request whose refusal is noted at its connection."""


class Bounded(HttpToolsProtocol):
    """One connection. ``limits`` of a subclass are for tests; else the settings give them."""

    limits: Limits | None = None
    _halls: ClassVar[WeakKeyDictionary[Any, Hall]] = WeakKeyDictionary()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        hall = self._halls.get(self.server_state)
        if hall is None:
            hall = Hall(self.limits or configured(), self.connections)
            self._halls[self.server_state] = hall
        self._hall, self._bounds = hall, hall.limits
        self.timeout_keep_alive = self._bounds.idle_seconds
        # Bytes since the last sign of progress (a head that is complete, a piece of a body), and
        # how many of them are counted as held by all.
        self._unread = self._held = 0
        # Of the body that is coming: in how many pieces, and how long.
        self._pieces = self._body_bytes = 0
        self._refusal: tuple[int, str] | None = None
        # The request that is being answered; ``cycle`` is the last one that came.
        self._answering: RequestResponseCycle | None = None
        # The request that the last sweeps found it waiting after, and how many they were.
        self._waits_after: object = None
        self._waits = 0
        # When writing was paused, and what was unsent then.
        self._paused_at: int | None = None
        self._unsent = 0
        self._is_in, self._address = False, ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or end it before anything of it is read."""
        super().connection_made(transport)
        self._address = self._hall.address_of(self.client)
        reason = self._hall.enter(self._address, self.loop)
        self._is_in = reason is None
        if reason:
            refused[reason] += 1
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what it held, and tell whoever answers that nobody listens."""
        super().connection_lost(exc)
        if self._answering is not None:  # uvicorn tells the last of those that were sent ahead
            self._answering.disconnected = True
            self._answering.message_event.set()
        for cycle in (*(ahead for ahead, _ in self.pipeline), self.cycle):
            if cycle is not None and cycle is not self._answering:
                cycle.on_response = lambda: None  # never begun; a reference to us, else garbage
        self.pipeline.clear()
        self._give_back()
        if self._is_in:
            self._is_in = False
            self._hall.leave(self._address)

    def data_received(self, data: bytes) -> None:
        """Parse, then look how much is waiting for its end."""
        if len(data) > HEAD_PIECE_BYTES and len(data) > self._piece():
            self._take_pieces(data)
            return
        self._unset_keepalive_if_required()
        self._unread += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "malformed")))
            return
        if self._unread:
            self._look()

    def _piece(self) -> int:
        """Return how much to parse at once, in a body or in a head."""
        cycle = self.cycle
        is_in_body = cycle is not None and cycle.more_body and not cycle.response_complete
        return BODY_PIECE_BYTES if is_in_body else HEAD_PIECE_BYTES

    def _take_pieces(self, data: bytes) -> None:
        start = 0
        while start < len(data) and not self.transport.is_closing():
            end = start + self._piece()
            self.data_received(data[start:end])
            start = end

    def _parse(self, data: bytes) -> None:
        """Parse. The parser skips the body of a request that asks for another protocol, which
        clients do that would like HTTP/2; it is parsed again without asking (RFC 9110, 7.8).
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                (end,) = upgrade.args
                if not self._asks_to_upgrade():
                    return
                data = self._plain_head() + data[end:]
                # This one is through with a connection that closes, and would drop what it is fed.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _asks_to_upgrade(self) -> bool:
        """Whether the parsed head asks for another protocol; not CONNECT, which the parser takes
        for the same and which is answered as it is.
        """
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _plain_head(self) -> bytes:
        version = self.parser.get_http_version().encode()
        fields = (pair for pair in self.headers if pair[0] != b"upgrade")
        return b"%s %s HTTP/%s\r\n%s\r\n" % (
            self.parser.get_method(),
            self.url,
            version,
            b"".join(b"%s: %s\r\n" % pair for pair in fields),
        )

    def _look(self) -> None:
        if self._unread > self._bounds.head_bytes or len(self.headers or ()) > self._bounds.fields:
            self._refuse(431, "head_too_large")
            return
        self._hall.held += self._unread - self._held
        self._held = self._unread
        if self._hall.held > self._bounds.all_heads_bytes:
            self._refuse(503, "heads_full")

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the head is too large or too much was sent ahead."""
        if self._asks_to_upgrade():
            return
        if len(self.headers) > self._bounds.fields or self._is_large():
            self._refusal = (431, "head_too_large")
            raise ParsingEnded
        if len(self.pipeline) >= self._bounds.pipelined:
            self._refusal = (429, "pipelined")
            raise ParsingEnded
        self._unread = self._pieces = self._body_bytes = 0
        if self._held:
            self._give_back()
        super().on_headers_complete()
        # The application has the list. What comes after the body goes into another: a trailer must
        # not pass for a header (RFC 9110, 6.5.1).
        self.headers = []

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """Let the application know that the body is whole, unless the request is parsed again."""
        if not self._asks_to_upgrade():
            super().on_message_complete()

    def _is_large(self) -> bool:
        if self._unread <= self._bounds.head_bytes:
            return False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return size > self._bounds.head_bytes

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, unless it comes in too many."""
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > PIECES + self._body_bytes // BYTES_PER_PIECE:
            self._refusal = (400, "body_in_crumbs")
            raise ParsingEnded
        self._unread = 0
        if self._held:
            self._give_back()
        super().on_body(body)

    def _give_back(self) -> None:
        self._hall.held -= self._held
        self._held = 0

    def pause_writing(self) -> None:
        """Remember since when the answer is not read."""
        super().pause_writing()
        self._paused_at, self._unsent = self._hall.tick, self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Forget it."""
        super().resume_writing()
        self._paused_at = None

    def sweep(self, tick: int) -> None:
        """End the connection if it has kept us waiting for too long."""
        if self.transport.is_closing():
            self._sweep_closing()
            return
        if self._paused_at is not None:
            self._sweep_unread(tick)
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.timeout_keep_alive_task is not None:
            self._waits = 0  # the application's time, or uvicorn's own
        elif not self._waits or self.cycle is not self._waits_after:
            self._waits, self._waits_after = 1, self.cycle
        else:
            self._waits += 1
        if self._waits > self._bounds.head_sweeps:
            self._refuse(*((408, "head_too_late") if self._unread else (0, "silent")))

    def _sweep_closing(self) -> None:
        """Do not wait for ever until somebody has read the last of it."""
        self._waits += 1
        if self._waits > self._bounds.unread_sweeps:
            self.transport.abort()

    def _sweep_unread(self, tick: int) -> None:
        if tick - (self._paused_at or 0) < self._bounds.unread_sweeps:
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent > self._unsent - self._bounds.unread_bytes:
            refused["answer_unread"] += 1
            self.transport.abort()
        self._paused_at, self._unsent = tick, unsent

    def _refuse(self, status: int, reason: str) -> None:
        """Close, with an answer where none is under way and ``status`` is one."""
        if self.transport.is_closing():
            return
        refused[reason] += 1
        cycle = self.cycle
        # Its body is coming, and it is its turn to be answered.
        is_coming = (
            cycle is not None
            and cycle is self._answering
            and cycle.more_body
            and not cycle.response_started
        )
        if status and (cycle is None or cycle.response_complete or is_coming):
            self.transport.write(
                STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
        if is_coming:  # nobody answers it a second time
            cycle.disconnected = True
            cycle.message_event.set()
        self._give_back()
        self.transport.close()
