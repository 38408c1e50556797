"""What an attempt came to, in fixed words: nothing that the other side said."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping
from datetime import timedelta

import aiohttp

from connectors.events.addresses import UnusableAddress
from connectors.events.ways import is_cut_off

PATIENCE = frozenset({429, 502, 503, 504})
# This machine has no file, memory, port or network left for a connection; no endpoint causes that.
# EADDRNOTAVAIL says that all ports are in use: addresses that there is no way to are not tried.
OURS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL,
        errno.ENETDOWN, socket.EAI_MEMORY,
    }
)  # fmt: skip
# No route to it, or no name server that knows: an endpoint can cause these too. They are ours only
# where this machine has no way to anywhere.
MAYBE_OURS = frozenset({errno.ENETUNREACH, socket.EAI_AGAIN})
# As an OSError is written. Where the addresses of a name failed differently, one error tells of all
# of them, in its text only (aiohappyeyeballs).
_NUMBER = re.compile(r"\[Errno (-?\d+)\]")
_NO_THREAD = "can't start new thread"
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
    """Whether there was no answer since this machine could not ask: the one rule for that."""
    if isinstance(error, OSError):
        told = {int(one) for one in _NUMBER.findall(str(getattr(error, "os_error", error)))}
        return bool(told & OURS) or (bool(told & MAYBE_OURS) and is_cut_off())
    return isinstance(error, MemoryError) or _NO_THREAD in str(error)


def explain(error: BaseException) -> str:
    """Return why there was no answer."""
    if isinstance(error, UnusableAddress):
        return str(error)
    words = (words for kind, words in WORDS if isinstance(error, kind))
    return next(words, f"It could not be sent: {type(error).__name__}.")


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
