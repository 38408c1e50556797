"""Check a template that is to be submitted for review: what Meta would refuse anyway, at once and
with the place. What Meta alone knows (a name of 30 days ago, the account's limit) it will say.

https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/components
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from templates_wa.definitions import NAMED, POSITIONAL
from templates_wa.draft_parts import (
    Component,
    check_body,
    check_buttons,
    check_footer,
    check_header,
    objects,
    word,
)
from templates_wa.problems import Place, Problem, ProblemCode

CATEGORIES = ("AUTHENTICATION", "MARKETING", "UTILITY")
FORMATS = (POSITIONAL, NAMED)
BODY_LIMIT, OFFER_BODY_LIMIT, CARD_BODY_LIMIT = 1024, 600, 160
CARDS = range(2, 11)
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z]{2,4})?")


def problems(
    *, name: str, language: str, category: str, parameter_format: str,
    components: Sequence[Component],
) -> list[Problem]:  # fmt: skip
    """Return everything Meta would refuse, as far as it can be told from here."""
    return [
        *_check_names(name, language, category, parameter_format),
        *content_problems(category, parameter_format, components),
    ]


def content_problems(
    category: str, parameter_format: str, components: Sequence[Component]
) -> list[Problem]:
    """Return what is wrong with the components alone."""
    return list(_check_components(category, parameter_format == NAMED, components))


def _check_names(name: str, language: str, category: str, format_: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        yield Place("name", "name").problem(
            ProblemCode.WRONG_FORMAT, "1 to 512 of a-z, 0-9 and _ are expected"
        )
    if not _LANGUAGE.fullmatch(language):
        yield Place("language", "language").problem(
            ProblemCode.WRONG_FORMAT, "a code such as en or en_US is expected"
        )
    for field, value, choices in (
        ("category", category, CATEGORIES), ("parameter_format", format_, FORMATS),
    ):  # fmt: skip
        if value not in choices:
            yield Place(field, field).problem(
                ProblemCode.WRONG_FORMAT, f"one of {', '.join(choices)} is expected"
            )


def _check_components(
    category: str, is_named: bool, components: Sequence[Component]
) -> Iterator[Problem]:
    types = [word(component, "type") for component in components]
    top = Place("components", "components")
    for kind in sorted({kind for kind in types if types.count(kind) > 1}):
        yield top.problem(ProblemCode.WRONG_COUNT, f"{types.count(kind)} {kind} were given, 1 is "
                          "allowed")  # fmt: skip
    if "BODY" not in types:
        yield top.problem(ProblemCode.MISSING, "no BODY was given, 1 is expected")
    if "LIMITED_TIME_OFFER" in types and "FOOTER" in types:
        yield top.problem(ProblemCode.UNEXPECTED, "a limited-time offer has no FOOTER")
    most = OFFER_BODY_LIMIT if "LIMITED_TIME_OFFER" in types else BODY_LIMIT
    for index, component in enumerate(components):
        place = Place((types[index] or "component").lower(), f"components[{index}]")
        yield from _check_component(place, component, is_named, most, category == "AUTHENTICATION")


def _check_component(
    place: Place, component: Component, is_named: bool, most: int, is_otp: bool
) -> Iterator[Problem]:
    match word(component, "type"):
        case "HEADER":
            yield from check_header(place, component, is_named)
        case "BODY" if not is_otp:  # Meta writes that of a one-time password itself
            yield from check_body(place, component, is_named, most)
        case "FOOTER" if not is_otp:
            yield from check_footer(place, component)
        case "BUTTONS":
            yield from check_buttons(place, component, is_otp)
        case "CAROUSEL":
            yield from _check_cards(place, component, is_named)
        case "":
            yield place.problem(ProblemCode.MISSING, "no type was given")


def _check_cards(place: Place, carousel: Component, is_named: bool) -> Iterator[Problem]:
    cards = objects(carousel.get("cards"))
    if len(cards) not in CARDS:
        yield place.problem(
            ProblemCode.WRONG_COUNT,
            f"{len(cards)} cards were given, {CARDS[0]} to {CARDS[-1]} are expected",
        )
    kinds = {tuple(word(c, "type") for c in objects(card.get("components"))) for card in cards}
    if len(kinds) > 1:
        yield place.problem(ProblemCode.MISMATCH, "all cards must have the same components")
    for index, card in enumerate(cards):
        for position, component in enumerate(objects(card.get("components"))):
            here = Place(
                f"card[{index}].{word(component, 'type').lower()}",
                f"{place.field}.cards[{index}].components[{position}]",
            )
            yield from _check_component(here, component, is_named, CARD_BODY_LIMIT, is_otp=False)
