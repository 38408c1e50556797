"""A row's number, enciphered with its owner: only its own text leads back to it."""

from __future__ import annotations

from uuid import UUID

import pytest

from lib.cursors import InvalidCursor, decode_number, encode_number

MINE, THEIRS = UUID(int=1), UUID(int=2)
KEY = "secret"


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1])
def test_a_number_comes_back_as_it_was(number: int) -> None:
    text = encode_number(number, owner=MINE, key=KEY)

    assert decode_number(text, owner=MINE, key=KEY) == number


def test_numbers_that_follow_each_other_do_not_look_like_it() -> None:
    texts = [encode_number(number, owner=MINE, key=KEY) for number in range(100)]

    assert len({text[:8] for text in texts}) == 100


def test_it_is_nobody_elses() -> None:
    text = encode_number(7, owner=MINE, key=KEY)

    with pytest.raises(InvalidCursor):
        decode_number(text, owner=THEIRS, key=KEY)
    with pytest.raises(InvalidCursor):
        decode_number(text, owner=MINE, key="another")


@pytest.mark.parametrize("spelling", ["{}A", "{}AA", "{}=", "ü{}"])
def test_it_takes_no_other_spelling(spelling: str) -> None:
    text = encode_number(7, owner=MINE, key=KEY)

    with pytest.raises(InvalidCursor, match="not a cursor of ours"):
        decode_number(spelling.format(text), owner=MINE, key=KEY)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "%"])
def test_it_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_number(text, owner=MINE, key=KEY)
