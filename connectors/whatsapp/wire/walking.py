"""Every update of a change, wherever Meta nests it: plain lists, history threads, standby."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from connectors.whatsapp.wire.payloads import Chunk, Element, Message, Standby, Thread, Value
from connectors.whatsapp.wire.updates import WHOLE, Path

# The lists of a value whose elements are one update each.
LISTS = (
    "messages",
    "statuses",
    "message_echoes",
    "errors",
    "user_actions",
    "calls",
    "groups",
    "user_preferences",
    "state_sync",
    "automatic_events",
    "user_id_update",
)
SECTIONS = (*LISTS, "history", "standby")
_STANDBY_LISTS = ("messages", "statuses", "message_echoes")


class Found(NamedTuple):
    """An update's element, or ``None`` for something there that is not what it should be."""

    path: Path
    element: Element | Message | None
    thread: Thread | None = None


def lists(value: Value) -> list[tuple[str, list[Element | Message | None]]]:
    """Return the plain lists of ``value`` that hold something, each with its name."""
    return [(name, items) for name, items in zip(LISTS, _lists_of(value), strict=True) if items]


def nested(value: Value, entry: int, change: int) -> Iterator[Found]:
    """Yield what stands deeper than in a plain list, and each section that is no list at all."""
    for index, chunk in enumerate(value.history or ()):
        yield from _of_chunk(chunk, Path(entry, change, "history", index))
    if value.standby is not None:
        yield from _of_standby(value.standby, Path(entry, change, "standby", WHOLE))
    for section in value.dropped:
        if section in SECTIONS:
            yield Found(Path(entry, change, section, WHOLE), None)


def _of_standby(standby: Standby, path: Path) -> Iterator[Found]:
    for name in _STANDBY_LISTS:
        section = f"standby.{name}"
        for index, item in enumerate(getattr(standby, name) or ()):
            yield Found(path._replace(section=section, index=index), item)
        if name in standby.dropped:
            yield Found(path._replace(section=section), None)


def _of_chunk(chunk: Chunk | None, path: Path) -> Iterator[Found]:
    if chunk is None:
        yield Found(path, None)
        return
    for index, thread in enumerate(chunk.threads or ()):
        yield from _of_thread(thread, path._replace(sub=(index,)))
    if "threads" in chunk.dropped:
        yield Found(path._replace(sub=(WHOLE,)), None)
    errors = path._replace(section="history.errors")
    for index, error in enumerate(chunk.errors or ()):
        yield Found(errors._replace(sub=(index,)), error)
    if "errors" in chunk.dropped:
        yield Found(errors._replace(sub=(WHOLE,)), None)


def _of_thread(thread: Thread | None, path: Path) -> Iterator[Found]:
    if thread is None:
        yield Found(path, None)
        return
    for index, message in enumerate(thread.messages or ()):
        yield Found(path._replace(sub=(*path.sub, index)), message, thread)
    if "messages" in thread.dropped:
        yield Found(path._replace(sub=(*path.sub, WHOLE)), None)


_lists_of = attrgetter(*LISTS)
