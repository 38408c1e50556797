"""One subscription to the broker per process, fanned out to all streams that watch.

A slow stream has a bounded queue: when it is full it is emptied, and the stream says that something
is missing (``gap``), as all do after the broker was away.
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

from workspaces import live
from workspaces.event_types import is_wanted

logger = logging.getLogger("sigma.whatsapp.events")

MAX_QUEUED = 1_000
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5


class PublishedEvent(Struct):
    """An event as it was published; what is only passed on stays undecoded."""

    id: str
    type: str
    timestamp: Raw
    data: Raw


class StreamedEvent(Struct, frozen=True):
    """An event as it is sent to a watcher."""

    type: str
    text: bytes


_decoder = json.Decoder(list[PublishedEvent])


class Watcher:
    """What one stream still has to send."""

    def __init__(self, tenant_id: UUID, types: frozenset[str]) -> None:
        self.channel, self._types = live.channel(tenant_id), types
        self._queue: deque[StreamedEvent] = deque()
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.has_started = self.is_over = self._gap = False

    def offer(self, events: Sequence[StreamedEvent]) -> None:
        """Queue what it wants; where that is too much, remember a gap instead."""
        wanted = [event for event in events if is_wanted(event.type, self._types)]
        if len(self._queue) + len(wanted) > MAX_QUEUED:
            self.mark_gap()
        elif wanted:
            self._queue.extend(wanted)
            self._changed.set()

    def mark_gap(self) -> None:
        """Drop what is queued: the client has to ask again for what it shows."""
        self._queue.clear()
        self._gap = True
        self._changed.set()

    def end(self) -> None:
        """End the stream."""
        self.is_over = True
        self._changed.set()

    async def next(self, seconds: float) -> tuple[bool, list[StreamedEvent]]:
        """Return whether something was missed, and then what came, within some seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()
        gap, events = self._gap, list(self._queue)
        self._gap = False
        self._queue.clear()
        return gap, events


class Hub:
    """All watchers of a process. Everything happens on the event loop."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[Watcher]] = {}
        self._redis: Redis | None = None
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    def count(self, tenant_id: UUID | None = None) -> int:
        """Return how many watch: all, or those of a tenant."""
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
        """Remove a watcher, and its tenant's channel with the last one."""
        channel = watcher.channel
        others = self._watchers.get(channel, set())
        others.discard(watcher)
        if not others:
            self._watchers.pop(channel, None)
            if self._pubsub is not None:
                with suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(channel)

    def end(self) -> None:
        """End every stream."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end()

    async def close(self) -> None:
        """Close the connection to the broker."""
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
                    self._handle(message)
        finally:
            self._pubsub = None
            with suppress(RedisError, OSError):
                await redis.aclose()

    def _handle(self, message: dict[str, Any]) -> None:
        watchers = self._watchers.get(message["channel"].decode(), ())
        if message["type"] == "subscribe":
            for watcher in watchers:
                # The first time it is the beginning; later the broker was away in between.
                if watcher.has_started:
                    watcher.mark_gap()
                watcher.ready.set()
        elif message["type"] == "message" and watchers:
            events = _events(message["data"])
            for watcher in watchers:
                watcher.offer(events)


def _events(data: bytes) -> list[StreamedEvent]:
    try:
        events = _decoder.decode(data)
    except DecodeError:
        logger.warning("whatsapp live events: what was published could not be read")
        return []
    return [StreamedEvent(event.type, _text(event)) for event in events]


def _text(event: PublishedEvent) -> bytes:
    body = {"type": event.type, "timestamp": event.timestamp, "data": event.data}
    head = f"event: {event.type}\nid: {event.id}\ndata: "
    return head.encode() + json.encode(body) + b"\n\n"
