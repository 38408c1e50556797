import pytest

from lib.masking import MASK, account_name, conceal, conceal_tree, mask, word

OWN = "27000000101"


@pytest.mark.parametrize(
    "number",
    ["27000000101", "+27000000101", "+27 00 000 0101", "(000) 000-0101", "000.000.0101", "1234567"],
)
def test_it_masks_a_number_in_any_notation(number: str) -> None:
    assert mask(f"Call {number} now") == f"Call {MASK} now"


@pytest.mark.parametrize("text", ["code 123456", "2026-01-15", "on 2026-01-15 10:30", "v1.2.3", ""])
def test_it_leaves_short_numbers_and_dates(text: str) -> None:
    assert mask(text) == text


def test_it_masks_message_ids() -> None:
    assert mask("lost wamid.HBgLMjcwMDA+/w== today") == f"lost {MASK} today"


@pytest.mark.parametrize("text", ["27000000101", "+27 000 000 101", "000 000 101", "x0000-00101y"])
def test_it_conceals_ones_own_number_in_any_notation(text: str) -> None:
    assert "101" not in conceal(text, OWN)


@pytest.mark.parametrize("text", ["194836987003835", "order 20260115-1", "sku-1234567"])
def test_it_leaves_identifiers_that_are_not_ones_own_number(text: str) -> None:
    assert conceal(text, OWN) == text


def test_it_conceals_international_numbers_of_others() -> None:
    assert conceal("ask +1 555 010 0199", None) == f"ask {MASK}"


def test_it_conceals_in_tuples_too() -> None:
    assert conceal_tree({"a": ({"b": "+27 00 000 0101"},)}, None) == {"a": [{"b": MASK}]}


@pytest.mark.parametrize(
    "name",
    ["Thandi", "Thandi Mokoena", "B2B Shop 24", "Shop 24681012", "Order 194836987003835", "李雷"],
)
def test_it_keeps_a_name(name: str) -> None:
    assert account_name(f" {name} ", OWN) == name


@pytest.mark.parametrize("name", [None, "", "  "])
def test_it_has_no_name_where_there_is_none(name: str | None) -> None:
    assert account_name(name, OWN) is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("27000000101", MASK),
        ("+27 00 000 0101", MASK),
        ("T 000000101", f"T {MASK}"),
        ("Ana (+44 20 7946 0958)", f"Ana ({MASK})"),
        ("0,0,0,0,0,0,1,0,1", MASK),
    ],
)
def test_it_leaves_the_number_out_of_a_name_and_keeps_the_rest(name: str, kept: str) -> None:
    assert account_name(name, OWN) == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Text", "text"), ("a b/c", "a_b_c"), (131051, "131051"), (None, ""), ([], ""), ("é", "")],
)
def test_it_makes_a_word(text: object, expected: str) -> None:
    assert word(text) == expected


def test_it_makes_no_word_longer_than_64_and_none_of_a_number() -> None:
    assert word("x" * 100) == "x" * 64
    assert "101" not in word("+27 000 000 101")
