"""Columns of values as arrays in PostgreSQL's binary format (``array_send`` in its source:
``src/backend/utils/adt/arrayfuncs.c``).

psycopg finds a dumper anew for every value; here the column's type is known. Measured by `make
bench`: a sixth of what storing a message costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from struct import Struct
from typing import Any

from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(2000, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
# Dimensions, whether there may be NULLs, the element's oid, elements, the first index.
_head = Struct(">iiIii").pack
_length = Struct(">i").pack
_NULL = _length(-1)

Encoder = Callable[[Any], bytes]


class Array(bytes):
    """An array as it goes over the wire."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """Passes an `Array` on; its type is that of the cast in the statement."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        """Return the bytes as they are."""
        return obj


def pack(kind: str, values: Sequence[Any]) -> Array:
    """Return ``values`` (``None``: NULL) as an array of ``kind``, one of `KINDS`.

    ``timestamptz`` takes aware datetimes, ``jsonb`` takes JSON text.
    """
    oid, encode = KINDS[kind]
    items = [_NULL if value is None else encode(value) for value in values]
    return Array(b"".join((_head(1, 1, oid, len(items), 1), *items)))


def _fixed(form: str, number: Callable[[Any], Any] | None = None) -> Encoder:
    item = Struct(">i" + form)
    size, write = item.size - 4, item.pack
    if number is None:
        return lambda value: write(size, value)
    return lambda value: write(size, number(value))


def _bytes(value: bytes | memoryview) -> bytes:
    return _length(len(value)) + value


def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


def _jsonb(value: str) -> bytes:
    data = value.encode()
    return _length(len(data) + 1) + b"\x01" + data


# Name of a type: the oid of it (``pg_type.dat``), and what encodes a value with its length.
KINDS: dict[str, tuple[int, Encoder]] = {
    "bool": (16, _fixed("?")),
    "bytea": (17, _bytes),
    "date": (1082, _fixed("i", lambda value: value.toordinal() - _FIRST_DAY)),
    "float8": (701, _fixed("d")),
    "int2": (21, _fixed("h")),
    "int4": (23, _fixed("i")),
    "int8": (20, _fixed("q")),
    "jsonb": (3802, _jsonb),
    "text": (25, _text),
    "timestamptz": (1184, _fixed("q", lambda value: (value - _EPOCH) // _MICROSECOND)),
    "uuid": (2950, lambda value: b"\x00\x00\x00\x10" + value.bytes),
}
