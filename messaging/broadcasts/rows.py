"""A row of a broadcast's list, from a file or from the API, and what may be wrong with it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from lib.numbering import NotInternational, international, spellings
from templates_wa.parameters import TemplateParameters

# Meta, "Business-scoped user IDs": country, perhaps ENT for a parent's, then letters and digits.
USER_ID = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[0-9A-Za-z]{1,128}")
MOST_REFERENCE = 128
# So many digits of somebody's number, or more, are their number.
TELLING_DIGITS = 7
# What spreadsheets and messengers leave around a copied number: marks of direction and width.
INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
NON_DIGITS = re.compile(r"\D+")
NO_PARAMETERS = TemplateParameters()


class RowCode(StrEnum):
    """What is wrong with a row."""

    NOT_UTF_8 = "NOT_UTF_8"
    NOT_CSV = "NOT_CSV"
    TOO_LONG = "TOO_LONG"
    WRONG_NUMBER_OF_CELLS = "WRONG_NUMBER_OF_CELLS"
    NO_RECIPIENT = "NO_RECIPIENT"
    INVALID_PHONE = "INVALID_PHONE"
    INVALID_USER_ID = "INVALID_USER_ID"
    INVALID_REFERENCE = "INVALID_REFERENCE"
    INVALID_MEDIA = "INVALID_MEDIA"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row cannot be taken; ``position`` is its line, ``message`` holds no phone number."""

    position: int
    code: RowCode
    message: str


class UnusableRow(ValueError):
    """A row cannot be taken; the message says which column, what was expected and what came."""

    def __init__(self, code: RowCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    def at(self, position: int) -> RowProblem:
        """Return it as a problem of the row at ``position``."""
        return RowProblem(position, self.code, self.message)


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """One person: ``phone`` (digits) or ``user_id`` (a BSUID), and values of their own."""

    position: int
    phone: str = field(default="", repr=False)
    user_id: str = ""
    reference: str = ""
    parameters: TemplateParameters = field(default=NO_PARAMETERS, repr=False)

    @property
    def same_person(self) -> str:
        """Return the spelling of the number that stands for all of its spellings."""
        return min(spellings(self.phone))

    @property
    def is_parent(self) -> bool:
        """Whether the BSUID is one of a parent portfolio's."""
        return self.user_id[3:].startswith("ENT.")


def make(
    position: int, *, phone: str, user_id: str, reference: str, parameters: TemplateParameters
) -> ListedPerson:
    """Return a row of what a caller wrote.

    Raises:
        UnusableRow: see there.
    """
    digits, bsuid = _phone(phone), _user_id(user_id)
    if bool(digits) == bool(bsuid):
        which = "both were given" if digits else "neither was given"
        raise UnusableRow(RowCode.NO_RECIPIENT, f"phone or user_id: one is expected, {which}.")
    return ListedPerson(position, digits, bsuid, _reference(reference, digits), parameters)


def _phone(text: str) -> str:
    bare = INVISIBLE.sub("", text).strip()
    if not bare:
        return ""
    try:
        return international(bare)
    except NotInternational as error:
        raise UnusableRow(RowCode.INVALID_PHONE, f"phone: {error}") from None


def _user_id(text: str) -> str:
    bare = INVISIBLE.sub("", text).strip()
    if bare and not USER_ID.fullmatch(bare):
        expected = "two capital letters, a dot, letters and digits are expected"
        raise UnusableRow(RowCode.INVALID_USER_ID, f"user_id: {expected}; something else came.")
    return bare


def _reference(text: str, phone: str) -> str:
    reference = text.strip()
    if len(reference) > MOST_REFERENCE or not reference.isprintable():
        expected = f"at most {MOST_REFERENCE} printable characters are expected"
        raise UnusableRow(
            RowCode.INVALID_REFERENCE, f"reference: {expected}, {len(reference)} came."
        )
    # It is kept longer than the number is.
    if phone and phone[-max(TELLING_DIGITS, len(phone) - 3) :] in NON_DIGITS.sub("", reference):
        raise UnusableRow(
            RowCode.INVALID_REFERENCE, "reference: it must not hold the phone number itself."
        )
    return reference


def merged(shared: TemplateParameters, own: TemplateParameters) -> TemplateParameters:
    """Return the parameters of a row: its own, and where it has none those that all share."""
    buttons = {button.index: button for button in (*shared.buttons, *own.buttons)}
    has_body = own.positional is not None or own.named is not None
    return TemplateParameters(
        positional=own.positional if has_body else shared.positional,
        named=own.named if has_body else shared.named,
        header=own.header or shared.header,
        buttons=tuple(buttons[index] for index in sorted(buttons)),
        cards=own.cards or shared.cards,
        offer_expires_at=own.offer_expires_at or shared.offer_expires_at,
    )
