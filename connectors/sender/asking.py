"""What a caller asks for: the body of ``/send``, and how long he wants to wait. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from connectors.sender.refusals import Refused, bad_request

FIELDS = ("phone", "message")
EXAMPLE = '{"phone": "+27821234567", "message": "Hello"}'
# Python's types of JSON's values, in JSON's words.
KINDS: dict[type, str] = {
    bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip
LONGEST_NAME = 64
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,6})"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text to a number, as it was given."""

    phone: str = field(repr=False)
    message: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Preference:
    """How a caller wants to be answered (RFC 7240): at once, or after so many seconds at most."""

    is_async: bool = False
    wait: int | None = None

    def seconds(self, most: float) -> float:
        """Return how long to wait for an outcome, ``most`` seconds at the longest.

        Rule: RFC 7240, §4.1 and §4.3: with both, the answer is early once ``wait`` is over.
        """
        if self.wait is not None:
            return min(float(self.wait), most)
        return 0.0 if self.is_async else most


def wanted_of(body: bytes) -> Wanted:
    """Read the body of ``/send``.

    Raises:
        Refused: it is not a JSON object with the two texts, and nothing else.
    """
    try:
        given = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise bad_request(f"The body is not JSON. Send {EXAMPLE}") from None
    if not isinstance(given, dict):
        raise bad_request(f"The body must be a JSON object: {EXAMPLE}")
    _refuse_strangers(given)
    return Wanted(*(_text(given, name) for name in FIELDS))


def preference_of(header: bytes) -> Preference:
    """Read a ``Prefer`` header; what is not understood in it is ignored, as RFC 7240 §2 wants."""
    is_async, wait = False, None
    for one in header.decode("latin-1").split(","):
        named = one.partition(";")[0].strip()
        if named.lower() == "respond-async":
            is_async = True
        elif wait is None and (found := _WAIT.fullmatch(named)):
            wait = int(found[1])
    return Preference(is_async, wait)


def _refuse_strangers(given: dict[str, Any]) -> None:
    strangers = [name for name in given if name not in FIELDS]
    if strangers:
        shown = ", ".join(_shown(name) for name in strangers[:5])
        raise _invalid(f"Unknown in the body: {shown}. It takes phone and message, nothing else.")


def _shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…")


def _text(given: dict[str, Any], name: str) -> str:
    if name not in given:
        raise _invalid(f"{name}: This is missing. Send {EXAMPLE}")
    value = given[name]
    if not isinstance(value, str):
        raise _invalid(f"{name}: This must be a text in quotes, not {KINDS[type(value)]}.")
    return value


def _invalid(message: str) -> Refused:
    return bad_request(message, code="INVALID_INPUT")
