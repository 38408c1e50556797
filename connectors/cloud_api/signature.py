"""Prove that a callback comes from Meta: HMAC-SHA256 of the raw bytes under the app secret."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

PREFIX = "sha256="
_HEADER = re.compile(r"sha256=[0-9a-fA-F]{64}")


class InvalidSignature(Exception):
    """The callback is not signed with any of the app secrets that we accept."""


def sign(body: bytes, secret: bytes) -> str:
    """Return the ``X-Hub-Signature-256`` header of ``body``: ``sha256=`` and 64 hex digits."""
    return PREFIX + hmac.digest(secret, body, "sha256").hex()


def verify(body: bytes, header: bytes | str | None, secrets: Sequence[bytes]) -> None:
    """Return only if ``header`` signs ``body`` (raw, exactly as received) under one of ``secrets``.

    Every secret is tried, in constant time, so that the time taken does not tell which one fits.
    Rule: Meta, "Webhooks: Getting started", Validating Payloads.

    Raises:
        InvalidSignature: header absent or malformed, no secret given, or none of them fits.
    """
    given = _digest_in(header)
    fits = False
    for secret in secrets:
        fits |= hmac.compare_digest(hmac.digest(secret, body, "sha256"), given)
    if not fits:
        raise InvalidSignature


def _digest_in(header: bytes | str | None) -> bytes:
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    if text is None or _HEADER.fullmatch(text) is None:
        raise InvalidSignature
    return bytes.fromhex(text[len(PREFIX) :])
