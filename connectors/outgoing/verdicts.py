"""What an attempt came to, in fixed words: nothing that the other side said."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from datetime import timedelta

import aiohttp

from connectors.outgoing.addresses import UnusableAddress

PATIENCE = frozenset({429, 502, 503, 504})
# This machine has no file or memory left for a connection; no endpoint causes that. EADDRNOTAVAIL
# is none of these: an IPv6 address in a URL causes it where there is no IPv6.
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
REDIRECTS = range(300, 400)
# The first that fits; from the particular to the general.
WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "Its TLS certificate was not accepted."),
    (aiohttp.ClientSSLError, "No TLS connection could be agreed on."),
    (aiohttp.ClientConnectorDNSError, "Its name does not resolve."),
    (aiohttp.ConnectionTimeoutError, "It could not be connected to."),
    (TimeoutError, "It did not answer within 15 seconds."),
    (aiohttp.ClientConnectorError, "It could not be connected to."),
    (aiohttp.InvalidURL, "This is not a URL."),
    (aiohttp.ClientResponseError, "It did not answer in HTTP."),
    (aiohttp.ClientError, "The connection broke."),
    (OSError, "The connection broke."),
)


def is_ours(error: BaseException) -> bool:
    """Whether there was no answer since this machine could not ask."""
    return isinstance(error, OSError) and error.errno in OURS


def explain(error: BaseException) -> str:
    """Return why there was no answer."""
    if isinstance(error, UnusableAddress):
        return str(error)
    return next((words for kind, words in WORDS if isinstance(error, kind)), "It was not sent.")


def comment(status: int) -> str:
    """Return what an answer means that is not a success."""
    if status in REDIRECTS:
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def patience(status: int, headers: Mapping[str, str]) -> timedelta:
    """Return how long the receiver asks us to wait, where he is busy."""
    asked = headers.get("retry-after", "")
    if status in PATIENCE and asked.isdecimal() and len(asked) <= 6:
        return timedelta(seconds=int(asked))
    return timedelta(0)
