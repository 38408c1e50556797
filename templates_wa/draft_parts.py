"""Check the parts of a template that is to be submitted for review: header, body, footer, buttons.

https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/components
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from templates_wa.definitions import HeaderFormat, Text
from templates_wa.problems import Place, Problem, ProblemCode

Component = Mapping[str, Any]

HEADER_LIMIT, FOOTER_LIMIT = 60, 60
BUTTON_LIMIT, BUTTON_TEXT_LIMIT, URL_LIMIT, PHONE_LIMIT = 10, 25, 2000, 20
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_EDGE = re.compile(r"\A\s*\{\{[^{}]*\}\}|\{\{[^{}]*\}\}\s*\Z")
_FILES = frozenset(
    {HeaderFormat.IMAGE, HeaderFormat.VIDEO, HeaderFormat.DOCUMENT, HeaderFormat.GIF}
)
# Meta has texts of its own for these.
_WORDED = frozenset({"COPY_CODE", "OTP", "CATALOG", "MPM", "SPM"})


def check_header(place: Place, header: Component, is_named: bool) -> Iterator[Problem]:
    """Yield what is wrong with a header."""
    format_ = word(header, "format")
    example = header.get("example")
    if not format_:
        yield place.problem(ProblemCode.MISSING, "no format was given")
    elif format_ in _FILES:
        if not (isinstance(example, Mapping) and example.get("header_handle")):
            yield place.problem(
                ProblemCode.MISSING,
                f"the {format_} needs an example: example.header_handle of an upload to Meta",
            )
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


def check_body(place: Place, body: Component, is_named: bool, most: int) -> Iterator[Problem]:
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
    elif is_named and {_str(v, "param_name") for v in objects(values)} != set(text.variables):
        yield place.problem(ProblemCode.MISMATCH, f"example.{key} does not name the variables")


def check_footer(place: Place, footer: Component) -> Iterator[Problem]:
    """Yield what is wrong with a footer."""
    text = _str(footer, "text")
    yield from _check_length(place, text, FOOTER_LIMIT)
    if Text.of(text, is_named=True).variables:
        yield place.problem(ProblemCode.UNEXPECTED, "a footer has no variables")


def check_buttons(place: Place, component: Component, is_otp: bool) -> Iterator[Problem]:
    """Yield what is wrong with a list of buttons."""
    buttons = objects(component.get("buttons"))
    if not 1 <= len(buttons) <= BUTTON_LIMIT:
        yield place.problem(
            ProblemCode.WRONG_COUNT,
            f"{len(buttons)} buttons were given, 1 to {BUTTON_LIMIT} are expected",
        )
    for index, button in enumerate(buttons):
        here = place.item("", f"buttons[{index}]")
        yield from _check_button(Place(f"button[{index}]", here.field), button, is_otp)


def _check_button(place: Place, button: Component, is_otp: bool) -> Iterator[Problem]:
    kind, text = word(button, "type"), _str(button, "text")
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


def objects(value: object) -> list[Component]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _str(part: Component, key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def word(part: Component, key: str) -> str:
    """Return a text in capitals; empty: there is none."""
    return _str(part, key).upper()
