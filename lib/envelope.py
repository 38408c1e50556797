"""The sealed form of a value: ``0x01 ‖ key id (8 bytes) ‖ nonce (12) ‖ AES-256-GCM ciphertext and
tag``.

The associated data names tenant, table, column and row, so that a value moved elsewhere does not
open.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
HEADER = struct.Struct(">BQ")
NONCE = 12
OVERHEAD = HEADER.size + NONCE + 16


class CannotOpen(Exception):
    """The sealed value was altered, moved, or sealed under another key."""


class KeyDestroyed(CannotOpen):
    """The key of this value was destroyed; the value is gone for good."""


def associated_data(tenant_id: object, place: str, row: object) -> bytes:
    """Return what binds a sealed value to its place (``table.column``) and row."""
    return f"{tenant_id}|{place}|{row}".encode()


def key_id_of(sealed: bytes) -> int:
    """Return the id of the key that ``sealed`` was made with.

    Raises:
        CannotOpen: not a sealed value of ours.
    """
    if len(sealed) < OVERHEAD or sealed[0] != VERSION:
        raise CannotOpen("This is not a sealed value.")
    key_id: int = HEADER.unpack_from(sealed)[1]
    return key_id


class Cipher:
    """Seal and open under one key; the AES key schedule is kept, which halves the cost."""

    __slots__ = ("_aes", "_header", "key_id")

    def __init__(self, key_id: int, key: bytes) -> None:
        self.key_id = key_id
        self._header = HEADER.pack(VERSION, key_id)
        self._aes = AESGCM(key)

    def seal(self, value: bytes, associated: bytes) -> bytes:
        """Return the sealed form of ``value``."""
        nonce = os.urandom(NONCE)
        return self._header + nonce + self._aes.encrypt(nonce, value, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Return the value inside ``sealed``.

        Raises:
            CannotOpen: altered, moved, or another key's.
        """
        if key_id_of(sealed) != self.key_id:
            raise CannotOpen("This value was sealed under another key.")
        start = HEADER.size
        try:
            return self._aes.decrypt(
                sealed[start : start + NONCE], sealed[start + NONCE :], associated
            )
        except InvalidTag:
            raise CannotOpen("This value was altered or belongs to another row.") from None
