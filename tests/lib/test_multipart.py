"""A form is taken apart the same way, however it is cut."""

from __future__ import annotations

import pytest

from lib.multipart import MOST_HEAD, MultipartError, MultipartParser, Part

KIND = 'multipart/form-data; boundary="a b"'
FORM = (
    b'--a b\r\nContent-Disposition: form-data; name="workspace_id"\r\n\r\n1\r\n'
    b'--a b\r\nContent-Disposition: form-data; name="file"; filename="a \xc3\xbc.pdf"\r\n'
    b"Content-Type: application/pdf\r\n\r\n\r\n--a\r\n--a bc \r\n-\r\n"
    b'--a b\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n--a b--\r\nignored'
)
# "--a bc" begins with the boundary's line but goes on.
GOOD = FORM.replace(b"\r\n--a bc ", b"\r\n--a  ")


def taken(body: bytes, size: int) -> list[tuple[Part, bytes]]:
    """Return the parts of a form that comes in pieces."""
    parser = MultipartParser(KIND)
    parts: list[tuple[Part, bytes]] = []
    for at in range(0, len(body), size):
        for one in parser.feed(body[at : at + size]):
            if isinstance(one, Part):
                parts.append((one, b""))
            else:
                assert one
                parts[-1] = (parts[-1][0], parts[-1][1] + one)
    parser.close()
    return parts


@pytest.mark.parametrize("size", [*range(1, 90), len(GOOD)])
def test_it_finds_the_same_parts_however_they_are_cut(size: int) -> None:
    assert taken(GOOD, size) == [
        (Part("workspace_id", None, ""), b"1"),
        (Part("file", "a ü.pdf", "application/pdf"), b"\r\n--a\r\n--a  \r\n-"),
        (Part("empty", None, ""), b""),
    ]


@pytest.mark.parametrize("end", range(0, len(GOOD) - 10, 7))
def test_it_notices_that_a_form_was_cut_off(end: int) -> None:
    with pytest.raises(MultipartError, match="ends before"):
        taken(GOOD[:end], 1_000)


@pytest.mark.parametrize(
    "body",
    [
        FORM,
        b"x" * 2_000,
        b"--a b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--a b--",
        b'--a b\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n--a b--',
        b"--a b\r\nX: " + b"y" * MOST_HEAD,
    ],
)
def test_it_refuses_what_is_no_form(body: bytes) -> None:
    with pytest.raises(MultipartError):
        taken(body, 100)


@pytest.mark.parametrize("kind", ["multipart/form-data", 'multipart/form-data; boundary="ü"'])
def test_it_needs_a_boundary(kind: str) -> None:
    with pytest.raises(MultipartError, match="boundary"):
        MultipartParser(kind)


def test_it_holds_no_more_than_what_may_be_a_boundary() -> None:
    parser = MultipartParser(KIND)
    head = b'--a b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    list(parser.feed(head))

    for _ in range(20):
        list(parser.feed(bytes(100_000)))
        assert len(parser._buffer) < 10
