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
from uuid import UUID

from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(2000, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
# Dimensions, whether there may be NULLs, the element's oid, elements, the first index.
_head = Struct(">iiIii").pack
_length = Struct(">i").pack
_NULL, _SIXTEEN = _length(-1), _length(16)

# Encodes a column: each value with its length in front. All in one loop: a call a value would cost
# as much again.
Encoder = Callable[[Sequence[Any]], list[bytes]]


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
    return Array(b"".join((_head(1, 1, oid, len(values), 1), *encode(values))))


def _fixed(form: str) -> Encoder:
    item = Struct(">i" + form)
    size, write = item.size - 4, item.pack
    return lambda values: [_NULL if v is None else write(size, v) for v in values]


def _dates(values: Sequence[date | None]) -> list[bytes]:
    return _int4([None if v is None else v.toordinal() - _FIRST_DAY for v in values])


def _moments(values: Sequence[datetime | None]) -> list[bytes]:
    return _int8([None if v is None else (v - _EPOCH) // _MICROSECOND for v in values])


def _bytes(values: Sequence[bytes | memoryview | None]) -> list[bytes]:
    return [_NULL if v is None else _length(len(v)) + v for v in values]


def _texts(values: Sequence[str | None]) -> list[bytes]:
    return _bytes([None if v is None else v.encode() for v in values])


def _jsonb(values: Sequence[str | None]) -> list[bytes]:
    return _bytes([None if v is None else b"\x01" + v.encode() for v in values])


def _uuids(values: Sequence[UUID | None]) -> list[bytes]:
    return [_NULL if v is None else _SIXTEEN + v.int.to_bytes(16) for v in values]


_int4, _int8 = _fixed("i"), _fixed("q")

# Name of a type: the oid of it (``pg_type.dat``), and what encodes a column of it.
KINDS: dict[str, tuple[int, Encoder]] = {
    "bool": (16, _fixed("?")),
    "bytea": (17, _bytes),
    "date": (1082, _dates),
    "float8": (701, _fixed("d")),
    "int2": (21, _fixed("h")),
    "int4": (23, _int4),
    "int8": (20, _int8),
    "jsonb": (3802, _jsonb),
    "text": (25, _texts),
    "timestamptz": (1184, _moments),
    "uuid": (2950, _uuids),
}
