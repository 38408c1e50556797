"""Phone numbers as people write them: the international form, and the ways to write the same one.

Pure. Nothing here looks a number up: E.164 is a shape, ``+`` and 7 to 15 digits (ITU-T E.164, §6).
"""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[\s().\-\u2010-\u2015]+")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{6,14}")
_DIGITS = re.compile(r"[0-9]+")

# Enough of a number's end to recognise one person's: the longest that is written without an area.
_ENDING = 8
_SHORTEST_NATIONAL = 6

EXPECTED = "Write the number as + and country code, 7 to 15 digits in all, such as +27821234567."

# Brazil: area code (two digits) and a mobile number, whose 9 in front came between 2012 and 2016.
_BRAZIL = re.compile(r"55([1-9][0-9])(9?)([6-9][0-9]{7})")
# Mexico dropped the 1 of mobile numbers in 2019; accounts made before still have it.
_MEXICO = re.compile(r"52(1?)([2-9][0-9]{9})")
# Argentina writes a 9 in front of mobile numbers when they are dialled from abroad.
_ARGENTINA = re.compile(r"54(9?)([1-8][0-9]{9})")

# Area codes of +1 that are not the United States': Canada, the Caribbean and the Pacific
# (North American Numbering Plan). The others are, or will be.
_ELSEWHERE = """
204 226 236 242 246 249 250 257 263 264 268 284 289 306 343 345 354 365 367 368 382 403 416 418
428 431 437 438 441 450 468 473 474 506 514 519 548 579 581 584 587 600 604 613 622 639 647 649
658 664 672 683 705 709 721 742 753 758 767 778 780 782 784 807 809 819 825 829 849 867 868 869
873 876 879 902 905 942
"""
_NOT_UNITED_STATES = frozenset(_ELSEWHERE.split())


# Country calling codes of one and of two digits; all others have three (ITU-T E.164, annex).
_SHORT_CODES = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]")


class NotInternational(ValueError):
    """The number is not in international form; the message says what is wrong, never the number."""


def international(phone: str) -> str:
    """Return the digits of an international number, without ``+``, spaces, dashes, dots, brackets.

    Raises:
        NotInternational: national, too short, too long, or not a number at all.
    """
    bare = _SEPARATORS.sub("", phone)
    if _INTERNATIONAL.fullmatch(bare):
        return bare[1:]
    raise NotInternational(f"{_fault_of(bare)} {EXPECTED}")


def _fault_of(bare: str) -> str:
    digits = bare.removeprefix("+")
    if not bare:
        return "The number is empty."
    if not _DIGITS.fullmatch(digits):
        return "The number holds something other than digits and separators."
    if not bare.startswith("+"):
        return _fault_without_plus(digits)
    if digits.startswith("0"):
        return "The number has a 0 behind the +, where no country code begins."
    return f"The number has {len(digits)} digits."


def _fault_without_plus(digits: str) -> str:
    if digits.startswith("00"):
        return "The number begins with 00; write + instead."
    if digits.startswith("0"):
        return "The number is national: it begins with 0 and has no country code."
    return "The number has no + in front, so nobody can tell whether it has a country code."


def spellings(digits: str) -> tuple[str, ...]:
    """Return the ways to write a number's digits, first as given.

    WhatsApp answers with either of two for mobile numbers of Brazil, Mexico and Argentina (Meta,
    "Phone numbers": the API may add or remove a prefix).
    """
    other = _other(digits)
    return (digits,) if other is None else (digits, other)


def _other(digits: str) -> str | None:
    if not digits.startswith(("52", "54", "55")):
        return None
    if found := _BRAZIL.fullmatch(digits):
        area, nine, rest = found.groups()
        return f"55{area}{'' if nine else '9'}{rest}"
    if found := _MEXICO.fullmatch(digits):
        return f"52{'' if found[1] else '1'}{found[2]}"
    if found := _ARGENTINA.fullmatch(digits):
        return f"54{'' if found[1] else '9'}{found[2]}"
    return None


def national_part(digits: str) -> str:
    """Return an international number's digits without those of the country code."""
    code = _SHORT_CODES.match(digits)
    return digits[code.end() if code else 3 :]


def endings(digits: str) -> tuple[str, ...]:
    """Return digits, one of which every way to write a number holds.

    They are the end of what is dialled inside the country, where the country code and the trunk
    zero are left out. Brazil's and Mexico's ways end alike. Argentina puts a 15 behind the area
    code (two to four digits) of mobile numbers that are dialled inside the country.
    """
    national = national_part(digits)
    if len(national) < _SHORTEST_NATIONAL:
        return (digits,)
    ends = [national[-_ENDING:]]
    if found := _ARGENTINA.fullmatch(digits):
        ends += [f"15{found[2][area:]}" for area in (2, 3, 4)]
    return tuple(ends)


def may_be_in_united_states(digits: str) -> bool:
    """Tell whether a number may be of the United States, as far as its area code tells."""
    return len(digits) == 11 and digits[0] == "1" and digits[1:4] not in _NOT_UNITED_STATES
