"""Refuse a Graph API address that exposes tokens, or sends what people get to a simulator."""

from __future__ import annotations

from urllib.parse import urlsplit

from sigma.env import InvalidSetting

META = "https://graph.facebook.com/v26.0"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check(url: str, *, for_trying: bool) -> str:
    """Return ``url`` (no slash at its end) if tokens may go there; plain http only to this machine,
    and ``for_trying``.

    Raises:
        InvalidSetting: not a URL, not https, or a simulator in production.
    """
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme == "https" and host:
        return url
    if parts.scheme != "http" or host not in LOOPBACK:
        raise InvalidSetting("SIGMA_GRAPH_URL must be an https address; tokens go there.")
    if not for_trying:
        raise InvalidSetting(
            "SIGMA_GRAPH_URL is http: that is a simulator, for SIGMA_EMBEDDED or SIGMA_DEBUG only."
        )
    return url
