"""Random template definitions, as Meta lists them, and parameters made to fit them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from templates_wa.definitions import Card, Definition, Header
from templates_wa.parameters import (
    ButtonValue,
    CardValue,
    HeaderValue,
    LocationValue,
    MediaValue,
    ProductValue,
    SectionValue,
    TemplateParameters,
)

words = st.text("abcxyzäß", min_size=1, max_size=8)
names = st.lists(st.from_regex(r"[a-z_]{2,8}", fullmatch=True), max_size=4, unique=True)
codes = st.from_regex(re.compile(r"[A-Z0-9]{1,15}", re.ASCII), fullmatch=True)
STATIC = (
    {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+15550000001"},
    {"type": "URL", "text": "Visit", "url": "https://example.com/"},
    {"type": "HOLOGRAM", "text": "Of a later version"},
)
TAKING = (
    {"type": "QUICK_REPLY", "text": "Yes"},
    {"type": "URL", "text": "Visit", "url": "https://example.com/{{1}}"},
    {"type": "COPY_CODE", "text": "Copy"},
    {"type": "FLOW", "text": "Begin", "flow_id": 1},
    {"type": "CATALOG", "text": "See all"},
    {"type": "MPM", "text": "See some"},
)
OTP_LISTED = {
    "type": "URL",
    "text": "Copy",
    "url": "https://www.whatsapp.com/otp/code/?code=otp{{1}}",
}
FORMATS = ("IMAGE", "VIDEO", "DOCUMENT", "GIF", "LOCATION", "PRODUCT")


@st.composite
def bodies(draw: st.DrawFn, *, is_named: bool) -> dict[str, Any]:
    """Return a body with any number of places, each once or twice."""
    found = draw(names)
    places = found if is_named else [str(n + 1) for n in range(len(found))]
    twice = places + draw(st.lists(st.sampled_from(places), max_size=2)) if places else []
    return {"type": "BODY", "text": " and ".join(["Hello", *(f"{{{{{p}}}}}" for p in twice), "!"])}


@st.composite
def headers(draw: st.DrawFn, *, is_named: bool) -> dict[str, Any]:
    """Return a header of any format."""
    place = "{{shop}}" if is_named else "{{1}}"
    text = draw(st.sampled_from(["Hello", f"Hello {place}!"]))
    format_ = draw(st.sampled_from(["TEXT", *FORMATS]))
    return {"type": "HEADER", "format": format_, **({"text": text} if format_ == "TEXT" else {})}


@st.composite
def parts(draw: st.DrawFn, *, is_named: bool) -> list[dict[str, Any]]:
    """Return what a template or a card may have."""
    buttons = draw(st.lists(st.sampled_from(STATIC + TAKING), max_size=4))
    chosen = [draw(bodies(is_named=is_named))]
    if draw(st.booleans()):
        chosen.append(draw(headers(is_named=is_named)))
    return [*chosen, {"type": "BUTTONS", "buttons": buttons}] if buttons else chosen


@st.composite
def listings(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """Return components as Meta lists them, and their format: with a carousel, an offer, and a part
    of a later version; or those of a one-time password.
    """
    if draw(st.integers(0, 9)) == 0:
        button = draw(st.sampled_from([{"type": "OTP", "text": "Copy"}, OTP_LISTED]))
        text = "{{1}} is your code."
        return [
            {"type": "BODY", "text": text},
            {"type": "BUTTONS", "buttons": [button]},
        ], "POSITIONAL"
    is_named = draw(st.booleans())
    components = draw(parts(is_named=is_named))
    if draw(st.booleans()):
        cards = draw(st.lists(parts(is_named=is_named), min_size=2, max_size=3))
        components.append({"type": "CAROUSEL", "cards": [{"components": c} for c in cards]})
    if draw(st.booleans()):
        offer = {"text": "Soon over", "has_expiration": draw(st.booleans())}
        components.append({"type": "LIMITED_TIME_OFFER", "limited_time_offer": offer})
    components.append({"type": "SMELL", "smell": "of coffee"})
    return components, "NAMED" if is_named else "POSITIONAL"


def definitions() -> st.SearchStrategy[Definition]:
    """Return any definition."""
    return listings().map(lambda listing: Definition.of(*listing))


@st.composite
def fitting(draw: st.DrawFn, definition: Definition, now: Any) -> TemplateParameters:
    """Return parameters that fill every place, and by chance those that may stay empty."""
    own = draw(card_values(definition.card, definition.is_named))
    expires = definition.offer is not None and definition.offer.has_expiration
    return TemplateParameters(
        own.positional,
        own.named,
        own.header,
        own.buttons,
        tuple(draw(card_values(card, definition.is_named)) for card in definition.cards),
        now + timedelta(hours=1) if expires else None,
    )


@st.composite
def card_values(draw: st.DrawFn, card: Card, is_named: bool) -> CardValue:
    """Return values for one card."""
    variables = card.body.variables if card.body else ()
    texts = {name: draw(words) for name in variables}
    buttons = [draw(button_values(b.index, b.kind, b.url)) for b in card.buttons]
    return CardValue(
        None if is_named else tuple(texts.values()),
        texts if is_named else None,
        draw(header_values(card.header)),
        tuple(value for value in buttons if value is not None),
    )


@st.composite
def header_values(draw: st.DrawFn, header: Header | None) -> HeaderValue | None:
    """Return a header's value."""
    match header and header.format:
        case None:
            return None
        case "TEXT":
            return HeaderValue(text=draw(words)) if header.text.variables else None
        case "LOCATION":
            return HeaderValue(location=LocationValue(draw(st.floats(-90, 90)), 8.5))
        case "PRODUCT":
            return HeaderValue(product=ProductValue(draw(words), "1"))
    return HeaderValue(media=MediaValue(id="1") if draw(st.booleans()) else linked())


def linked() -> MediaValue:
    """Return a file on the web."""
    return MediaValue(link="https://example.com/file")


@st.composite
def button_values(draw: st.DrawFn, index: int, kind: str, url: Any) -> ButtonValue | None:
    """Return a button's value, or nothing where none may be given."""
    match kind:
        case "URL":
            return ButtonValue(index, draw(words)) if url.variables else None
        case "COPY_CODE":
            return ButtonValue(index, draw(codes), kind="copy_code")
        case "MPM":
            return ButtonValue(index, "p1", sections=(SectionValue("Teas", ("p1", "p2")),))
        case "FLOW" if draw(st.booleans()):
            return ButtonValue(index, "token", flow_data={"screen": "A"})
        case "QUICK_REPLY" | "CATALOG" if draw(st.booleans()):
            return ButtonValue(index, draw(words))
    return None


@st.composite
def nearly_fitting(draw: st.DrawFn, definition: Definition, now: Any) -> TemplateParameters:
    """Return parameters of which something may be missing, too much, or another template's."""
    fits = draw(fitting(definition, now))
    other = draw(fitting(draw(definitions()), now))
    taken = {
        name: getattr(draw(st.sampled_from([fits, fits, fits, other])), name)
        for name in (
            "positional",
            "named",
            "header",
            "buttons",
            "cards",
            "offer_expires_at",
        )
    }
    return TemplateParameters(**taken)
