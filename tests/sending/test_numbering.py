"""International numbers: their shape, what is said of others, and two ways to write the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.numbering import (
    NotInternational,
    endings,
    international,
    may_be_in_united_states,
    national_part,
    spellings,
)

DIGITS = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)
SEPARATORS = st.text(" -().\u2011\u00a0", max_size=2)


@settings(max_examples=50)
@given(DIGITS, st.lists(SEPARATORS, min_size=15, max_size=15))
def test_it_reads_a_number_however_it_is_separated(digits: str, separators: list[str]) -> None:
    written = "+" + "".join(a + b for a, b in zip(separators, digits, strict=False))

    assert international(written) == digits


@given(st.text("0123456789+ -()ABC\u0663", max_size=24))
def test_it_takes_the_shape_or_says_why_without_the_number(written: str) -> None:
    bare = re.sub(r"[\s().-]", "", written)
    try:
        assert f"+{international(written)}" == bare
    except NotInternational as error:
        assert not re.fullmatch(r"\+[1-9][0-9]{6,14}", bare)
        said = str(error).replace("+27821234567", "")
        assert not [run for run in re.findall(r"[0-9]{3,}", bare) if run in said]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("0711558396", "national"),
        ("0027711558396", "write + instead"),
        ("27711558396", "no + in front"),
        ("+0711558396", "no country code begins"),
        ("+123456", "6 digits"),
        ("+1234567890123456", "16 digits"),
        ("", "empty"),
        ("+27 call me", "other than digits"),
        ("+\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "other than digits"),
    ],
)
def test_it_says_what_is_wrong_and_what_is_expected(written: str, fault: str) -> None:
    with pytest.raises(NotInternational, match=re.escape(fault)) as info:
        international(written)
    assert "country code" in str(info.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491123456789", "541123456789"),
    ],
)
def test_it_knows_the_two_ways_of_three_countries(one: str, other: str) -> None:
    assert (spellings(one), spellings(other)) == ((one, other), (other, one))


@given(DIGITS | st.from_regex(r"5[245][0-9]{8,12}", fullmatch=True))
def test_two_ways_lead_back_to_one_another(digits: str) -> None:
    first, *others = spellings(digits)

    assert first == digits
    for other in others:
        assert other != digits
        assert spellings(other) == (other, digits)


@pytest.mark.parametrize(
    ("digits", "is_there"),
    [
        ("12025550123", True),
        ("14165550123", False),
        ("18765550123", False),
        ("442071838750", False),
    ],
)
def test_it_tells_the_united_states_from_their_neighbours(digits: str, is_there: bool) -> None:
    assert may_be_in_united_states(digits) is is_there


def ways_to_write(digits: str) -> list[str]:
    """Return how people write a number: from abroad, inside the country, on a card."""
    national = national_part(digits)
    return [f"+{digits}", f"00{digits}", digits, national, f"0{national}", f"+{digits}(0)"]


@settings(max_examples=50)
@given(DIGITS)
def test_a_country_code_has_one_to_three_digits(digits: str) -> None:
    national = national_part(digits)

    assert digits.endswith(national)
    assert 1 <= len(digits) - len(national) <= 3


@pytest.mark.parametrize(
    ("digits", "national"),
    [
        ("12025550123", "2025550123"),
        ("79161234567", "9161234567"),
        ("27821234567", "821234567"),
        ("442071838750", "2071838750"),
        ("35312345678", "12345678"),
        ("4201234567", "1234567"),
    ],
)
def test_it_leaves_the_country_code_out(digits: str, national: str) -> None:
    assert national_part(digits) == national


@settings(max_examples=50)
@given(DIGITS.filter(lambda digits: len(national_part(digits)) >= 6))
def test_each_way_to_write_a_number_holds_one_of_its_endings(digits: str) -> None:
    for spelling in spellings(digits):
        for way in ways_to_write(spelling):
            assert any(ending in way for ending in endings(digits)), way


@pytest.mark.parametrize("area", [2, 3, 4])
@pytest.mark.parametrize("nine", ["", "9"])
def test_it_knows_what_argentina_dials_inside_the_country(area: int, nine: str) -> None:
    national = "2966123456"
    dialled = f"0{national[:area]}15{national[area:]}"

    assert any(ending in dialled for ending in endings(f"54{nine}{national}"))


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        # What would be left is too short to tell one person from another.
        ("3531234", ("3531234",)),
        ("27123456", ("123456",)),
        ("2712345", ("2712345",)),
        ("27821234567", ("21234567",)),
    ],
)
def test_a_short_number_is_recognised_as_a_whole(digits: str, expected: tuple[str, ...]) -> None:
    assert endings(digits) == expected


@pytest.mark.parametrize("digits", ["1202555012", "120255501234", "22025550123"])
def test_no_other_length_and_no_other_code_is_the_united_states(digits: str) -> None:
    assert not may_be_in_united_states(digits)
