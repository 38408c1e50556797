"""Take a multipart form apart as it arrives: bytes in, parts and pieces of their content out. Pure.

https://www.rfc-editor.org/rfc/rfc7578. Nothing is kept but what may be the beginning of a boundary,
so a form may be as long as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from django.utils.http import parse_header_parameters

MOST_HEAD, MOST_PREAMBLE = 8_192, 1_024
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class MultipartError(ValueError):
    """The body is not a multipart form; the message says what is wrong with it."""


class Part(NamedTuple):
    """The beginning of a part: a field, or, with a ``filename``, a file."""

    name: str
    filename: str | None
    content_type: str


class _State(Enum):
    PREAMBLE = 0
    BOUNDARY = 1
    HEAD = 2
    CONTENT = 3
    OVER = 4


class MultipartParser:
    """Takes one form apart."""

    def __init__(self, content_type: str) -> None:
        """Prepare for a body of this ``Content-Type``.

        Raises:
            MultipartError: it names no boundary.
        """
        boundary = _described(content_type)[1].get("boundary", "")
        if not _BOUNDARY.fullmatch(boundary):
            raise MultipartError("The Content-Type of the form names no boundary.")
        self._delimiter = b"\r\n--" + boundary.encode()
        # The first boundary may be the first line.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE

    def feed(self, data: bytes) -> Iterator[Part | bytes]:
        """Yield the parts that begin in ``data``, and after each the pieces of its content.

        Raises:
            MultipartError: it is none of a form.
        """
        self._buffer += data
        while self._state is not _State.OVER:
            before = self._state, len(self._buffer)
            if self._state in (_State.PREAMBLE, _State.CONTENT):
                yield from self._content()
            elif self._state is _State.BOUNDARY:
                self._boundary()
            else:
                yield from self._head()
            if before == (self._state, len(self._buffer)):
                return
        self._buffer.clear()  # whatever follows the form is ignored

    def close(self) -> None:
        """Say that there is no more.

        Raises:
            MultipartError: the form has not come to its end.
        """
        if self._state is not _State.OVER:
            raise MultipartError("The form ends before its last boundary.")

    def _content(self) -> Iterator[bytes]:
        """Yield what is before the next boundary, or cannot be the beginning of one."""
        at = self._buffer.find(self._delimiter)
        is_found = at >= 0
        end = at if is_found else max(0, len(self._buffer) + 1 - len(self._delimiter))
        if self._state is _State.CONTENT:
            if end:
                yield bytes(self._buffer[:end])
        elif end > MOST_PREAMBLE:
            raise MultipartError("The body does not begin with the form's boundary.")
        if is_found:
            self._state = _State.BOUNDARY
            end += len(self._delimiter)
        elif self._state is _State.PREAMBLE:
            return
        del self._buffer[:end]

    def _boundary(self) -> None:
        if len(self._buffer) < 2:
            return
        after = bytes(self._buffer[:2])
        if after not in (b"\r\n", b"--"):
            raise MultipartError("A boundary of the form is followed by something else.")
        self._state = _State.HEAD if after == b"\r\n" else _State.OVER
        del self._buffer[:2]

    def _head(self) -> Iterator[Part]:
        at = self._buffer.find(b"\r\n\r\n")
        if max(at, 0 if at >= 0 else len(self._buffer)) > MOST_HEAD:
            raise MultipartError("The headers of a part of the form are too long.")
        if at >= 0:
            part = _part(bytes(self._buffer[:at]))
            del self._buffer[: at + 4]
            self._state = _State.CONTENT
            yield part


def _part(head: bytes) -> Part:
    headers = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    kind, described = _described(headers.get("content-disposition", ""))
    name = described.get("name", "")
    if kind != "form-data" or not name:
        raise MultipartError("A part of the form has no name.")
    return Part(name, described.get("filename"), headers.get("content-type", ""))


def _described(header: str) -> tuple[str, dict[str, str]]:
    try:
        return parse_header_parameters(header)
    except ValueError:
        raise MultipartError("A header of the form cannot be read.") from None
