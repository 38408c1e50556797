"""Check a template that is to be submitted for review: what Meta would refuse anyway, at once and
with the place. What Meta alone knows (a name of 30 days ago, the account's limit) it will say.

https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/components
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from templates_wa.definitions import NAMED, POSITIONAL, HeaderFormat, Text
from templates_wa.problems import Place, Problem, ProblemCode

Component = Mapping[str, Any]

CATEGORIES = ("AUTHENTICATION", "MARKETING", "UTILITY")
FORMATS = (POSITIONAL, NAMED)
BODY_LIMIT, OFFER_BODY_LIMIT, CARD_BODY_LIMIT = 1024, 600, 160
CARDS = range(2, 11)
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Za-z]{2,4})?")
HEADER_LIMIT, FOOTER_LIMIT = 60, 60
BUTTON_LIMIT, BUTTON_TEXT_LIMIT, URL_LIMIT, PHONE_LIMIT = 10, 25, 2000, 20
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_EDGE = re.compile(r"\A\s*\{\{[^{}]*\}\}|\{\{[^{}]*\}\}\s*\Z")
_FILES = frozenset(
    {HeaderFormat.IMAGE, HeaderFormat.VIDEO, HeaderFormat.DOCUMENT, HeaderFormat.GIF}
)
# Meta has texts of its own for these.
_WORDED = frozenset({"COPY_CODE", "OTP", "CATALOG", "MPM", "SPM"})


def problems(
    *,
    name: str,
    language: str,
    category: str,
    parameter_format: str,
    components: Sequence[Component],
) -> list[Problem]:
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
    choices_of = (("category", category, CATEGORIES), ("parameter_format", format_, FORMATS))
    for field, value, choices in choices_of:
        if value not in choices:
            yield Place(field, field).problem(
                ProblemCode.WRONG_FORMAT, f"one of {', '.join(choices)} is expected"
            )


def _check_components(
    category: str, is_named: bool, components: Sequence[Component]
) -> Iterator[Problem]:
    types = [_word(component, "type") for component in components]
    top = Place("components", "components")
    for kind in sorted({kind for kind in types if types.count(kind) > 1}):
        given = f"{types.count(kind)} {kind} were given"
        yield top.problem(ProblemCode.WRONG_COUNT, f"{given}, 1 is allowed")
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
    match _word(component, "type"):
        case "HEADER":
            yield from _check_header(place, component, is_named)
        case "BODY" if not is_otp:  # Meta writes that of a one-time password itself
            yield from _check_body(place, component, is_named, most)
        case "FOOTER" if not is_otp:
            yield from _check_footer(place, component)
        case "BUTTONS":
            yield from _check_buttons(place, component, is_otp)
        case "CAROUSEL":
            yield from _check_cards(place, component, is_named)
        case "":
            yield place.problem(ProblemCode.MISSING, "no type was given")


def _check_cards(place: Place, carousel: Component, is_named: bool) -> Iterator[Problem]:
    cards = _objects(carousel.get("cards"))
    if len(cards) not in CARDS:
        yield place.problem(
            ProblemCode.WRONG_COUNT,
            f"{len(cards)} cards were given, {CARDS[0]} to {CARDS[-1]} are expected",
        )
    kinds = {tuple(_word(c, "type") for c in _objects(card.get("components"))) for card in cards}
    if len(kinds) > 1:
        yield place.problem(ProblemCode.MISMATCH, "all cards must have the same components")
    for index, card in enumerate(cards):
        for position, component in enumerate(_objects(card.get("components"))):
            here = Place(
                f"card[{index}].{_word(component, 'type').lower()}",
                f"{place.field}.cards[{index}].components[{position}]",
            )
            yield from _check_component(here, component, is_named, CARD_BODY_LIMIT, is_otp=False)


def headers_of(components: Sequence[Component]) -> Iterator[tuple[Place, Component]]:
    """Yield the headers among components, also those of cards, and their places."""
    for index, component in enumerate(components):
        place = Place(_word(component, "type").lower(), f"components[{index}]")
        if place.component == "header":
            yield place, component
        for number, card in enumerate(_objects(component.get("cards"))):
            inner = _objects(card.get("components"))
            for position, part in enumerate(inner):
                if _word(part, "type") == "HEADER":
                    field = f"{place.field}.cards[{number}].components[{position}]"
                    yield Place(f"card[{number}].header", field), part


def media_id_of(header: Component) -> UUID | None:
    """Return the file of ours that a header has as its example; ``None``: it names none."""
    media = header.get("media")
    if not isinstance(media, Mapping):
        return None
    try:
        return UUID(_str(media, "id"))
    except ValueError:
        return None


def _check_file(place: Place, format_: str, header: Component) -> Iterator[Problem]:
    """Yield what is wrong with the example of a header that is a file."""
    example = header.get("example")
    handles = example.get("header_handle") if isinstance(example, Mapping) else None
    if "media" in header:
        if handles:
            yield place.problem(
                ProblemCode.WRONG_COUNT,
                "media and example.header_handle were given, one of the two is expected",
            )
        media = header["media"]
        is_id = isinstance(media, Mapping) and set(media) == {"id"}
        if not is_id or media_id_of(header) is None:
            yield place.item("", "media").problem(
                ProblemCode.WRONG_FORMAT, "media is {id}, the media_id of a file that you uploaded"
            )
    elif not handles:
        yield place.problem(
            ProblemCode.MISSING,
            f"the {format_} needs an example: media {{id}} of a file that you uploaded, or "
            "example.header_handle of an upload to Meta",
        )
    elif any(_is_no_handle(one) for one in (handles if isinstance(handles, list) else [handles])):
        yield place.problem(
            ProblemCode.WRONG_FORMAT,
            "example.header_handle takes the handle of an upload to Meta, no address and no media "
            "id; give media {id} of a file that you uploaded",
        )


def _is_no_handle(handle: object) -> bool:
    """Whether Meta would refuse it: what it lists in the place of a handle is an address."""
    return not isinstance(handle, str) or handle.isdigit() or "://" in handle or not handle.strip()


def _check_header(place: Place, header: Component, is_named: bool) -> Iterator[Problem]:
    """Yield what is wrong with a header."""
    format_ = _word(header, "format")
    example = header.get("example")
    if not format_:
        yield place.problem(ProblemCode.MISSING, "no format was given")
    elif format_ in _FILES:
        yield from _check_file(place, format_, header)
    elif "media" in header:
        yield place.problem(ProblemCode.UNEXPECTED, f"a header of the format {format_} has no file")
    elif format_ == HeaderFormat.TEXT:
        text = Text.of(_str(header, "text"), is_named=is_named)
        yield from _check_length(place, text.text, HEADER_LIMIT)
        if len(text.variables) > 1:
            yield place.problem(
                ProblemCode.WRONG_COUNT,
                f"the text has {len(text.variables)} variables, 1 is allowed",
            )
        key = "header_text_named_params" if is_named else "header_text"
        yield from _check_examples(place, text, example, key, is_named)


def _check_body(place: Place, body: Component, is_named: bool, most: int) -> Iterator[Problem]:
    """Yield what is wrong with a body."""
    text = Text.of(_str(body, "text"), is_named=is_named)
    yield from _check_length(place, text.text, most)
    if _EDGE.search(text.text):
        yield place.problem(
            ProblemCode.WRONG_FORMAT, "the text begins or ends with a variable (Meta: 2388299)"
        )
    yield from _check_variables(place, text, is_named)
    key = "body_text_named_params" if is_named else "body_text"
    yield from _check_examples(place, text, body.get("example"), key, is_named)


def _check_variables(place: Place, text: Text, is_named: bool) -> Iterator[Problem]:
    if is_named:
        wrong = [name[:64] for name in text.variables if not _VARIABLE.fullmatch(name)]
        if wrong:
            yield place.problem(
                ProblemCode.WRONG_FORMAT,
                f"names of variables have a-z, 0-9 and _: {', '.join(wrong)}",
            )
    elif text.variables != tuple(str(n + 1) for n in range(len(text.variables))):
        yield place.problem(
            ProblemCode.WRONG_FORMAT, "variables are numbered {{1}}, {{2}} … without a gap"
        )


def _check_examples(
    place: Place, text: Text, example: object, key: str, is_named: bool
) -> Iterator[Problem]:
    if not text.variables:
        return
    given = example.get(key) if isinstance(example, Mapping) else None
    values = given if isinstance(given, list) else []
    if values and isinstance(values[0], list):
        values = values[0]
    if len(values) != len(text.variables):
        yield place.problem(
            ProblemCode.WRONG_COUNT,
            f"{len(values)} examples were given for {len(text.variables)} variables: example.{key}",
        )
    elif is_named and {_str(v, "param_name") for v in _objects(values)} != set(text.variables):
        yield place.problem(ProblemCode.MISMATCH, f"example.{key} does not name the variables")


def _check_footer(place: Place, footer: Component) -> Iterator[Problem]:
    """Yield what is wrong with a footer."""
    text = _str(footer, "text")
    yield from _check_length(place, text, FOOTER_LIMIT)
    if Text.of(text, is_named=True).variables:
        yield place.problem(ProblemCode.UNEXPECTED, "a footer has no variables")


def _check_buttons(place: Place, component: Component, is_otp: bool) -> Iterator[Problem]:
    """Yield what is wrong with a list of buttons."""
    buttons = _objects(component.get("buttons"))
    if not 1 <= len(buttons) <= BUTTON_LIMIT:
        yield place.problem(
            ProblemCode.WRONG_COUNT,
            f"{len(buttons)} buttons were given, 1 to {BUTTON_LIMIT} are expected",
        )
    for index, button in enumerate(buttons):
        here = place.item("", f"buttons[{index}]")
        yield from _check_button(Place(f"button[{index}]", here.field), button, is_otp)


def _check_button(place: Place, button: Component, is_otp: bool) -> Iterator[Problem]:
    kind, text = _word(button, "type"), _str(button, "text")
    if not kind:
        yield place.problem(ProblemCode.MISSING, "no type was given")
    if not is_otp and kind not in _WORDED:
        yield from _check_length(place, text, BUTTON_TEXT_LIMIT)
    if kind == "URL":
        yield from _check_url(place, button)
    if kind == "PHONE_NUMBER":
        yield from _check_length(place, _str(button, "phone_number"), PHONE_LIMIT, "the number")
    if kind == "COPY_CODE" and not button.get("example"):
        yield place.problem(ProblemCode.MISSING, "the code needs an example")


def _check_url(place: Place, button: Component) -> Iterator[Problem]:
    url = Text.of(_str(button, "url"), is_named=True)
    yield from _check_length(place, url.text, URL_LIMIT, "the URL")
    if len(url.variables) > 1 or (url.variables and not url.text.endswith("}}")):
        yield place.problem(
            ProblemCode.WRONG_FORMAT, "a URL has at most one variable, and at its end"
        )
    if url.variables and not button.get("example"):
        yield place.problem(ProblemCode.MISSING, "the URL's variable needs an example")


def _check_length(place: Place, text: str, most: int, what: str = "the text") -> Iterator[Problem]:
    if not text.strip():
        yield place.problem(ProblemCode.EMPTY, f"{what} is empty")
    if len(text) > most:
        yield place.problem(
            ProblemCode.TOO_LONG, f"{what} has {len(text)} characters, {most} are allowed"
        )


def _objects(value: object) -> list[Component]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _str(part: Component, key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def _word(part: Component, key: str) -> str:
    """Return a text in capitals; empty: there is none."""
    return _str(part, key).upper()
