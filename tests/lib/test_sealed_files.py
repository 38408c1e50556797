"""A sealed file opens whole, or not at all."""

from __future__ import annotations

import os
from io import BytesIO

import pytest

from lib.envelope import OVERHEAD, CannotOpen, Cipher
from lib.sealed_files import PIECE, SealedWriter, opened

CIPHER, PLACE = Cipher(1, bytes(32)), b"acme|uploads.content|1"
SEALED = PIECE + OVERHEAD


def sealed(content: bytes, size: int = 10_000) -> bytes:
    """Return a sealed file that was written in pieces of ``size``."""
    file = BytesIO()
    writer = SealedWriter(file, CIPHER, PLACE)
    for at in range(0, len(content), size):
        writer.write(content[at : at + size])
    writer.finish()
    return file.getvalue()


def clear(file: bytes, place: bytes = PLACE) -> bytes:
    """Return what is in a sealed file."""
    return b"".join(opened(BytesIO(file), CIPHER, place))


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7])
def test_it_opens_what_was_sealed(size: int) -> None:
    content = os.urandom(size)

    assert clear(sealed(content)) == content == clear(sealed(content, 1_000_000))
    assert len(sealed(content)) == size + OVERHEAD * max(1, -(-size // PIECE))


def test_it_notices_that_a_file_was_cut() -> None:
    file = sealed(os.urandom(3 * PIECE))

    for end in (0, 1, SEALED, 2 * SEALED, len(file) - 1):
        with pytest.raises(CannotOpen):
            clear(file[:end])


def test_it_notices_that_pieces_were_moved_left_out_or_added() -> None:
    file = sealed(os.urandom(4 * PIECE))
    first, second, third, last = (file[at : at + SEALED] for at in range(0, len(file), SEALED))

    for other in (
        second + first + third + last,
        first + third + last,
        first + second + third + last + last,
        first + second + second + last,
        first + second + third[:-1] + b"x" + last,
    ):
        with pytest.raises(CannotOpen):
            clear(other)


def test_it_does_not_open_in_another_place() -> None:
    with pytest.raises(CannotOpen):
        clear(sealed(b"acme's"), b"globex|uploads.content|1")


def test_it_opens_what_a_storage_reads_in_little_bits() -> None:
    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 1_000))

    content = os.urandom(2 * PIECE + 5)

    assert b"".join(opened(Slow(sealed(content)), CIPHER, PLACE)) == content
