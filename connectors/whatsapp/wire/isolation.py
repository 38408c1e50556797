"""Cut single updates out of a callback: for quarantine, for the dead, and to show one message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from connectors.whatsapp.wire.decoding import NotAnEnvelope, fingerprint, load, load_raw
from connectors.whatsapp.wire.parsing import SECTIONS, decode
from connectors.whatsapp.wire.payloads import Change, Element, Entry, Envelope, Value
from connectors.whatsapp.wire.people import contact_position
from connectors.whatsapp.wire.updates import WHOLE, CallbackBody, Frame, Path

# Of what stands beside an update only keys that parsing knows: what nobody reads may be large, and
# is copied with every update.
_BESIDE: dict[type[Element], frozenset[str]] = {
    struct: frozenset(struct.__struct_encode_fields__).difference(SECTIONS)
    for struct in (Envelope, Entry, Change, Value)
}
_BESIDE[Value] |= {"messaging_product"}
_WITH_POSITIONS = frozenset(("messages", "message_echoes", "statuses", "calls", "user_preferences"))
_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Isolator:
    """A body, decoded once, out of which any number of envelopes may be cut.

    Raises:
        NotAnEnvelope: the body is not a JSON object, or nested too deeply.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._tree = load_raw(body)
        self._envelope = decode(body)
        self._frames: dict[tuple[int, int], Frame] = {}

    def isolate(self, paths: Sequence[Path]) -> bytes:
        """Return an envelope that holds the updates at ``paths`` alone, with metadata and contacts.

        What is kept beside an update are keys that parsing knows; a value without lists stays
        whole. Parsing it gives the same events, in the order of ``paths``, which is the body's.

        Raises:
            NotAnEnvelope: an update is nested too deeply.
        """
        if any(path.entry == WHOLE for path in paths):
            return self._body
        entries = [
            self._entry(self._tree["entry"][position], list(group))
            for position, group in groupby(paths, lambda path: path.entry)
        ]
        try:
            beside = _beside(self._tree, Envelope)
            return json.dumps({**beside, "entry": entries}, separators=(",", ":")).encode()
        except RecursionError:
            raise NotAnEnvelope("nested too deeply") from None

    def _entry(self, entry: Any, paths: list[Path]) -> Any:
        if paths[0].section in ("entry", "changes"):
            return entry
        changes = []
        for (index, section), group in groupby(paths, lambda path: (path.change, path.section)):
            change = entry["changes"][index]
            if section not in ("change", "value"):
                value = self._value(change["value"], list(group))
                change = {**_beside(change, Change), "value": value}
            changes.append(change)
        return {**_beside(entry, Entry), "changes": changes}

    def _value(self, value: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
        section = paths[0].section
        kept = _beside(value, Value) | _section(value, paths)
        if isinstance(value.get("contacts"), list):
            if section in _WITH_POSITIONS:
                kept["contacts"] = self._contacts(value["contacts"], paths)
            elif section != "history":
                kept["contacts"] = []
        return kept

    def _contacts(self, contacts: list[Any], paths: list[Path]) -> list[Any]:
        """Return a contact for each update, in its position; an empty one where there is none, or
        where it stands before already: then it is found by its number.
        """
        frame = self._frame(paths[0])
        chosen: list[Any] = []
        seen: set[int | None] = set()
        for path in paths:
            siblings = getattr(frame.value, path.section) or ()
            item = siblings[path.index] if path.index != WHOLE and siblings else None
            position = contact_position(frame, item, path) if item is not None else None
            chosen.append({} if position is None or position in seen else contacts[position])
            seen.add(position)
        return chosen

    def _frame(self, path: Path) -> Frame:
        key = (path.entry, path.change)
        if key not in self._frames:
            entry = (self._envelope.entry or [])[path.entry]
            change = (entry.changes or [])[path.change] if entry is not None else None
            if entry is None or change is None or change.value is None:
                raise NotAnEnvelope("no such update")
            body = CallbackBody(self._body, _ANY_TIME, "")
            self._frames[key] = Frame(body, entry, change, change.value)
        return self._frames[key]


def message_json(body: bytes, wamid: str) -> dict[str, Any] | None:
    """Return the JSON object of the message, echo or history item whose id is ``wamid``.

    A message without an id goes by its ``sha256:…`` substitute.

    Raises:
        NotAnEnvelope: the body is not a JSON object, or nested too deeply.
    """
    by_content = wamid.startswith("sha256:")
    for message in _messages(load(body)):
        if message.get("id") == wamid:
            return message
        if by_content and not message.get("id") and fingerprint(message) == wamid:
            return message
    return None


def _beside(tree: dict[str, Any], struct: type[Element]) -> dict[str, Any]:
    return {key: item for key, item in tree.items() if key in _BESIDE[struct]}


def _section(value: dict[str, Any], paths: list[Path]) -> dict[str, Any]:
    name, _, inner = paths[0].section.partition(".")
    if paths[0].index == WHOLE and not inner:
        return {name: value[name]}
    if name == "standby":
        return {name: {inner: _picked(value[name][inner], paths)}}
    if name == "history":
        return {name: _chunks(value[name], paths)}
    return {name: _picked(value[name], paths)}


def _picked(items: Any, paths: list[Path]) -> Any:
    return items if paths[0].index == WHOLE else [items[path.index] for path in paths]


def _chunks(chunks: list[Any], paths: list[Path]) -> list[Any]:
    return [
        _chunk(chunks[index], list(group))
        for index, group in groupby(paths, lambda path: path.index)
    ]


def _chunk(chunk: Any, paths: list[Path]) -> Any:
    if not paths[0].sub:
        return chunk
    part, other = "threads", "errors"
    if paths[0].section == "history.errors":
        part, other = other, part
    kept = {key: item for key, item in chunk.items() if key != other}
    if paths[0].sub == (WHOLE,):
        return kept
    if part == "errors":
        return {**kept, part: [chunk[part][path.sub[0]] for path in paths]}
    return {**kept, part: _threads(chunk[part], paths)}


def _threads(threads: list[Any], paths: list[Path]) -> list[Any]:
    kept = []
    for index, group in groupby(paths, lambda path: path.sub[0]):
        subs = [path.sub for path in group]
        if len(subs[0]) == 1 or subs[0][1] == WHOLE:
            kept.append(threads[index])
        else:
            messages = [threads[index]["messages"][sub[1]] for sub in subs]
            kept.append({**threads[index], "messages": messages})
    return kept


def _messages(tree: Any) -> Iterator[dict[str, Any]]:
    for value in _objects(tree, "entry", "changes", "value"):
        yield from _objects(value, "messages")
        yield from _objects(value, "message_echoes")
        yield from _objects(value, "history", "threads", "messages")


def _objects(tree: Any, *keys: str) -> Iterator[dict[str, Any]]:
    """Yield every object at the end of ``keys``, through lists on the way."""
    if isinstance(tree, list):
        for item in tree:
            yield from _objects(item, *keys)
    elif isinstance(tree, dict):
        if keys:
            yield from _objects(tree.get(keys[0]), *keys[1:])
        else:
            yield tree
