"""From the bytes of a callback to typed structs: a fast way, and a tolerant one if that fails."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

from connectors.whatsapp.wire.coerce import Misfit, coerce
from connectors.whatsapp.wire.payloads import ENVELOPE_DECODER, Envelope, exact

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Python refuses to turn longer ones into an integer.
_MAX_INTEGER_DIGITS = 4000


class NotAnEnvelope(Exception):
    """The body is not a JSON object that could hold updates; the message says why."""


def decode(body: bytes) -> Envelope:
    """Return the typed envelope of ``body``.

    A value of the wrong type is dropped alone and named in ``dropped`` of the element around it.

    Raises:
        NotAnEnvelope: invalid JSON, nested too deeply, or not an object.
    """
    # The typed decoder lets NUL pass, which PostgreSQL cannot store as text.
    if b"\\" not in body or b"\\u0000" not in body:
        try:
            return ENVELOPE_DECODER.decode(body)
        except (ValueError, RecursionError):
            pass
    try:
        return coerce(storable(_load(body, _EXACT)), Envelope)
    except Misfit:
        raise NotAnEnvelope("not an object") from None
    except RecursionError:
        raise NotAnEnvelope("nested too deeply") from None


def load_raw(body: bytes) -> Any:
    """Return the JSON value of ``body`` untyped, as tolerantly as can be, text as it came.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return _load(body, _DECODER)


def _load(body: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(body.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise NotAnEnvelope("nested too deeply") from None
    except ValueError:
        raise NotAnEnvelope("invalid JSON") from None


def load(body: bytes) -> Any:
    """Return the JSON value of ``body`` in a form that can be stored, see `storable`.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return storable(load_raw(body))


def load_embedded(text: str) -> Any:
    """Return the storable JSON value that Meta put into a string, numbers in their exact form.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return storable(_load(text.encode("utf-8", "surrogatepass"), _EXACT))


def storable(tree: Any) -> Any:
    """Replace, in place, what PostgreSQL cannot hold: lone surrogates, NUL, NaN and infinities."""
    root = [tree]
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            _clean_keys(node)
            items = list(node.items())
        else:
            items = list(enumerate(node))
        for key, value in items:
            if isinstance(value, dict | list):
                waiting.append(value)
            elif isinstance(value, str):
                node[key] = clean(value)
            elif isinstance(value, float) and not math.isfinite(value):
                node[key] = None
    return root[0]


def clean(text: str) -> str:
    """Return ``text`` with U+FFFD for each lone surrogate and NUL."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def fingerprint(tree: object) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of ``tree``, for a message without an id."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _clean_keys(node: dict[str, Any]) -> None:
    for key in [key for key in node if _UNSTORABLE.search(key)]:
        node[clean(key)] = node.pop(key)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else digits


_DECODER = json.JSONDecoder(parse_int=_integer, strict=False)
_EXACT = json.JSONDecoder(parse_int=_integer, parse_float=exact, strict=False)
