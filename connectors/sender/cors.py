"""Which web pages may call the sender service from a browser: those of the configured origins.

https://fetch.spec.whatwg.org/#http-cors-protocol. No cookies are involved, so credentials are never
allowed; a page of another origin gets no header, and its browser keeps the answer from it.
"""

from __future__ import annotations

from django.conf import settings

from connectors.sender.refusals import Headers
from lib.requests import Headers as Given

REQUEST_HEADERS = "authorization, content-type, idempotency-key, prefer, x-api-key"
RESPONSE_HEADERS = "retry-after, idempotency-replayed"
# A browser asks again after this many seconds; no browser waits longer than a day.
MAX_AGE = "600"
VARY: Headers = (("vary", "Origin"),)


def is_allowed(given: Given) -> bool:
    """Return whether the request comes from a page that may call."""
    origin = given.get(b"origin", b"").decode("latin-1")
    return bool(origin) and origin.lower() in settings.SIGMA_SENDER_ORIGINS


def headers_for(given: Given) -> Headers:
    """Return what an answer says to the browser."""
    if not settings.SIGMA_SENDER_ORIGINS:
        return ()
    if not is_allowed(given):
        return VARY
    origin = given[b"origin"].decode("latin-1")
    return (
        *VARY,
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", RESPONSE_HEADERS),
    )


def preflight_for(given: Given, methods: str) -> Headers:
    """Return what an answer to OPTIONS says beside that, for a route with these methods."""
    if not is_allowed(given):
        return ()
    return (
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", REQUEST_HEADERS),
        ("access-control-max-age", MAX_AGE),
    )
