"""Where a page of messages ends: opaque to callers, a key of the index to us."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
VERSION = 1
FORM = struct.Struct(">Bq16s")
LENGTH = len(base64.urlsafe_b64encode(bytes(FORM.size)).rstrip(b"="))


class InvalidCursor(ValueError):
    """This is not a cursor of ours; use endCursor or startCursor of an earlier page."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of one message in its workspace."""

    timestamp: datetime
    id: UUID


def encode(cursor: Cursor) -> str:
    """Return the text form: URL-safe base64 of version, microseconds and id."""
    micros = (cursor.timestamp - EPOCH) // MICROSECOND
    packed = FORM.pack(VERSION, micros, cursor.id.bytes)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str) -> Cursor:
    """Return the cursor in ``text``.

    Raises:
        InvalidCursor: anything that ``encode`` did not make.
    """
    try:
        padding = "=" * (-len(text) % 4)
        version, micros, raw = FORM.unpack(
            base64.urlsafe_b64decode(text.encode() + padding.encode())
        )
        cursor = Cursor(EPOCH + timedelta(microseconds=micros), UUID(bytes=raw))
    except (binascii.Error, struct.error, OverflowError, UnicodeEncodeError):
        raise InvalidCursor(InvalidCursor.__doc__) from None
    # Base64 has several spellings of one value; only ours is accepted.
    if version != VERSION or encode(cursor) != text:
        raise InvalidCursor(InvalidCursor.__doc__)
    return cursor
