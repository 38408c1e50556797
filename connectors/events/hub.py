"""One subscription to the broker per process, fanned out to everybody who watches.

Who is slow has a bounded queue: it is emptied, and he is told that he missed something (``gap``),
as is everybody after the broker was away.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings
from msgspec import DecodeError, Raw, Struct, json
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from connectors.events.visitors import Visitor
from workspaces import live
from workspaces.event_types import is_wanted

logger = logging.getLogger("sigma.whatsapp.events")

MOST_QUEUED = 1_000
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Wire(Struct):
    """An event as it was published; what is only passed on is not read."""

    id: str
    type: str
    timestamp: Raw
    data: Raw


class Frame(Struct, frozen=True):
    """An event as it is sent to a watcher."""

    type: str
    text: bytes


_decoder = json.Decoder(list[Wire])


class Watcher:
    """What one stream still has to send."""

    def __init__(self, visitor: Visitor, types: frozenset[str]) -> None:
        self.visitor, self._types = visitor, types
        self.channel = live.channel(visitor.tenant_id)
        self._queue: deque[Frame] = deque()
        self._news = asyncio.Event()
        self.ready = asyncio.Event()
        self.is_greeted = self.is_over = self._gap = False

    def offer(self, frames: Sequence[Frame]) -> None:
        """Queue what it wants; where that is too much, remember a gap instead."""
        wanted = [frame for frame in frames if is_wanted(frame.type, self._types)]
        if len(self._queue) + len(wanted) > MOST_QUEUED:
            self.miss()
        elif wanted:
            self._queue.extend(wanted)
            self._news.set()

    def miss(self) -> None:
        """Drop what is queued: the watcher has to look for himself."""
        self._queue.clear()
        self._gap = True
        self._news.set()

    def end(self) -> None:
        """Let the stream come to its end."""
        self.is_over = True
        self._news.set()

    async def next(self, seconds: float) -> tuple[bool, list[Frame]]:
        """Return whether something was missed, and then what came, within some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()
        gap, frames = self._gap, list(self._queue)
        self._gap = False
        self._queue.clear()
        return gap, frames


class Hub:
    """All watchers of a process. Everything happens on the event loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}
        self._redis: Redis | None = None
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    def count(self, tenant_id: UUID | None = None) -> int:
        """Return how many watch: all, or a tenant's."""
        if tenant_id is not None:
            return len(self._watchers.get(live.channel(tenant_id), ()))
        return sum(map(len, self._watchers.values()))

    async def join(self, watcher: Watcher) -> None:
        """Begin to fill a watcher's queue; its ``ready`` says from when on nothing is missed."""
        channel = watcher.channel
        others = self._watchers.setdefault(channel, set())
        if any(other.ready.is_set() for other in others):
            watcher.ready.set()
        others.add(watcher)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        elif len(others) == 1 and self._pubsub is not None:
            with suppress(RedisError, OSError):  # the reader comes back and subscribes to all
                await self._pubsub.subscribe(channel)

    async def leave(self, watcher: Watcher) -> None:
        """Forget a watcher, and his tenant's channel with the last one."""
        channel = watcher.channel
        others = self._watchers.get(channel, set())
        others.discard(watcher)
        if not others:
            self._watchers.pop(channel, None)
            if self._pubsub is not None:
                with suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(channel)

    def end(self) -> None:
        """Let every stream come to its end."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def close(self) -> None:
        """Let go of the broker."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    async def _read(self) -> None:
        while True:
            try:
                await self._follow()
            except (RedisError, OSError) as error:
                kind = type(error).__name__
                logger.warning("whatsapp live events interrupted", extra={"error": kind})
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        """Subscribe to the channels of all watchers and pass on what comes, until it breaks."""
        redis = Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=10
        )
        try:
            self._pubsub = pubsub = redis.pubsub()
            if self._watchers:
                await pubsub.subscribe(*self._watchers)
            while True:
                if not pubsub.subscribed:
                    await asyncio.sleep(POLL_SECONDS / 20)
                    continue
                message = await pubsub.get_message(timeout=POLL_SECONDS)
                if message is not None:
                    self._take(message)
        finally:
            self._pubsub = None
            with suppress(RedisError, OSError):
                await redis.aclose()

    def _take(self, message: dict[str, Any]) -> None:
        watchers = self._watchers.get(message["channel"].decode(), ())
        if message["type"] == "subscribe":
            for watcher in watchers:
                # The first time it is the beginning, later the broker was away in between.
                if watcher.is_greeted:
                    watcher.miss()
                watcher.ready.set()
        elif message["type"] == "message" and watchers:
            frames = _frames(message["data"])
            for watcher in watchers:
                watcher.offer(frames)


def _frames(data: bytes) -> list[Frame]:
    try:
        events = _decoder.decode(data)
    except DecodeError:
        logger.warning("whatsapp live events: what was published could not be read")
        return []
    return [Frame(event.type, _text(event)) for event in events]


def _text(event: Wire) -> bytes:
    body = {"type": event.type, "timestamp": event.timestamp, "data": event.data}
    head = f"event: {event.type}\nid: {event.id}\ndata: "
    return head.encode() + json.encode(body) + b"\n\n"
