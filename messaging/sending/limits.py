"""The limits of each kind of content. Pure.

Rules: Meta, "Messages" API reference and the page of each message type (sizes in characters).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from messaging.sending import interactive
from messaging.sending.faults import CAPTIONED, Fault, optional, size, source
from messaging.sending.requests import (
    ContactsContent,
    Content,
    InteractiveContent,
    LocationContent,
    MediaContent,
    MediaKind,
    ReactionContent,
    TemplateContent,
    TextContent,
)

TEXT, CAPTION, EMOJI, CARDS, KEY = 4096, 1024, 16, 256, 128
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2,4})?")
_KEYCAP_OR_INFORMATION = re.compile("[0-9#*]\ufe0f?\u20e3|\u2139\ufe0f?")
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")

# The input field of each kind of content.
FIELDS: Mapping[type[Content], str] = {
    TemplateContent: "template_name",
    TextContent: "text",
    MediaContent: "media",
    InteractiveContent: "interactive",
    ReactionContent: "reaction",
    LocationContent: "location",
    ContactsContent: "contacts",
}


def faults(content: Content) -> list[Fault]:
    """Return everything that is wrong with a content by itself."""
    try:
        return list(_unwritable(content)) or list(_CHECKS[type(content)](content))
    except RecursionError:
        return [Fault(FIELDS[type(content)], "This is nested too deeply.")]


def of_key(key: str | None) -> list[Fault]:
    """Return what is wrong with an idempotency key."""
    if key is None or (1 <= len(key) <= KEY and key.isprintable()):
        return []
    return [Fault("idempotency_key", f"A key has 1 to {KEY} printable characters.")]


def _unwritable(content: Content) -> Iterator[Fault]:
    """Refuse characters that neither JSON nor the database can hold."""
    if any(_UNWRITABLE.search(text) for text in _texts(msgspec.to_builtins(content))):
        yield Fault(
            FIELDS[type(content)], "A text has a NUL character or half of a surrogate pair in it."
        )


def _texts(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            pending.extend((*one.keys(), *one.values()))
        elif isinstance(one, list):
            pending.extend(one)


def _template(content: TemplateContent) -> Iterator[Fault]:
    if not _NAME.fullmatch(content.name):
        yield Fault(
            "template_name", "A template's name has 1 to 512 lower-case letters, digits and _."
        )
    if content.language is not None and not _LANGUAGE.fullmatch(content.language):
        yield Fault("language", "A language is a code such as en, en_US or pt_BR.")


def _text(content: TextContent) -> Iterator[Fault]:
    yield from size("text", content.body, TEXT)


def _media(content: MediaContent, field: str = "media") -> Iterator[Fault]:
    yield from source(content, field)
    kind = content.kind
    if content.caption is not None and kind not in CAPTIONED:
        yield Fault(f"{field}.caption", f"Files of kind {kind} take no caption.")
    yield from optional(f"{field}.caption", content.caption, CAPTION)
    if content.filename is not None and kind != MediaKind.DOCUMENT:
        yield Fault(f"{field}.filename", "Only documents take a file name.")
    yield from optional(f"{field}.filename", content.filename, 240)
    if content.voice and kind != MediaKind.AUDIO:
        yield Fault(f"{field}.voice", "Only audio can be a voice note.")


def _reaction(content: ReactionContent) -> Iterator[Fault]:
    yield from optional("reaction.emoji", content.emoji or None, EMOJI)
    if content.emoji and not _is_emoji(content.emoji):
        yield Fault("reaction.emoji", "This takes an emoji; leave it empty to take one back.")


def _is_emoji(text: str) -> bool:
    """Tell emoji from letters, digits and ASCII signs; a few of those begin an emoji."""
    rest = _KEYCAP_OR_INFORMATION.sub("", text)
    return not any(each.isascii() or each.isalnum() or each.isspace() for each in rest)


def _location(content: LocationContent) -> Iterator[Fault]:
    for name, value, most in (
        ("latitude", content.latitude, 90),
        ("longitude", content.longitude, 180),
    ):
        if not math.isfinite(value) or abs(value) > most:
            yield Fault(f"location.{name}", f"This takes degrees from -{most} to {most}.")
    yield from optional("location.name", content.name, CAPTION)
    yield from optional("location.address", content.address, CAPTION)


def _contacts(content: ContactsContent) -> Iterator[Fault]:
    if not 1 <= len(content.contacts) <= CARDS:
        yield Fault("contacts", f"There may be 1 to {CARDS} cards; {len(content.contacts)} came.")
    for index, card in enumerate(content.contacts):
        yield from size(f"contacts[{index}].name.formatted_name", card.name.formatted_name, 256)


_CHECKS: dict[type[Content], Callable[[Any], Iterator[Fault]]] = {
    TemplateContent: _template,
    TextContent: _text,
    MediaContent: _media,
    InteractiveContent: interactive.check,
    ReactionContent: _reaction,
    LocationContent: _location,
    ContactsContent: _contacts,
}
