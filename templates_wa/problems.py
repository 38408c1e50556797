"""What can be wrong with a template's parameters, and the checks that all texts share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from templates_wa.parameters import Localized, Value, text_of

# Meta refuses them in parameters (132012, 132018): line breaks, tabs, more than four spaces. Other
# control characters and halves of surrogate pairs cannot even be written as JSON or stored.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]| {5}")
_CURRENCY = re.compile(r"[A-Z]{3}")


class ProblemCode(StrEnum):
    """What is wrong, for programs."""

    WRONG_COUNT = "WRONG_COUNT"
    MISSING = "MISSING"
    UNEXPECTED = "UNEXPECTED"
    WRONG_FORMAT = "WRONG_FORMAT"
    EMPTY = "EMPTY"
    TOO_LONG = "TOO_LONG"
    FORBIDDEN_CHARACTERS = "FORBIDDEN_CHARACTERS"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    MISMATCH = "MISMATCH"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why Meta would refuse a send. ``component`` is the part of the template (``body``,
    ``button[0]``, ``card[1].header``), ``field`` the place in the parameters
    (``cards[1].header``); ``message`` begins with the component and quotes no value.
    """

    component: str
    field: str
    code: ProblemCode
    message: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is checked: makes problems that name it."""

    component: str
    field: str

    def problem(self, code: ProblemCode, message: str) -> Problem:
        """Return a problem here."""
        return Problem(self.component, self.field, code, f"{self.component}: {message}")

    def item(self, component: str, field: str) -> Place:
        """Return a place inside this one."""
        return Place(_joined(self.component, component), _joined(self.field, field))


def _joined(outer: str, inner: str) -> str:
    return f"{outer}.{inner}" if outer and inner else outer or inner


def check_text(place: Place, value: Value, what: str, most: int | None = None) -> Iterator[Problem]:
    """Yield what Meta refuses in a parameter's text; ``what`` names it, ``most`` is characters."""
    text = text_of(value)
    if isinstance(value, Localized) and not _is_whole(value):
        yield place.problem(
            ProblemCode.WRONG_FORMAT,
            f"{what} is an amount only with code (three capitals, ISO 4217) and amount_1000",
        )
    if not text.strip():
        yield place.problem(ProblemCode.EMPTY, f"{what} is empty")
    if _FORBIDDEN.search(text):
        yield place.problem(
            ProblemCode.FORBIDDEN_CHARACTERS,
            f"{what} has a line break, a tab, more than four spaces in a row or a control "
            "character",
        )
    if most is not None and len(text) > most:
        yield place.problem(
            ProblemCode.TOO_LONG, f"{what} has {len(text)} characters, {most} are allowed"
        )


def _is_whole(value: Localized) -> bool:
    if value.code is None or value.amount_1000 is None:
        return value.code is None and value.amount_1000 is None
    return _CURRENCY.fullmatch(value.code) is not None


def given(count: int, noun: str) -> str:
    """Return ``1 parameter was given``."""
    if not count:
        return f"no {noun} was given"
    return f"1 {noun} was given" if count == 1 else f"{count} {noun}s were given"


def expected(count: int) -> str:
    """Return ``3 are expected``."""
    return {0: "none is expected", 1: "1 is expected"}.get(count, f"{count} are expected")
