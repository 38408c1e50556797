"""Read an untyped JSON tree into the typed structs, losing only what does not fit.

The fast decoder refuses a whole body for one value of the wrong type. This is the slow way round:
it knows nothing of WhatsApp, and follows the annotations of the structs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

S = TypeVar("S", bound=msgspec.Struct)

Fit = Callable[[Any, list[str]], Any]


class Misfit(Exception):
    """The value is of another type than the annotation says."""


def coerce(tree: object, kind: type[S]) -> S:
    """Return ``tree`` as a ``kind``, without what does not fit.

    A struct that has a field ``dropped`` gets the names of the keys lost in it; an element of a
    list that does not fit becomes ``None``, so that positions stay.

    Raises:
        Misfit: ``tree`` is not an object.
        RecursionError: it is nested too deeply.
    """
    struct: S = _struct_fitter(kind)(tree, [])
    return struct


@cache
def _struct_fitter(kind: type[msgspec.Struct]) -> Fit:
    plan: list[tuple[str, str, Fit]] = []
    reports = False
    for field in msgspec.structs.fields(kind):
        if field.name == "dropped":
            reports = True
        else:
            fit = _fitter(inspect.type_info(field.type))
            plan.append((field.name, field.encode_name, fit))

    def fit_struct(value: Any, dropped: list[str]) -> msgspec.Struct:
        if not isinstance(value, dict):
            raise Misfit
        mine: list[str] = [] if reports else dropped
        kept = _fields(value, plan, mine)
        return kind(**kept, dropped=tuple(mine)) if reports else kind(**kept)

    return fit_struct


def _fields(
    value: dict[str, Any], plan: list[tuple[str, str, Fit]], dropped: list[str]
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, key, fit in plan:
        if key in value:
            try:
                kept[name] = fit(value[key], dropped)
            except Misfit:
                dropped.append(key)
    return kept


def _fitter(kind: inspect.Type) -> Fit:
    if isinstance(kind, inspect.UnionType):
        return _union_fitter([_fitter(member) for member in kind.types])
    if isinstance(kind, inspect.ListType):
        return _list_fitter(_fitter(kind.item_type))
    if isinstance(kind, inspect.StructType):
        return _struct_fitter(kind.cls)
    return _SCALARS[type(kind)]


def _union_fitter(members: list[Fit]) -> Fit:
    def fit_union(value: Any, dropped: list[str]) -> Any:
        for fit in members:
            try:
                return fit(value, dropped)
            except Misfit:
                continue
        raise Misfit

    return fit_union


def _list_fitter(fit: Fit) -> Fit:
    def fit_element(value: Any, dropped: list[str]) -> Any:
        try:
            return fit(value, dropped)
        except Misfit:
            return None

    def fit_list(value: Any, dropped: list[str]) -> list[Any]:
        if not isinstance(value, list):
            raise Misfit
        return [fit_element(item, dropped) for item in value]

    return fit_list


def _fit_text(value: Any, _dropped: list[str]) -> str:
    if isinstance(value, str):
        return value
    raise Misfit


def _fit_bool(value: Any, _dropped: list[str]) -> bool:
    if isinstance(value, bool):
        return value
    raise Misfit


def _fit_int(value: Any, _dropped: list[str]) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Misfit


def _fit_float(value: Any, _dropped: list[str]) -> float:
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        raise Misfit
    try:
        number = float(value)
    except OverflowError:
        raise Misfit from None
    if not math.isfinite(number):
        raise Misfit
    return number


def _fit_object(value: Any, _dropped: list[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise Misfit


def _fit_null(value: Any, _dropped: list[str]) -> None:
    if value is not None:
        raise Misfit


_SCALARS: dict[type[inspect.Type], Fit] = {
    inspect.StrType: _fit_text,
    inspect.BoolType: _fit_bool,
    inspect.IntType: _fit_int,
    inspect.FloatType: _fit_float,
    inspect.NoneType: _fit_null,
    inspect.DictType: _fit_object,
    inspect.AnyType: lambda value, _dropped: value,
}
