"""Keep phone numbers out of everything that is stored in the clear beside a message's own text.

Two strengths: ``mask`` for free text written by Meta or typed into forms, ``conceal`` for names and
identifiers, where a long number is usually a catalogue or order id and must survive.
"""

from __future__ import annotations

import re

MASK = "•••"
WORD_LENGTH = 64
_PHONE_LIKE = re.compile(r"\+?\(?\d(?:[\s().\-\u2010-\u2015/_]{0,3}\d){6,}")
_INTERNATIONAL = re.compile(r"\+\(?\d(?:[\s().\-\u2010-\u2015/_]{0,3}\d){6,}")
_WAMID = re.compile(r"\b(?:wamid|wacid)\.[\w+/=\-]+")
_ISO_DATE = re.compile(r"(?:19|20)\d\d-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])(?:\s\d\d?)?")
_DIGIT = re.compile(r"\d")
_NOT_A_DIGIT = re.compile(r"\D+")
_NOT_A_WORD = re.compile(r"[^a-z0-9_.:-]+")

# Enough to recognise one person's number with or without its country code or trunk zero.
_TAIL = 8
_SEVEN_DIGITS = 1_000_000


def mask(text: str) -> str:
    """Replace every message id and every run of 7 or more digits that may be a phone number.

    Spaces, dashes, dots, slashes and parentheses inside a run do not hide it; ISO dates survive.
    """
    return _PHONE_LIKE.sub(_unless_date, _WAMID.sub(MASK, text))


def mask_number(digits: str) -> str:
    """Return a number's digits as people see it, such as ``+27XXXXXXXXX``; empty: not known."""
    return f"+{digits[:2]}{'X' * (len(digits) - 2)}" if digits else ""


def conceal(text: str, own: str | None) -> str:
    """Replace message ids, international numbers, and ``own`` (digits) in any way of writing it."""
    text = _INTERNATIONAL.sub(MASK, _WAMID.sub(MASK, text))
    if not own:
        return text
    tail = own[-_TAIL:]
    return _PHONE_LIKE.sub(
        lambda run: MASK if tail in _NOT_A_DIGIT.sub("", run[0]) else run[0], text
    )


def mask_tree(value: object, levels: int = 50) -> object:
    """Return a JSON value with every phone-like string, key and number masked.

    Raises:
        RecursionError: more than ``levels`` deep.
    """
    if levels == 0:
        raise RecursionError
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(key): mask_tree(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_tree(item, levels - 1) for item in value]
    if isinstance(value, int | float) and abs(value) >= _SEVEN_DIGITS:
        return MASK
    return value


def conceal_tree(tree: dict[str, object], own: str | None) -> dict[str, object]:
    """Return ``tree`` with every string in it concealed, see `conceal`."""
    return {key: _conceal_value(value, own) for key, value in tree.items()}


def _conceal_value(value: object, own: str | None) -> object:
    if isinstance(value, str):
        return conceal(value, own)
    if isinstance(value, dict):
        return conceal_tree(value, own)
    if isinstance(value, list | tuple):
        return [_conceal_value(item, own) for item in value]
    return value


def person_name(name: str | None, own: str | None) -> str | None:
    """Return a profile name or username, or ``None`` if it is blank or gives a number away."""
    if name is None or not (name := name.strip()):
        return None
    if _DIGIT.search(name) is None:
        return name
    return name if mask(conceal(name, own)) == name else None


def word(text: object) -> str:
    """Return a content-free lower-case word (at most `WORD_LENGTH`) for counters and types."""
    if not isinstance(text, str | int):
        return ""
    masked = mask(str(text)[:WORD_LENGTH]).lower()
    return _NOT_A_WORD.sub("_", masked)[:WORD_LENGTH].strip("_")


def _unless_date(run: re.Match[str]) -> str:
    return run[0] if _ISO_DATE.fullmatch(run[0]) else MASK
