"""Nobody's slowness costs memory: a full queue becomes a gap."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from connectors.events.stream import MAX_QUEUED, StreamedEvent, Watcher


def events(count: int, type: str = "message.received") -> list[StreamedEvent]:
    """Return some events."""
    return [StreamedEvent(type, b"event: %d" % number) for number in range(count)]


def watcher(*types: str) -> Watcher:
    """Return somebody who watches."""
    return Watcher(uuid4(), frozenset(types))


def test_it_keeps_the_order() -> None:
    mine = watcher()
    mine.offer(events(3))

    assert asyncio.run(mine.next(1)) == (False, events(3))
    assert asyncio.run(mine.next(0)) == (False, [])


def test_it_drops_all_and_says_so_when_the_queue_is_full() -> None:
    mine = watcher()
    mine.offer(events(MAX_QUEUED))
    mine.offer(events(1))
    mine.offer(events(2))

    assert asyncio.run(mine.next(1)) == (True, events(2))
    assert asyncio.run(mine.next(0)) == (False, [])


def test_what_was_not_asked_for_fills_no_queue() -> None:
    mine = watcher("template.updated")
    mine.offer(events(MAX_QUEUED + 1))

    assert asyncio.run(mine.next(0)) == (False, [])
