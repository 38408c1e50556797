"""An answer of the Graph API, before anybody judged it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

Json = dict[str, object]


class Answer(NamedTuple):
    """Status, headers (looked up in lower case) and the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Json | None:
        """The body, if it is a JSON object."""
        return json_object(self.body)


def json_object(body: bytes) -> Json | None:
    """Return the JSON object that ``body`` is, or ``None``."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def member(value: object, key: str) -> Json:
    """Return the object under ``key``; whatever is none counts as an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def members(value: object, key: str) -> list[Json]:
    """Return the objects in the list under ``key``, without whatever else is in it."""
    found = value.get(key) if isinstance(value, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def text(value: object, key: str) -> str:
    """Return the text under ``key``; an id that came as a number counts as text."""
    found = value.get(key) if isinstance(value, dict) else None
    if isinstance(found, bool):
        return ""
    return str(found) if isinstance(found, str | int) else ""


def integer(value: object, key: str) -> int | None:
    """Return the whole number under ``key``."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
