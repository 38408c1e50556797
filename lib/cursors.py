"""Pages of lists: some rows, and where they end, as a cursor that is opaque to callers.

Most lists are ordered by time and id, which is a key of their index. A row of a table whose numbers
count over all tenants has its number enciphered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Generic, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Row = TypeVar("Row")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
VERSION = 1
FORM = struct.Struct(">Bq16s")
# Bytes of one block of AES: half the owner's digest, half the number.
BLOCK = 16


class InvalidCursor(ValueError):
    """This is not a cursor of ours; use endCursor or startCursor of an earlier page."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list in its order, and whether there may be more after them. A filter may have
    looked further than the last of them: to ``looked_to``.
    """

    rows: Sequence[Row]
    has_more: bool
    looked_to: Cursor | None = None

    @classmethod
    def of(cls, found: Sequence[Row], limit: int) -> Page[Row]:
        """Return the page of ``found``, which has one row more than ``limit`` if there are more."""
        return cls(found[:limit], len(found) > limit)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one row in a list that is ordered by time and id."""

    timestamp: datetime
    id: UUID


def encode(cursor: Cursor) -> str:
    """Return the text form: URL-safe base64 of version, microseconds and id."""
    micros = (cursor.timestamp - EPOCH) // MICROSECOND
    return _text(FORM.pack(VERSION, micros, cursor.id.bytes))


def decode(text: str) -> Cursor:
    """Return the cursor in ``text``.

    Raises:
        InvalidCursor: anything that ``encode`` did not make.
    """
    try:
        version, micros, raw = FORM.unpack(_bytes(text))
        cursor = Cursor(EPOCH + timedelta(microseconds=micros), UUID(bytes=raw))
    except (struct.error, OverflowError):
        raise InvalidCursor from None
    if version != VERSION:
        raise InvalidCursor
    return cursor


def encode_number(number: int, *, owner: UUID, key: str) -> str:
    """Return a row's number as text, enciphered together with its owner; ``key`` is secret."""
    block = _digest(owner) + number.to_bytes(8)
    return _text(_cipher(key).encryptor().update(block))


def decode_number(text: str, *, owner: UUID, key: str) -> int:
    """Return the number in ``text``.

    Raises:
        InvalidCursor: anything that ``encode_number`` did not make for this owner.
    """
    sealed = _bytes(text)
    if len(sealed) != BLOCK:
        raise InvalidCursor
    block = _cipher(key).decryptor().update(sealed)
    if not hmac.compare_digest(block[:8], _digest(owner)):
        raise InvalidCursor
    return int.from_bytes(block[8:])


def _text(packed: bytes) -> str:
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        packed = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidCursor from None
    # Base64 has several spellings of one value; only ours is accepted.
    if _text(packed) != text:
        raise InvalidCursor
    return packed


@cache
def _cipher(key: str) -> Cipher[modes.ECB]:
    # One block, and no two the same: what ECB is right for.
    return Cipher(algorithms.AES(hashlib.sha256(key.encode()).digest()), modes.ECB())  # noqa: S305


def _digest(owner: UUID) -> bytes:
    return hashlib.sha256(owner.bytes).digest()[:8]
