"""What limits are made of: faults, and the checks that all kinds of content share. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from messaging.sending.requests import MediaContent, MediaKind

URL = 2000
_MEDIA_ID = re.compile(r"[0-9]{1,32}")
CAPTIONED = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})


class Fault(NamedTuple):
    """What is wrong with one field, in a sentence."""

    field: str
    message: str


def size(field: str, value: str, most: int, least: int = 1) -> Iterator[Fault]:
    """Refuse what is too long, or (unless ``least`` is 0) blank."""
    if not least <= len(value) <= most:
        wanted = f"{least} to {most}" if least else f"at most {most}"
        yield Fault(field, f"This takes {wanted} characters; {len(value)} were given.")
    elif least and not value.strip():
        yield Fault(field, "This must not be blank.")


def optional(field: str, value: str | None, most: int) -> Iterator[Fault]:
    """Refuse what is given and blank or too long."""
    if value is not None:
        yield from size(field, value, most)


def url(field: str, value: str) -> Iterator[Fault]:
    """Refuse what is no web address."""
    yield from size(field, value, URL)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        yield Fault(field, "This must be an address that begins with https:// or http://.")


def source(content: MediaContent, field: str) -> Iterator[Fault]:
    """Refuse a file that is not named by id or by link."""
    if (content.id is None) == (content.link is None):
        yield Fault(field, "Give the file as id (uploaded to Meta) or as link: one of the two.")
    if content.id is not None and not _MEDIA_ID.fullmatch(content.id):
        yield Fault(f"{field}.id", "Meta's ids of files are 1 to 32 digits.")
    if content.link is not None:
        yield from url(f"{field}.link", content.link)
