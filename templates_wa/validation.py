"""Check parameters against a template before anything is sent: Meta would refuse with 132000,
132012 or 132018 after the message was queued, this says at once what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from templates_wa.button_values import OTP_LIMIT, check_buttons
from templates_wa.definitions import Card, Definition, Text
from templates_wa.header_values import check_header
from templates_wa.parameters import CardValue, TemplateParameters, Value, text_of
from templates_wa.problems import Place, Problem, ProblemCode, check_text, expected, given

__all__ = ["Problem", "ProblemCode", "problems"]

BODY_LIMIT = 1024
OFFER_BODY_LIMIT = 600
CARD_BODY_LIMIT = 160


def problems(
    definition: Definition, parameters: TemplateParameters, now: datetime
) -> list[Problem]:
    """Return everything Meta would refuse; an empty list: nothing."""
    card, is_named = definition.card, definition.is_named
    most = OFFER_BODY_LIMIT if definition.offer else BODY_LIMIT
    return [
        *_check_card(Place("", ""), card, parameters.card, is_named, most),
        *_check_carousel(definition, parameters),
        *_check_offer(definition, parameters.offer_expires_at, now),
    ]


def code_of(card: Card, values: CardValue) -> str | None:
    """Return the one-time password: the first parameter of the body of such a template."""
    if not card.has_otp or card.body is None:
        return None
    texts = body_values(card.body, values)
    return next((texts[name] for name in card.body.variables if name in texts), None)


def body_values(body: Text, values: CardValue) -> Mapping[str, str]:
    """Return the texts of a body's parameters by the names of its variables."""
    if values.named:
        return {name: text_of(value) for name, value in values.named.items()}
    texts = (text_of(value) for value in values.positional or ())
    return dict(zip(body.variables, texts, strict=False))


def _check_card(
    place: Place, card: Card, values: CardValue, is_named: bool, most: int
) -> Iterator[Problem]:
    yield from check_header(place.item("header", "header"), card.header, values.header)
    found = list(_check_body(place, card.body or Text(""), values, is_named))
    yield from found
    if card.body is not None and not found:
        yield from _check_length(place, card.body, values, most)
    code = code_of(card, values)
    if code is not None and len(code) > OTP_LIMIT:
        yield place.item("body", "named" if values.named else "positional[0]").problem(
            ProblemCode.TOO_LONG, f"the code has {len(code)} characters, {OTP_LIMIT} are allowed"
        )
    yield from check_buttons(place, card.buttons, values.buttons, code=code)


def _check_body(place: Place, body: Text, values: CardValue, is_named: bool) -> Iterator[Problem]:
    positional, named = place.item("body", "positional"), place.item("body", "named")
    if values.positional and values.named:
        yield positional.problem(
            ProblemCode.WRONG_FORMAT, "positional and named parameters were given, one is expected"
        )
    elif is_named and values.positional and body.variables:
        yield positional.problem(
            ProblemCode.WRONG_FORMAT,
            f"positional parameters were given, named ones are expected: {_list(body.variables)}",
        )
    elif not is_named and values.named and body.variables:
        yield named.problem(
            ProblemCode.WRONG_FORMAT,
            f"named parameters were given, positional ones are expected: {len(body.variables)}",
        )
    elif is_named or values.named:
        yield from _check_named(named, body, values.named or {})
        yield from _check_positional(positional, Text(""), values.positional or ())
    else:
        yield from _check_positional(positional, body, values.positional or ())


def _check_positional(place: Place, body: Text, values: tuple[Value, ...]) -> Iterator[Problem]:
    wanted = len(body.variables)
    if len(values) != wanted:
        yield place.problem(
            ProblemCode.WRONG_COUNT, f"{given(len(values), 'parameter')}, {expected(wanted)}"
        )
    for index, value in enumerate(values):
        here = Place(place.component, f"{place.field}[{index}]")
        yield from check_text(here, value, f"parameter {index + 1}")


def _check_named(place: Place, body: Text, values: Mapping[str, Value]) -> Iterator[Problem]:
    if missing := [name for name in body.variables if name not in values]:
        yield place.problem(
            ProblemCode.MISSING,
            f"{given(len(values), 'parameter')}, {expected(len(body.variables))}; "
            f"missing: {_list(missing)}",
        )
    if unknown := [name for name in values if name not in body.variables]:
        yield place.problem(
            ProblemCode.UNEXPECTED,
            f"{given(len(values), 'parameter')}, {expected(len(body.variables))}; "
            f"not in the template: {_list(unknown)}",
        )
    for name, value in values.items():
        if name in body.variables:
            yield from check_text(place.item("", name), value, f"parameter {name}")


def _list(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(name[:64] for name in names)


def _check_length(place: Place, body: Text, values: CardValue, most: int) -> Iterator[Problem]:
    length = len(body.filled(body_values(body, values)))
    if length > most:
        here = place.item("body", "named" if values.named else "positional")
        yield here.problem(
            ProblemCode.TOO_LONG,
            f"the text has {length} characters with its parameters, {most} are allowed",
        )


def _check_carousel(definition: Definition, parameters: TemplateParameters) -> Iterator[Problem]:
    cards, values = definition.cards, parameters.cards
    if len(cards) != len(values):
        yield Place("carousel", "cards").problem(
            ProblemCode.WRONG_COUNT, f"{given(len(values), 'card')}, {expected(len(cards))}"
        )
    for index, (card, value) in enumerate(zip(cards, values, strict=False)):
        place = Place(f"card[{index}]", f"cards[{index}]")
        yield from _check_card(place, card, value, definition.is_named, CARD_BODY_LIMIT)


def _check_offer(
    definition: Definition, expires_at: datetime | None, now: datetime
) -> Iterator[Problem]:
    place = Place("limited_time_offer", "offer_expires_at")
    wanted = definition.offer is not None and definition.offer.has_expiration
    if expires_at is None:
        if wanted:
            yield place.problem(ProblemCode.MISSING, "no expiration was given, 1 is expected")
    elif not wanted:
        yield place.problem(
            ProblemCode.UNEXPECTED, "an expiration was given, the template takes none"
        )
    elif expires_at.tzinfo is None:
        yield place.problem(ProblemCode.WRONG_FORMAT, "the expiration has no offset from UTC")
    elif expires_at <= now:
        yield place.problem(ProblemCode.EXPIRED, "the expiration is not in the future")
