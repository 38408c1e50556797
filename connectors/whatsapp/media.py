"""Fetch a file from Meta: ask for its address, then stream it from there.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
(Retrieve Media URL, Download Media)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from connectors.whatsapp.wire.errors import GraphAnswer, media_error_of
from workspaces.channel_errors import LargerThanSaid, MediaTooLarge, Rejected, Unavailable

# Where Meta keeps files. Anything else in an answer is not followed: it could be in our network.
MEDIA_DOMAINS = ("fbsbx.com", "facebook.com", "fbcdn.net", "whatsapp.net")
MAX_BYTES = 100 * 1024 * 1024  # Meta's own limit for documents
# Readers of addresses differ about the rest: urllib drops tabs and line ends, browsers turn a
# backslash, and a host in other letters has several spellings.
PLAIN = re.compile(r"[!-\[\]-~]{1,4096}")
MAX_REDIRECTS = 3
MAX_ERROR_BYTES = 16_384
CHUNK = 64 * 1024


class UntrustedAddress(Rejected):
    """The answer names an address outside Meta; it was not followed."""

    def __init__(self) -> None:
        super().__init__(0, "The answer names an address outside Meta; it was not followed.")


def check_address(url: str, graph_url: str) -> str:
    """Return ``url`` if the access token and our network may be exposed to it.

    Raises:
        UntrustedAddress: not HTTPS on one of Meta's domains, nor on the Graph API's own host; or
            nothing that every reader of addresses understands alike.
    """
    if not PLAIN.fullmatch(url):
        raise UntrustedAddress
    try:
        parts = urlsplit(url)
        # What one reader takes for the host must be what the other connects to.
        host_asked = httpx.URL(url).host
    except (ValueError, httpx.InvalidURL):
        raise UntrustedAddress from None
    if "@" in parts.netloc or host_asked != (parts.hostname or ""):
        raise UntrustedAddress
    if _origin(parts) == _origin(urlsplit(graph_url)):
        return url
    host = parts.hostname or ""
    known = any(host == domain or host.endswith("." + domain) for domain in MEDIA_DOMAINS)
    if parts.scheme != "https" or not known or _origin(parts)[2] != 443:
        raise UntrustedAddress
    return url


class MediaDownload:
    """A file on its way: at most ``MAX_BYTES`` of it, and no more than it was ``said`` to have."""

    def __init__(self, response: httpx.Response, said: int | None) -> None:
        self._response, self._said = response, said
        self.mime_type = response.headers.get("content-type", "")
        length = response.headers.get("content-length", "")
        self.size = int(length) if length.isdecimal() else None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file in pieces; fail rather than end early or run on for ever."""
        seen = 0
        for chunk in self._response.iter_raw(CHUNK):
            seen += len(chunk)
            if seen > MAX_BYTES:
                raise MediaTooLarge
            if self._said is not None and seen > self._said:
                raise LargerThanSaid
            yield chunk

    def close(self) -> None:
        """Give the connection back."""
        self._response.close()


def download(
    client: httpx.Client, url: str, *, graph_url: str, token: str, said: int | None = None
) -> MediaDownload:
    """Open a media address with the access token, following a few redirects inside Meta; ``said``
    is how many bytes Meta said that the file has.

    Raises:
        workspaces.channel_errors.ChannelError: the answer is not the file.
    """
    for _ in range(MAX_REDIRECTS + 1):
        request = client.build_request(
            "GET",
            check_address(url, graph_url),
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
        )
        response = client.send(request, stream=True)
        if not response.has_redirect_location:
            return _opened(response, said)
        response.close()
        url = _joined(url, response.headers["location"])
    raise Unavailable("Meta redirected too often.")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UntrustedAddress from None


def _opened(response: httpx.Response, said: int | None) -> MediaDownload:
    try:
        if response.status_code != 200:
            body = next(response.iter_bytes(MAX_ERROR_BYTES), b"")
            raise media_error_of(GraphAnswer(response.status_code, response.headers, body))
        opened = MediaDownload(response, said)
        if opened.size is not None and opened.size > MAX_BYTES:
            raise MediaTooLarge
    except BaseException:
        response.close()
        raise
    return opened


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    try:
        port = parts.port
    except ValueError:
        raise UntrustedAddress from None
    return parts.scheme, parts.hostname, port or {"https": 443, "http": 80}.get(parts.scheme)
