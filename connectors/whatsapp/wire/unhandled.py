"""What we keep and count but do not model: find the word that says which kind it is."""

from __future__ import annotations

from connectors.whatsapp.wire.facts import error_code
from connectors.whatsapp.wire.frames import Frame
from connectors.whatsapp.wire.payloads import Element, Status, Value
from connectors.whatsapp.wire.updates import Event, Path, counted
from lib.masking import WORD_LENGTH, word
from messaging.events import Unhandled

_KEYS = ("event", "event_name", "action_type", "action", "type", "status", "value")


def read_unhandled(frame: Frame, item: Element, path: Path) -> tuple[Event, ...]:
    """Return the count of ``item``: its kind is a word of Meta's, or the list it stands in."""
    if path.section in ("errors", "history.errors"):
        return (counted(frame.field, f"error:{error_code(getattr(item, 'code', None))}"),)
    if isinstance(item, Status):  # of a call, or of another's: both words tell what it is
        kind = ":".join(filter(None, (word(item.type), word(item.status))))
    else:
        kind = _first_word(item, _KEYS)
    if path.section.startswith("standby."):
        kind = f"{path.section.removeprefix('standby.')}:{kind}"
    return (counted(frame.field, kind or path.section),)


def read_unhandled_value(frame: Frame, value: Value) -> tuple[Event, ...]:
    """Return the count of a change without lists; ``empty`` if we know none of its keys."""
    kind = _first_word(value, ("event", "decision", "type", "status", "alert_type"))
    if not kind and value.alert_info is not None:
        kind = word(value.alert_info.alert_type)
    return (counted(frame.field, kind or "empty"),)


def read_malformed(
    frame: Frame, dropped: tuple[str, ...], *, is_beside: bool = False
) -> tuple[Event, ...]:
    """Return one count for each key that held a value of the wrong type and was left out.

    ``is_beside``: the keys stand beside the updates of their change, each of which says so.
    """
    kinds = [f"malformed:{word(key)}"[:WORD_LENGTH] for key in dropped]
    return tuple(Unhandled(frame.field, kind, is_beside) for kind in kinds)


def _first_word(item: Element, keys: tuple[str, ...]) -> str:
    for key in keys:
        if found := word(getattr(item, key, None)):
            return found
    return ""
