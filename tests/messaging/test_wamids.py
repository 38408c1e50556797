"""The key inside Meta's id of a message: read strictly, or not at all."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.references import inner_key

KEY = "3A00112233445566778F"
PHONE, USER, GROUP = 0x02, 0x14, 0x08


def string(text: str) -> bytes:
    size = len(text)
    return (
        b"\x18"
        + (bytes([size]) if size < 128 else bytes([size % 128 + 128, size >> 7]))
        + text.encode()
    )


def party(who: str, kind: int) -> bytes:
    return b"\x1c" + string(who) + bytes([0x15, kind, 0])


def wamid(
    who: str, key: str, *, kind: int = PHONE, is_ours: bool = False, participant: str = ""
) -> str:
    """Write an id as Meta does."""
    data = party(who, kind) + (b"\x11" if is_ours else b"\x12") + string(key)
    data += party(participant, PHONE) if participant else b""
    return "wamid." + b64encode(data + b"\x00").decode()


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("wamid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTAwMTEyMjMzNDQ1NTY2Nzc4RgA=", KEY),
        ("wamid.HBgTWlouMTAwMDIwMDAzMDAwNDAwMBUUABIYFDNBMDAxMTIyMzM0NDU1NjY3NzhGAA==", KEY),
        ("wamid.HBgMNTU1NTAxMDAxMjM0FQIAEhgUM0EwMDExMjIzMzQ0NTU2Njc3OEYA", KEY),
        ("wamid.HBgLMTU1NTAxMDAxMjMVAgARGBIwMTIzNDU2Nzg5QUJDREVGMDEA", "0123456789ABCDEF01"),
        (
            "wamid.HBgTWlouMTAwMDIwMDAzMDAwNDAwMBUUABEYEjAxMjM0NTY3ODlBQkNERUYwMQA=",
            "0123456789ABCDEF01",
        ),
        (
            "wamid.HBgSMTIwMzAwMDAwMDAwMDAwMDAxFQgAEhgWM0VCMEFBQUFCQkJCQ0NDQ0REREQwMRwYCzE1NTUwMTAwMT"
            "IzFQIAAA==",
            "3EB0AAAABBBBCCCCDDDD01",
        ),
        ("wamid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTAwMTEyMjMzNDQ1NTY2Nzc4RgA", KEY),
        ("wamid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTAwMTEyMjMzNDQ1NTY2Nzc4Rg=", None),
        ("HBgLMTU1NTAxMDAxMjMVAgASGBQzQTAwMTEyMjMzNDQ1NTY2Nzc4RgA=", None),
        ("wacid.HBgLMTU1NTAxMDAxMjMVAgASGBQzQTAwMTEyMjMzNDQ1NTY2Nzc4RgA=", None),
        ("wamid.gBGGFlA5QVlwAgkAAA", None),
        ("wamid.1", None),
        ("wamid.", None),
        ("", None),
        ("sha256:00", None),
    ],
)
def test_it_reads_the_key(given: str, key: str | None) -> None:
    assert inner_key(given) == key


keys = st.text(
    st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=128
)
people = st.tuples(
    st.from_regex(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}", fullmatch=True), st.just(USER)
) | (st.tuples(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from((PHONE,))))


@given(people, keys, st.booleans())
def test_it_reads_every_key_that_is_written_so(
    who: tuple[str, int], key: str, is_ours: bool
) -> None:
    written = wamid(who[0], key, kind=who[1], is_ours=is_ours)

    assert inner_key(written) == key
    assert inner_key(written.rstrip("=").replace("+", "-").replace("/", "_")) == key


@given(people, keys, st.data())
def test_it_reads_nothing_of_half_an_id_or_more_than_one(
    who: tuple[str, int], key: str, data
) -> None:
    whole = party(*who) + b"\x12" + string(key) + b"\x00"
    cut = data.draw(st.integers(0, len(whole) - 1))
    more = data.draw(st.binary(min_size=1, max_size=40))

    for wrong in (whole[:cut], whole + more):
        assert inner_key("wamid." + b64encode(wrong).decode()) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b64encode(b).decode()))
def test_it_never_raises(anything: str) -> None:
    for given_id in (anything, "wamid." + anything):
        key = inner_key(given_id)
        assert key is None or key.isascii()
