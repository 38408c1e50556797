"""Files sealed in pieces, so that neither sealing nor opening one holds it whole.

Each piece is a sealed value of :mod:`lib.envelope`. What binds it to its place says also which
piece it is and whether it is the last one: a file that was cut, or whose pieces were moved, does
not open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from lib.envelope import OVERHEAD, Cipher

PIECE = 65_536


class Readable(Protocol):
    """An open file of sealed pieces."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to so many bytes; none at the end."""


class Writable(Protocol):
    """An open file that takes sealed pieces."""

    def write(self, data: bytes, /) -> int:
        """Write bytes."""


class SealedWriter:
    """Seals what it is given into a file; ``place`` is what binds the file to its row."""

    def __init__(self, file: Writable, cipher: Cipher, place: bytes) -> None:
        self._file, self._cipher, self._place = file, cipher, place
        self._rest, self._count, self.size = bytearray(), 0, 0

    def write(self, data: bytes) -> None:
        """Add to the file."""
        self._rest += data
        self.size += len(data)
        while len(self._rest) > PIECE:  # what is left may be the last piece
            self._seal(bytes(self._rest[:PIECE]), is_last=False)
            del self._rest[:PIECE]

    def finish(self) -> None:
        """Write the last piece: without it the file does not open."""
        self._seal(bytes(self._rest), is_last=True)
        self._rest.clear()

    def _seal(self, piece: bytes, *, is_last: bool) -> None:
        bound = _bound(self._place, self._count, is_last)
        self._file.write(self._cipher.seal(piece, bound))
        self._count += 1


def opened(
    file: Readable, cipher: Cipher | Callable[[bytes], Cipher], place: bytes
) -> Iterator[bytes]:
    """Yield what was sealed into a file, piece by piece; ``cipher`` is its cipher, or finds that by
    the first piece.

    Raises:
        lib.envelope.CannotOpen: the file was altered, cut, or is another row's.
    """
    count, piece = 0, _read(file)
    cipher = cipher if isinstance(cipher, Cipher) else cipher(piece)
    while True:
        following = _read(file)
        yield cipher.open(piece, _bound(place, count, not following))
        if not following:
            return
        count, piece = count + 1, following


def _bound(place: bytes, count: int, is_last: bool) -> bytes:
    return place + f"|{count}|{int(is_last)}".encode()


def _read(file: Readable) -> bytes:
    """Return a whole piece, however a storage cuts what it reads; the last may be shorter."""
    piece = bytearray()
    while missing := PIECE + OVERHEAD - len(piece):
        data = file.read(missing)
        if not data:
            break
        piece += data
    return bytes(piece)
