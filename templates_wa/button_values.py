"""Check the values of buttons against their kinds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from templates_wa.definitions import Button, ButtonKind
from templates_wa.parameters import ButtonValue
from templates_wa.problems import Place, Problem, ProblemCode, check_text, expected, given

URL_LIMIT = 2000
PAYLOAD_LIMIT = 256
# Meta's pages say 15; newer ones say 20.
COUPON_LIMIT = 20
OTP_LIMIT = 15
SECTION_LIMIT = 10
PRODUCT_LIMIT = 30
TITLE_LIMIT = 24
_ALNUM = re.compile(r"[A-Za-z0-9]*\Z")


def check_buttons(
    place: Place, buttons: Sequence[Button], values: Sequence[ButtonValue], *, code: str | None
) -> Iterator[Problem]:
    """Yield what is wrong with the values of buttons; ``code`` is the body's one-time password."""
    counts = Counter(value.index for value in values)
    for position, value in enumerate(values):
        here = place.item(f"button[{value.index}]", f"buttons[{position}]")
        if not 0 <= value.index < len(buttons):
            yield _no_such_button(here, len(buttons))
        elif counts[value.index] > 1:
            yield here.problem(ProblemCode.WRONG_COUNT, _counted(counts[value.index], 1))
        else:
            yield from _check(here, buttons[value.index], value, code)
    for button in buttons:
        if button.index not in counts and needs_value(button):
            here = place.item(f"button[{button.index}]", "buttons")
            yield here.problem(ProblemCode.MISSING, _counted(0, 1))


def needs_value(button: Button) -> bool:
    """Tell whether Meta refuses a send without a value; a one-time password is taken from the
    body.
    """
    if button.kind == ButtonKind.URL:
        return bool(button.url and button.url.variables)
    return button.kind in (ButtonKind.COPY_CODE, ButtonKind.MPM)


def _counted(count: int, wanted: int) -> str:
    return f"{given(count, 'value')}, {expected(wanted)}"


def _no_such_button(here: Place, count: int) -> Problem:
    has = {0: "no button", 1: "1 button"}.get(count, f"{count} buttons")
    return here.problem(
        ProblemCode.OUT_OF_RANGE, f"a value was given, the template has {has} (counted from 0)"
    )


def _check(here: Place, button: Button, value: ButtonValue, code: str | None) -> Iterator[Problem]:
    if value.kind is not None and value.kind.upper() != button.kind:
        yield here.problem(
            ProblemCode.WRONG_FORMAT, f"another kind of button was given, it is {button.kind}"
        )
    if value.flow_data is not None and button.kind != ButtonKind.FLOW:
        yield here.problem(ProblemCode.UNEXPECTED, "flow_data was given, it is not a FLOW button")
    if value.sections and button.kind != ButtonKind.MPM:
        yield here.problem(ProblemCode.UNEXPECTED, "sections were given, it is not an MPM button")
    yield from _check_value(here, button, value, code)


def _check_value(
    here: Place, button: Button, value: ButtonValue, code: str | None
) -> Iterator[Problem]:
    text = value.value
    if button.kind in (ButtonKind.FLOW, ButtonKind.CATALOG):
        if text is not None:
            yield from check_text(here, text, "the value")
    elif button.kind not in set(ButtonKind):
        kind = button.kind or "of an unknown kind"
        yield here.problem(ProblemCode.UNEXPECTED, f"a value was given, a {kind} button has none")
    elif button.kind == ButtonKind.URL and not (button.url and button.url.variables):
        yield here.problem(ProblemCode.UNEXPECTED, "a value was given, its URL has no variable")
    elif text is None:
        yield here.problem(ProblemCode.MISSING, _counted(0, 1))
    else:
        yield from _check_text(here, button, text, code)
    if button.kind == ButtonKind.MPM:
        yield from _check_sections(here, value)


def _check_text(here: Place, button: Button, text: str, code: str | None) -> Iterator[Problem]:
    match button.kind:
        case ButtonKind.QUICK_REPLY:
            yield from check_text(here, text, "the payload", PAYLOAD_LIMIT)
        case ButtonKind.URL:
            yield from _check_url(here, button, text)
        case ButtonKind.COPY_CODE:
            yield from check_text(here, text, "the code", COUPON_LIMIT)
            if not _ALNUM.match(text):
                yield here.problem(
                    ProblemCode.FORBIDDEN_CHARACTERS, "the code has other than letters and digits"
                )
        case ButtonKind.OTP:
            yield from check_text(here, text, "the code", OTP_LIMIT)
            if code is not None and text != code:
                yield here.problem(ProblemCode.MISMATCH, "the code is not the one of the body")
        case _:
            yield from check_text(here, text, "the value")


def _check_url(here: Place, button: Button, text: str) -> Iterator[Problem]:
    yield from check_text(here, text, "the end of the URL")
    if " " in text:
        yield here.problem(ProblemCode.FORBIDDEN_CHARACTERS, "the end of the URL has a space")
    if button.url is None:
        return
    length = len(button.url.filled(dict.fromkeys(button.url.variables, text)))
    if length > URL_LIMIT:
        yield here.problem(
            ProblemCode.TOO_LONG, f"the URL has {length} characters, {URL_LIMIT} are allowed"
        )


def _check_sections(here: Place, value: ButtonValue) -> Iterator[Problem]:
    here = here.item("", "sections")
    if not 1 <= len(value.sections) <= SECTION_LIMIT:
        yield here.problem(
            ProblemCode.WRONG_COUNT,
            f"{given(len(value.sections), 'section')}, 1 to {SECTION_LIMIT} are expected",
        )
    for section in value.sections:
        yield from check_text(here, section.title, "the title of a section", TITLE_LIMIT)
        for product in section.product_retailer_ids:
            yield from check_text(here, product, "a product_retailer_id")
    counts = [len(section.product_retailer_ids) for section in value.sections]
    if counts and (0 in counts or sum(counts) > PRODUCT_LIMIT):
        yield here.problem(
            ProblemCode.WRONG_COUNT,
            f"every section needs a product, and {PRODUCT_LIMIT} in all are allowed",
        )
