"""From the body of a callback to updates: every entry, every change, every list of it.

Nothing here decides what an update means; that is for `messages`, `people`, `template_changes` and,
for what is only counted, `updates`. Each update is read by itself, and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec.structs import replace

from connectors.whatsapp.wire.decoding import decode_tolerantly
from connectors.whatsapp.wire.messages import read_message, read_status
from connectors.whatsapp.wire.payloads import (
    ENVELOPE_DECODER,
    Change,
    Chunk,
    Element,
    Entry,
    Envelope,
    MessagePayload,
    Standby,
    Thread,
    Value,
)
from connectors.whatsapp.wire.people import (
    read_address_book,
    read_call,
    read_group,
    read_preference,
    read_update_of_id,
)
from connectors.whatsapp.wire.template_changes import FIELDS as TEMPLATE_FIELDS
from connectors.whatsapp.wire.template_changes import read_template_change
from connectors.whatsapp.wire.updates import (
    CLOUD_API,
    LINKED_DEVICE,
    WHOLE,
    CallbackBody,
    Event,
    Frame,
    Path,
    Update,
    counted,
    field_of,
    read_malformed,
    read_unhandled,
    read_unhandled_value,
    waba_of,
)
from lib.masking import word

OURS = frozenset((CLOUD_API, LINKED_DEVICE))
MALFORMED = "Malformed: something else stands where the update should be"
_NO_VALUE = Value()
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
_all_lists = attrgetter(*LISTS)
# Their value is one event, whatever lists it holds.
_WITHOUT_LISTS = frozenset(("flows", "account_update"))
_GROUPS = ("group_participants_update", "group_participant_update")
_ECHOES = ("smb_message_echoes", "message_echoes")
_Reader = Callable[[Frame, Any, Path], tuple[Event, ...]]
_READERS: dict[tuple[str, str], _Reader] = {
    **{(field, "messages"): read_message for field in ("messages", "history", "")},
    **{(field, "message_echoes"): read_message for field in ("messages", "history", "", *_ECHOES)},
    **{(field, "statuses"): read_status for field in ("messages", "history", "", *_ECHOES)},
    ("user_preferences", "user_preferences"): read_preference,
    ("smb_app_state_sync", "state_sync"): read_address_book,
    ("user_id_update", "user_id_update"): read_update_of_id,
    ("calls", "calls"): read_call,
    ("calls", "statuses"): read_call,
    **{(field, "groups"): read_group for field in _GROUPS},
}
# Where a value that is no object must be a mistake; that of another field is Meta's to choose.
_MODELLED = frozenset(field for field, _ in _READERS) | TEMPLATE_FIELDS


def parse(body: bytes, received_at: datetime) -> list[Update]:
    """Return every update of ``body`` in order, each with its events or the problem it has.

    ``received_at`` (aware) stands in for timestamps that are absent or bad. A body without any
    update counts as one, unhandled.

    Raises:
        NotAnEnvelope: the body is not a JSON object, or nested too deeply.
    """
    envelope = decode(body)
    if "entry" in envelope.dropped:
        return [_problem(0, Path(WHOLE, WHOLE, "entry", WHOLE))]
    source = CallbackBody(body, received_at, envelope.object or CLOUD_API)
    updates: list[Update] = []
    for index, entry in enumerate(envelope.entry or ()):
        if entry is None:
            updates.append(_problem(len(updates), Path(index, WHOLE, "entry", WHOLE)))
        else:
            _read_entry(source, entry, index, updates)
    return updates or [_empty_envelope()]


def decode(body: bytes) -> Envelope:
    """Return the typed envelope of ``body``, the fast way if all of it is as Meta documents it.

    Raises:
        NotAnEnvelope: see :func:`decode_tolerantly`.
    """
    # The typed decoder lets NUL pass, which PostgreSQL cannot store as text.
    if b"\\" not in body or b"\\u0000" not in body:
        try:
            return ENVELOPE_DECODER.decode(body)
        except (ValueError, RecursionError):
            pass
    return decode_tolerantly(body)


def _read_entry(body: CallbackBody, entry: Entry, position: int, updates: list[Update]) -> None:
    if "changes" in entry.dropped:
        path = Path(position, WHOLE, "changes", WHOLE)
        updates.append(_problem(len(updates), path, entry))
    for index, change in enumerate(entry.changes or ()):
        whole = Path(position, index, "value", WHOLE)
        if change is None:
            updates.append(_problem(len(updates), whole._replace(section="change"), entry))
        elif "value" in change.dropped:
            updates.append(_without_value(len(updates), whole, entry, change))
        else:
            frame = Frame(body, entry, change, change.value or _NO_VALUE)
            _read_change(frame, whole, updates)


def _read_change(frame: Frame, whole: Path, updates: list[Update]) -> None:
    before = len(updates)
    value = frame.value
    if frame.field not in _WITHOUT_LISTS and frame.body.object in OURS:
        for section, items in zip(LISTS, _all_lists(value), strict=True):
            if not items:
                continue
            reader = _READERS.get((frame.field, section), read_unhandled)
            for index, item in enumerate(items):
                path = Path(whole.entry, whole.change, section, index)
                updates.append(_update(frame, path, reader, item, len(updates)))
        if value.history or value.standby is not None or value.dropped:
            _read_nested(frame, whole, updates)
    if len(updates) == before:
        is_progress = value.history is not None or value.standby is not None
        reader = _read_progress if is_progress else _read_value
        updates.append(_update(frame, whole, reader, value, before))


def _read_nested(frame: Frame, whole: Path, updates: list[Update]) -> None:
    for path, element, thread in _nested_in(frame.value, whole.entry, whole.change):
        reader = read_unhandled if thread is None else partial(read_message, thread=thread)
        updates.append(_update(frame, path, reader, element, len(updates)))


def _update(frame: Frame, path: Path, reader: _Reader, element: Any, position: int) -> Update:
    """Read one update; whatever goes wrong is its own problem and stays out of its neighbours."""
    events: tuple[Event, ...] = ()
    problem = None if element is not None else MALFORMED
    if element is not None:
        try:
            events = reader(frame, element, path)
            if frame.dropped or element.dropped:
                events += _left_out(frame, element.dropped)
        except Exception as error:
            problem = f"{type(error).__name__}: the update could not be read"
    number, kind = frame.phone_number_id, frame.body.object
    return Update(path, frame.field, frame.waba_id, number, events, problem, kind, position)


def _read_value(frame: Frame, value: Value, _path: Path) -> tuple[Event, ...]:
    if frame.body.object not in OURS:
        return (counted(frame.field, f"object:{word(frame.body.object)}"),)
    template = read_template_change(frame)
    return (template,) if template is not None else read_unhandled_value(frame, value)


def _read_progress(_frame: Frame, _value: Value, _path: Path) -> tuple[Event, ...]:
    """Return nothing for an import, or a partner's turn, that has come no further."""
    return ()


def _left_out(frame: Frame, dropped: tuple[str, ...]) -> tuple[Event, ...]:
    beside = tuple(key for key in frame.dropped if key not in SECTIONS)
    return (
        *read_malformed(frame, beside, is_beside=True),
        *read_malformed(frame, dropped),
    )


def _without_value(position: int, path: Path, entry: Entry, change: Change) -> Update:
    """Return the update of a value that is no object: a mistake, or a field to come."""
    problem = _problem(position, path, entry, change)
    if problem.field in _MODELLED:
        return problem
    return replace(problem, events=(counted(problem.field, "value"),), problem=None)


def _problem(
    position: int, path: Path, entry: Entry | None = None, change: Change | None = None
) -> Update:
    waba_id = waba_of(entry) if entry is not None else ""
    field = field_of(entry, change) if entry is not None else ""
    return Update(path, field, waba_id, None, (), MALFORMED, position=position)


def _empty_envelope() -> Update:
    path = Path(WHOLE, WHOLE, "envelope", WHOLE)
    return Update(path, "", "", None, (counted("", "empty"),))


class _Found(NamedTuple):
    """An update's element, or ``None`` for something there that is not what it should be."""

    path: Path
    element: Element | MessagePayload | None
    thread: Thread | None = None


def _nested_in(value: Value, entry: int, change: int) -> Iterator[_Found]:
    """Yield what stands deeper than in a plain list, and each section that is no list at all."""
    for index, chunk in enumerate(value.history or ()):
        yield from _of_chunk(chunk, Path(entry, change, "history", index))
    if value.standby is not None:
        yield from _of_standby(value.standby, Path(entry, change, "standby", WHOLE))
    for section in value.dropped:
        if section in SECTIONS:
            yield _Found(Path(entry, change, section, WHOLE), None)


def _of_chunk(chunk: Chunk | None, path: Path) -> Iterator[_Found]:
    if chunk is None:
        yield _Found(path, None)
        return
    for index, thread in enumerate(chunk.threads or ()):
        yield from _of_thread(thread, path._replace(sub=(index,)))
    if "threads" in chunk.dropped:
        yield _Found(path._replace(sub=(WHOLE,)), None)
    errors = path._replace(section="history.errors")
    for index, error in enumerate(chunk.errors or ()):
        yield _Found(errors._replace(sub=(index,)), error)
    if "errors" in chunk.dropped:
        yield _Found(errors._replace(sub=(WHOLE,)), None)


def _of_thread(thread: Thread | None, path: Path) -> Iterator[_Found]:
    if thread is None:
        yield _Found(path, None)
        return
    for index, message in enumerate(thread.messages or ()):
        yield _Found(path._replace(sub=(*path.sub, index)), message, thread)
    if "messages" in thread.dropped:
        yield _Found(path._replace(sub=(*path.sub, WHOLE)), None)


def _of_standby(standby: Standby, path: Path) -> Iterator[_Found]:
    for name in _STANDBY_LISTS:
        section = f"standby.{name}"
        for index, item in enumerate(getattr(standby, name) or ()):
            yield _Found(path._replace(section=section, index=index), item)
        if name in standby.dropped:
            yield _Found(path._replace(section=section), None)
