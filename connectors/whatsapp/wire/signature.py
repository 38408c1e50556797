"""Prove that a callback comes from Meta: HMAC-SHA256 of the raw bytes under the app secret."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

PREFIX = "sha256="
# No secret of anybody: signatures under it are computed to take as long.
DECOY = bytes(32)
_HEADER = re.compile(r"sha256=[0-9a-fA-F]{64}")


class InvalidSignature(Exception):
    """The callback is not signed with any of the app secrets that we accept."""


def sign(body: bytes, secret: bytes) -> str:
    """Return the ``X-Hub-Signature-256`` header of ``body``: ``sha256=`` and 64 hex digits."""
    return PREFIX + hmac.digest(secret, body, "sha256").hex()


def verify(body: bytes, header: bytes | str | None, secrets: Sequence[bytes]) -> None:
    """Return only if ``header`` signs ``body`` (raw, exactly as received) under one of ``secrets``.

    Rule: Meta, "Webhooks: Getting started", Validating Payloads.

    Raises:
        InvalidSignature: header absent or malformed, no secret given, or none of them fits.
    """
    if not fits(body, digest_in(header), secrets):
        raise InvalidSignature


def digest_in(header: bytes | str | None) -> bytes:
    """Return the 32 bytes that a header states, before anything is known of the body.

    Raises:
        InvalidSignature: header absent or malformed.
    """
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    if text is None or _HEADER.fullmatch(text) is None:
        raise InvalidSignature
    return bytes.fromhex(text[len(PREFIX) :])


def fits(body: bytes, digest: bytes, secrets: Sequence[bytes], *, least: int = 0) -> bool:
    """Whether ``digest`` is that of ``body`` under one of ``secrets``.

    Every secret is tried, in constant time, so that the time taken does not tell which one fits.
    Where none does, ``least`` are computed: the time must not tell how many there are either.
    """
    matches = False
    for secret in secrets:
        matches |= hmac.compare_digest(hmac.digest(secret, body, "sha256"), digest)
    for _ in range(0 if matches else least - len(secrets)):
        hmac.compare_digest(hmac.digest(DECOY, body, "sha256"), digest)
    return matches
