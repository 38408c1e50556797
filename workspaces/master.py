"""Wrap and unwrap data keys under the master keys of the installation.

Form: ``0x01 ‖ id length ‖ id ‖ nonce (12) ‖ AES-256-GCM``. The first configured key wraps, all
unwrap.
"""

from __future__ import annotations

import os
import secrets
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from lib.envelope import CannotOpen

VERSION = 1
NONCE = 12
KEY_BYTES = 32
# The id of the key that the embedded default makes for itself.
GENERATED_KEY_ID = "local"


class UnknownMasterKey(CannotOpen):
    """A data key was wrapped by a master key that is not configured (SIGMA_MASTER_KEYS)."""


@cache
def _ciphers(keys: tuple[tuple[str, bytes], ...]) -> dict[str, AESGCM]:
    return {key_id: AESGCM(key) for key_id, key in keys}


def key_is_generated() -> bool:
    """Whether new keys are wrapped by the key that the embedded default made beside the data."""
    return bool(settings.SIGMA_MASTER_KEYS[0][0] == GENERATED_KEY_ID)


def new_key() -> bytes:
    """Return a fresh data key: 32 random bytes, for AES-256-GCM or HMAC-SHA256."""
    return secrets.token_bytes(KEY_BYTES)


def wrap(key: bytes, associated: bytes) -> bytes:
    """Return ``key`` wrapped by the first master key."""
    key_id = settings.SIGMA_MASTER_KEYS[0][0]
    nonce = os.urandom(NONCE)
    sealed = _ciphers(settings.SIGMA_MASTER_KEYS)[key_id].encrypt(nonce, key, associated)
    name = key_id.encode()
    return bytes((VERSION, len(name))) + name + nonce + sealed


def unwrap(wrapped: bytes, associated: bytes) -> bytes:
    """Return the data key inside ``wrapped``.

    Raises:
        UnknownMasterKey: no configured master key opens it.
    """
    end = 2 + wrapped[1]
    key_id = wrapped[2:end].decode()
    cipher = _ciphers(settings.SIGMA_MASTER_KEYS).get(key_id)
    if wrapped[0] != VERSION or cipher is None:
        raise UnknownMasterKey(f"Master key {key_id!r} is not configured (SIGMA_MASTER_KEYS).")
    try:
        return cipher.decrypt(wrapped[end : end + NONCE], wrapped[end + NONCE :], associated)
    except InvalidTag:
        raise UnknownMasterKey(f"Master key {key_id!r} is not the one used here.") from None
