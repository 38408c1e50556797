"""Bodies and preferences, as values: whatever comes, it is read or refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sender import messages
from connectors.sender.errors import ServiceError
from connectors.sender.messages import TextMessage, seconds_to_wait

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def read(body: bytes) -> TextMessage | ServiceError:
    """Read a body; return what it is, or why it is not."""
    try:
        return messages.text_in(body)
    except ServiceError as error:
        return error


@given(st.binary(max_size=200))
def test_it_reads_or_refuses_any_bytes(body: bytes) -> None:
    assert isinstance(found := read(body), TextMessage) or found.status == 400


@given(VALUES)
def test_it_reads_nothing_but_two_texts(value: object) -> None:
    found = read(json.dumps(value).encode())

    assert isinstance(found, ServiceError)
    assert found.code in ("BAD_REQUEST", "INVALID_INPUT")
    assert found.message


@given(TEXTS, TEXTS, st.booleans())
def test_it_reads_every_text(phone: str, message: str, is_ascii: bool) -> None:
    body = json.dumps({"message": message, "phone": phone}, ensure_ascii=is_ascii)

    assert read(body.encode()) == TextMessage(phone, message)


@given(TEXTS.filter(lambda name: name not in messages.FIELDS), VALUES)
def test_it_names_what_it_does_not_know(name: str, value: object) -> None:
    found = read(json.dumps({"phone": "+27", "message": "x", name: value}).encode())

    assert isinstance(found, ServiceError)
    assert messages._shown(name) in found.message


@given(st.binary(max_size=60))
def test_it_understands_or_ignores_any_preference(header: bytes) -> None:
    assert 0 <= seconds_to_wait(header, 20) <= 20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"", 20),
        (b"respond-async", 0),
        (b"Respond-Async, wait=10", 10),
        (b"wait=5", 5),
        (b'WAIT = "7"; x=y', 7),
        (b"wait=100", 20),
        (b"wait=3, wait=9", 3),
        (b"wait=x, return=minimal", 20),
    ],
)
def test_it_reads_preferences(header: bytes, seconds: float) -> None:
    assert seconds_to_wait(header, 20) == seconds


def test_it_keeps_numbers_out_of_logs() -> None:
    assert "2771" not in repr(TextMessage("+27711558396", "to +27711558396"))
