"""Recognise phone numbers and message ids in values that are stored beside a message's own text.

`holds_number` tells which values of a message must be sealed. ``mask`` and ``conceal`` replace
numbers in texts that nobody needs exactly: reasons, log lines, names of templates.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from lib.numbering import endings

MASK = "•••"
WORD_LENGTH = 64
_PHONE_LIKE = re.compile(r"\+?\(?\d(?:[\s().\-\u2010-\u2015/_]{0,3}\d){6,}")
_INTERNATIONAL = re.compile(r"\+\(?\d(?:[\s().\-\u2010-\u2015/_]{0,3}\d){6,}")
_WAMID = re.compile(r"\b(?:wamid|wacid)\.[\w+/=\-]+")
_ISO_DATE = re.compile(r"(?:19|20)\d\d-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])(?:\s\d\d?)?")
_DIGIT = re.compile(r"\d")
_NOT_A_DIGIT = re.compile(r"\D+")
_NOT_A_WORD = re.compile(r"[^a-z0-9_.:-]+")

# What people, phones and programs put between the digits of a number; some of it is invisible.
_BETWEEN = r"[\s().\-/_\u00b7\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060\u2212]{0,3}"
_WITH_PLUS = re.compile(rf"\+\(?[1-9](?:{_BETWEEN}\d){{6,}}")
_SUSPICIOUS = re.compile(r"(?:\d[\W_]*){5}|\bwa(?:m|c)id\.")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

# Enough to recognise one person's number with or without its country code or trunk zero.
_TAIL = 8
# Deeper than any form, and than PostgreSQL and our own readers go without harm.
_MOST_LEVELS = 50


def number_endings(numbers: Iterable[str | None]) -> frozenset[str]:
    """Return what `holds_number` looks for to recognise these numbers (digits)."""
    return frozenset(ending for digits in numbers if digits for ending in endings(digits))


def has_digit(text: str) -> bool:
    """Tell whether ``text`` may hold a number at all, which is quick: few names do."""
    return _DIGIT.search(text) is not None


def holds_number(text: str, wanted: Iterable[str]) -> bool:
    """Tell whether ``text`` holds an international number, a message id, or one of some numbers.

    ``wanted`` are their `number_endings`. They are found with any separators, without the country
    code or the trunk zero, in digits of any script, and percent-encoded.
    """
    if _SUSPICIOUS.search(text) is None:
        return False
    ways = {text, unquote(text)} if "%" in text else {text}
    return any(_holds(way if way.isascii() else _ascii_digits(way), wanted) for way in ways)


def _holds(text: str, wanted: Iterable[str]) -> bool:
    if _WITH_PLUS.search(text) or _WAMID.search(text):
        return True
    bare = _NOT_ALPHANUMERIC.sub("", text)
    return any(ending in bare for ending in wanted)


def _ascii_digits(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text)
    return re.sub(r"\d", lambda digit: str(unicodedata.digit(digit[0])), plain)


def as_it_came(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """Return a JSON value unchanged.

    Raises:
        RecursionError: it is nested more than ``levels`` deep.
    """
    if isinstance(value, dict | list):
        if levels == 0:
            raise RecursionError
        for item in value.values() if isinstance(value, dict) else value:
            as_it_came(item, levels - 1)
    return value


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


def account_name(name: str | None, own: str | None) -> str | None:
    """Return a linked device's account name without the number it may give away; blank: ``None``.

    Other numbers are part of the name. It belongs to no day, whose key could seal it.
    """
    if name is None or not (name := name.strip()):
        return None
    if not has_digit(name):
        return name
    wanted = number_endings([own])
    if not holds_number(name, wanted):
        return name
    concealed = conceal(name, own)
    return MASK if holds_number(concealed, wanted) else concealed


def word(text: object) -> str:
    """Return a content-free lower-case word (at most `WORD_LENGTH`) for counters and types."""
    if not isinstance(text, str | int):
        return ""
    masked = mask(str(text)[:WORD_LENGTH]).lower()
    return _NOT_A_WORD.sub("_", masked)[:WORD_LENGTH].strip("_")


def _unless_date(run: re.Match[str]) -> str:
    return run[0] if _ISO_DATE.fullmatch(run[0]) else MASK
