"""What a template's components (Meta's JSON, as synced) have places for. Tolerant: components and
button kinds that Meta adds later are known by name and take no parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

NAMED = "NAMED"
POSITIONAL = "POSITIONAL"
_PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")
# What Meta itself writes where an authentication template is given without its text.
_OTP_BODY = "{{1}} is your verification code."
# A listed one-time-password button is a URL button with an address of WhatsApp's own.
_OTP_URL = re.compile(r"https://(www\.)?whatsapp\.com/otp/", re.IGNORECASE)


class HeaderFormat(StrEnum):
    """Meta's header formats that we know."""

    TEXT = "TEXT"
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    DOCUMENT = "DOCUMENT"
    GIF = "GIF"
    LOCATION = "LOCATION"
    PRODUCT = "PRODUCT"


class ButtonKind(StrEnum):
    """Meta's button types that may take a value."""

    QUICK_REPLY = "QUICK_REPLY"
    URL = "URL"
    COPY_CODE = "COPY_CODE"
    OTP = "OTP"
    FLOW = "FLOW"
    CATALOG = "CATALOG"
    MPM = "MPM"


@dataclass(frozen=True, slots=True)
class Text:
    """A text with places; ``variables`` are their names, each once, in the order Meta counts."""

    text: str
    variables: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, *, is_named: bool) -> Text:
        """Read the places: ``{{1}}`` in positional texts, ``{{first_name}}`` in named ones."""
        found = dict.fromkeys(match[1] for match in _PLACE.finditer(text))
        if is_named:
            return cls(text, tuple(found))
        return cls(text, tuple(sorted((name for name in found if name.isdigit()), key=int)))

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the text with ``values`` in their places; a place without one stays as it is."""
        return _PLACE.sub(lambda match: values.get(match[1], match[0]), self.text)


@dataclass(frozen=True, slots=True)
class Header:
    """The header; ``format`` is Meta's word, ``text`` is there for TEXT."""

    format: str
    text: Text | None = None


@dataclass(frozen=True, slots=True)
class Button:
    """A button at its place among all. ``kind`` is Meta's word, OTP for every one-time password
    button, however Meta lists it; ``url`` the address of a URL button.
    """

    index: int
    kind: str
    text: str = ""
    url: Text | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A limited-time offer; it takes a time only where ``has_expiration``."""

    text: str
    has_expiration: bool


@dataclass(frozen=True, slots=True)
class Card:
    """What a card of a carousel, and a template itself, is made of."""

    header: Header | None = None
    body: Text | None = None
    buttons: tuple[Button, ...] = ()

    @property
    def has_otp(self) -> bool:
        """Tell whether the body's first variable is a one-time password."""
        return any(button.kind == ButtonKind.OTP for button in self.buttons)


@dataclass(frozen=True, slots=True)
class Definition:
    """A template's places."""

    is_named: bool = False
    header: Header | None = None
    body: Text | None = None
    footer: str = ""
    buttons: tuple[Button, ...] = ()
    cards: tuple[Card, ...] = ()
    offer: Offer | None = None

    @property
    def card(self) -> Card:
        """Return what the template itself has, as if it were a card."""
        return Card(self.header, self.body, self.buttons)

    @classmethod
    def of(
        cls, components: Sequence[Mapping[str, Any]], parameter_format: str = POSITIONAL
    ) -> Definition:
        """Read components as Meta lists them, or as they are submitted for review."""
        is_named = parameter_format.upper() == NAMED
        parts = _by_type(components)
        card = _card(components, is_named)
        body = card.body
        if body is not None and not body.text and card.has_otp:
            body = Text.of(_OTP_BODY, is_named=False)
        return cls(
            is_named,
            card.header,
            body,
            _footer(parts.get("FOOTER")),
            card.buttons,
            _cards(parts.get("CAROUSEL"), is_named),
            _offer(parts.get("LIMITED_TIME_OFFER")),
        )


def _by_type(components: object) -> dict[str, Mapping[str, Any]]:
    """Return the components by their type in capitals; of two of a type the first."""
    parts: dict[str, Mapping[str, Any]] = {}
    for component in _objects(components):
        parts.setdefault(_word(component, "type"), component)
    return parts


def _card(components: object, is_named: bool) -> Card:
    parts = _by_type(components)
    header, body = parts.get("HEADER"), parts.get("BODY")
    return Card(
        None if header is None else _header(header, is_named),
        None if body is None else Text.of(_str(body, "text"), is_named=is_named),
        tuple(
            _button(index, button, is_named)
            for index, button in enumerate(_objects(parts.get("BUTTONS", {}).get("buttons")))
        ),
    )


def _header(header: Mapping[str, Any], is_named: bool) -> Header:
    format_ = _word(header, "format") or HeaderFormat.TEXT
    text = Text.of(_str(header, "text"), is_named=is_named)
    return Header(format_, text if format_ == HeaderFormat.TEXT else None)


def _button(index: int, button: Mapping[str, Any], is_named: bool) -> Button:
    kind, url = _word(button, "type"), _str(button, "url")
    if kind == ButtonKind.URL and _OTP_URL.match(url):
        kind = ButtonKind.OTP
    return Button(
        index,
        kind,
        _str(button, "text"),
        Text.of(url, is_named=is_named) if kind == ButtonKind.URL else None,
        url or _str(button, "phone_number"),
    )


def _footer(footer: Mapping[str, Any] | None) -> str:
    if footer is None:
        return ""
    minutes = footer.get("code_expiration_minutes")
    return _str(footer, "text") or (f"This code expires in {minutes} minutes." if minutes else "")


def _cards(carousel: Mapping[str, Any] | None, is_named: bool) -> tuple[Card, ...]:
    cards = _objects(carousel.get("cards")) if carousel else []
    return tuple(_card(card.get("components"), is_named) for card in cards)


def _offer(component: Mapping[str, Any] | None) -> Offer | None:
    if component is None:
        return None
    offer = component.get("limited_time_offer")
    offer = offer if isinstance(offer, Mapping) else {}
    return Offer(_str(offer, "text"), offer.get("has_expiration") is True)


def _objects(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def _str(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def _word(part: Mapping[str, Any], key: str) -> str:
    return _str(part, key).upper()
