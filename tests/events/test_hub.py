"""Nobody's slowness costs memory: a full queue becomes a gap."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from connectors.events.hub import MOST_QUEUED, Frame, Watcher
from connectors.events.visitors import Visitor


def frames(count: int, type: str = "message.received") -> list[Frame]:
    """Return some events."""
    return [Frame(type, b"event: %d" % number) for number in range(count)]


def watcher(*types: str) -> Watcher:
    """Return somebody who watches."""
    return Watcher(Visitor(uuid4(), "somebody"), frozenset(types))


def test_it_keeps_the_order() -> None:
    mine = watcher()
    mine.offer(frames(3))

    assert asyncio.run(mine.next(1)) == (False, frames(3))
    assert asyncio.run(mine.next(0)) == (False, [])


def test_it_drops_all_and_says_so_when_the_queue_is_full() -> None:
    mine = watcher()
    mine.offer(frames(MOST_QUEUED))
    mine.offer(frames(1))
    mine.offer(frames(2))

    assert asyncio.run(mine.next(1)) == (True, frames(2))
    assert asyncio.run(mine.next(0)) == (False, [])


def test_what_was_not_asked_for_fills_no_queue() -> None:
    mine = watcher("template.updated")
    mine.offer(frames(MOST_QUEUED + 1))

    assert asyncio.run(mine.next(0)) == (False, [])
