"""What a caller fills a template's places with: the same values for GraphQL, REST, broadcasts and
the stored row (as JSON: :func:`write` and :func:`read`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec


class BadParameters(Exception):
    """The JSON is not template parameters; the message names the place and what was expected."""


class _Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Common to all: unknown keys are refused, absent and default are the same."""


class Localized(_Parameter, frozen=True):
    """An amount or a date that WhatsApp may write the recipient's way; ``fallback_value`` is what
    it writes otherwise. With ``code`` (ISO 4217) and ``amount_1000`` (the amount times 1000) it is
    an amount, without them a date.
    """

    fallback_value: str
    code: str | None = None
    amount_1000: int | None = None


Value = str | Localized


class MediaValue(_Parameter, frozen=True):
    """A file at the platform (``id``) or on the web (``link``), one of the two. ``kind`` (image,
    video, document, gif) may be left out: the template says it. ``filename`` is for documents.
    """

    kind: str | None = None
    id: str | None = None
    link: str | None = None
    filename: str | None = None


class LocationValue(_Parameter, frozen=True):
    """A place; degrees, north and east are positive."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


class ProductValue(_Parameter, frozen=True):
    """A product of a catalogue."""

    product_retailer_id: str
    catalog_id: str


class HeaderValue(_Parameter, frozen=True):
    """What stands in a header: one of the four."""

    text: str | None = None
    media: MediaValue | None = None
    location: LocationValue | None = None
    product: ProductValue | None = None


class SectionValue(_Parameter, frozen=True):
    """Products under a title, for a multi-product button."""

    title: str
    product_retailer_ids: tuple[str, ...]


class ButtonValue(_Parameter, frozen=True):
    """The value of the button at ``index`` (from 0, among all buttons of the template).

    ``value`` is by the button's kind: the payload of a quick reply, the end of a URL, the code of a
    copy-code or one-time-password button, the token of a flow, the product id of a catalogue's
    picture. ``kind``, if given, has to be the template's.
    """

    index: int
    value: str | None = None
    kind: str | None = None
    flow_data: dict[str, Any] | None = None
    sections: tuple[SectionValue, ...] = ()


class CardValue(_Parameter, frozen=True):
    """The values of one card of a carousel; its place in the list is its place in the template."""

    positional: tuple[Value, ...] | None = None
    named: Mapping[str, Value] | None = None
    header: HeaderValue | None = None
    buttons: tuple[ButtonValue, ...] = ()


class TemplateParameters(_Parameter, frozen=True):
    """All values of a template. Its body has ``positional`` or ``named`` ones, never both."""

    positional: tuple[Value, ...] | None = None
    named: Mapping[str, Value] | None = None
    header: HeaderValue | None = None
    buttons: tuple[ButtonValue, ...] = ()
    cards: tuple[CardValue, ...] = ()
    offer_expires_at: datetime | None = None

    @property
    def card(self) -> CardValue:
        """Return the values of the template itself, as if it were a card."""
        return CardValue(self.positional, self.named, self.header, self.buttons)


def text_of(value: Value) -> str:
    """Return what people read."""
    return value if isinstance(value, str) else value.fallback_value


def read(value: object) -> TemplateParameters:
    """Return the parameters in a JSON value (snake_case keys); ``None`` is no parameters.

    Raises:
        BadParameters: a key is unknown or missing, or a value has the wrong type.
    """
    try:
        return msgspec.convert({} if value is None else value, TemplateParameters)
    except msgspec.ValidationError as error:
        raise BadParameters(str(error)) from None


def write(parameters: TemplateParameters) -> dict[str, Any]:
    """Return parameters as a JSON object that :func:`read` reads."""
    written: dict[str, Any] = msgspec.to_builtins(parameters)
    return written
