"""From the bytes of a callback to typed structs, tolerantly: for what the fast decoder refuses.

That one refuses a whole body for one value of the wrong type. Here an untyped JSON tree is read
into the same structs by their annotations, and only what does not fit is lost.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from connectors.whatsapp.wire.payloads import Envelope, exact

REPLACEMENT = "\ufffd"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Python refuses to turn longer ones into an integer.
_MAX_INTEGER_DIGITS = 4000
_Struct = TypeVar("_Struct", bound=msgspec.Struct)
# Returns a value as its annotation says; the list collects the keys that did not fit.
_Fit = Callable[[Any, list[str]], Any]


class NotAnEnvelope(Exception):
    """The body is not a JSON object that could hold updates; the message says why."""


def decode_tolerantly(body: bytes) -> Envelope:
    """Return the typed envelope of ``body``.

    A value of the wrong type is dropped alone and named in ``dropped`` of the element around it.

    Raises:
        NotAnEnvelope: invalid JSON, nested too deeply, or not an object.
    """
    try:
        return _coerce(storable(_load(body, _EXACT)), Envelope)
    except _Misfit:
        raise NotAnEnvelope("not an object") from None
    except RecursionError:
        raise NotAnEnvelope("nested too deeply") from None


def load(body: bytes) -> Any:
    """Return the JSON value of ``body`` in a form that can be stored, see `storable`.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return storable(load_raw(body))


def load_raw(body: bytes) -> Any:
    """Return the JSON value of ``body`` untyped, as tolerantly as can be, text as it came.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return _load(body, _DECODER)


def load_embedded(text: str) -> Any:
    """Return the storable JSON value that Meta put into a string, numbers in their exact form.

    Raises:
        NotAnEnvelope: invalid JSON or nested too deeply.
    """
    return storable(_load(text.encode("utf-8", "surrogatepass"), _EXACT))


def _load(body: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        return decoder.decode(body.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise NotAnEnvelope("nested too deeply") from None
    except ValueError:
        raise NotAnEnvelope("invalid JSON") from None


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


def _clean_keys(node: dict[str, Any]) -> None:
    for key in [key for key in node if _UNSTORABLE.search(key)]:
        node[clean(key)] = node.pop(key)


def fingerprint(tree: object) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of ``tree``, for a message without an id."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else digits


_DECODER = json.JSONDecoder(parse_int=_integer, strict=False)
_EXACT = json.JSONDecoder(parse_int=_integer, parse_float=exact, strict=False)


class _Misfit(Exception):
    """The value is of another type than the annotation says."""


def _coerce(tree: object, kind: type[_Struct]) -> _Struct:
    """Return ``tree`` as a ``kind``, without what does not fit.

    A struct that has a field ``dropped`` gets the names of the keys lost in it; an element of a
    list that does not fit becomes ``None``, so that positions stay.

    Raises:
        _Misfit: ``tree`` is not an object.
        RecursionError: it is nested too deeply.
    """
    struct: _Struct = _struct_fitter(kind)(tree, [])
    return struct


@cache
def _struct_fitter(kind: type[msgspec.Struct]) -> _Fit:
    plan: list[tuple[str, str, _Fit]] = []
    reports = False
    for field in msgspec.structs.fields(kind):
        if field.name == "dropped":
            reports = True
        else:
            fit = _fitter(inspect.type_info(field.type))
            plan.append((field.name, field.encode_name, fit))

    def fit_struct(value: Any, dropped: list[str]) -> msgspec.Struct:
        if not isinstance(value, dict):
            raise _Misfit
        mine: list[str] = [] if reports else dropped
        kept = _fields(value, plan, mine)
        return kind(**kept, dropped=tuple(mine)) if reports else kind(**kept)

    return fit_struct


def _fields(
    value: dict[str, Any], plan: list[tuple[str, str, _Fit]], dropped: list[str]
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, key, fit in plan:
        if key in value:
            try:
                kept[name] = fit(value[key], dropped)
            except _Misfit:
                dropped.append(key)
    return kept


def _fitter(kind: inspect.Type) -> _Fit:
    if isinstance(kind, inspect.UnionType):
        return _union_fitter([_fitter(member) for member in kind.types])
    if isinstance(kind, inspect.ListType):
        return _list_fitter(_fitter(kind.item_type))
    if isinstance(kind, inspect.StructType):
        return _struct_fitter(kind.cls)
    return _SCALARS[type(kind)]


def _union_fitter(members: list[_Fit]) -> _Fit:
    def fit_union(value: Any, dropped: list[str]) -> Any:
        for fit in members:
            try:
                return fit(value, dropped)
            except _Misfit:
                continue
        raise _Misfit

    return fit_union


def _list_fitter(fit: _Fit) -> _Fit:
    def fit_element(value: Any, dropped: list[str]) -> Any:
        try:
            return fit(value, dropped)
        except _Misfit:
            return None

    def fit_list(value: Any, dropped: list[str]) -> list[Any]:
        if not isinstance(value, list):
            raise _Misfit
        return [fit_element(item, dropped) for item in value]

    return fit_list


def _fit_text(value: Any, _dropped: list[str]) -> str:
    if isinstance(value, str):
        return value
    raise _Misfit


def _fit_bool(value: Any, _dropped: list[str]) -> bool:
    if isinstance(value, bool):
        return value
    raise _Misfit


def _fit_int(value: Any, _dropped: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _Misfit


def _fit_float(value: Any, _dropped: list[str]) -> float:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise _Misfit
    try:
        number = float(value)
    except OverflowError:
        raise _Misfit from None
    if not math.isfinite(number):
        raise _Misfit
    return number


def _fit_object(value: Any, _dropped: list[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _Misfit


def _fit_null(value: Any, _dropped: list[str]) -> None:
    if value is not None:
        raise _Misfit


_SCALARS: dict[type[inspect.Type], _Fit] = {
    inspect.StrType: _fit_text,
    inspect.BoolType: _fit_bool,
    inspect.IntType: _fit_int,
    inspect.FloatType: _fit_float,
    inspect.NoneType: _fit_null,
    inspect.DictType: _fit_object,
    inspect.AnyType: lambda value, _dropped: value,
}
