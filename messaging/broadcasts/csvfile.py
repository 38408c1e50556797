"""A list as a CSV file, read line by line: a header, then one person per line. Pure.

UTF-8 with or without a byte order mark; comma, semicolon or tab, whichever the header uses. A line
is a row, so a line break inside quotes is refused: a parameter may hold none anyway (Meta, error
132012), and every message can name its line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from messaging.broadcasts.rows import ListedPerson, RowCode, RowProblem, UnusableRow, make
from templates_wa.parameters import ButtonValue, HeaderValue, MediaValue, TemplateParameters

BOM = b"\xef\xbb\xbf"
DELIMITERS = (",", ";", "\t")
MOST_COLUMNS = 64
MOST_LINE_BYTES = 32_768
PHONE, USER_ID, REFERENCE, HEADER_TEXT = "phone", "user_id", "reference", "header:text"
HEADER_MEDIA, HEADER_FILENAME = "header:media", "header:filename"
OWN = frozenset({PHONE, USER_ID, REFERENCE, HEADER_TEXT, HEADER_MEDIA, HEADER_FILENAME})
# A file of ours, or digits of Meta's own.
MEDIA_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{1,32}", re.IGNORECASE)
LINK = re.compile(r"https?://[!-~]+", re.IGNORECASE)
BUTTON = re.compile(r"button:([0-9])")
PLACE = re.compile(r"[1-9][0-9]?")
NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
EXPECTED = (
    "phone or user_id, reference, 1, 2, … or the template's parameter names, header:text, "
    "header:media, header:filename, button:0 to button:9"
)


class UnusableList(ValueError):
    """The file as a whole cannot be read; the message says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which cell is what: ``cells`` by the names of ours, ``places`` and ``names`` of the body's
    parameters, ``buttons`` by their index.
    """

    width: int
    delimiter: str
    cells: dict[str, int]
    places: tuple[int, ...]
    names: dict[str, int]
    buttons: dict[int, int]


def read(content: bytes) -> Iterator[ListedPerson | RowProblem]:
    """Yield each line after the header as a row, or as what is wrong with it; skip empty lines.

    ``position`` is the number of the line in the file; the header is line 1.

    Raises:
        UnusableList: there is no header that can be read.
    """
    lines = _lines(content)
    header = _header(next(lines, b""))
    for number, line in enumerate(lines, start=2):
        try:
            cells = _cells(line, header.delimiter)
            if any(cells):
                yield _row(number, cells, header)
        except UnusableRow as error:
            yield error.at(number)


def _lines(content: bytes) -> Iterator[bytes]:
    """Yield the lines without a copy of the whole; only a line feed ends one."""
    start = len(BOM) if content.startswith(BOM) else 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        yield content[start:end].removesuffix(b"\r")
        start = end + 1


def _cells(line: bytes, delimiter: str) -> list[str]:
    if len(line) > MOST_LINE_BYTES:
        expected = f"a line of at most {MOST_LINE_BYTES:,} bytes is expected"
        raise UnusableRow(RowCode.TOO_LONG, f"{expected}, {len(line):,} came.")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise UnusableRow(RowCode.NOT_UTF_8, "The line is not UTF-8.") from None
    if "\r" in text or "\0" in text:
        raise UnusableRow(RowCode.NOT_CSV, "The line holds a control character.")
    try:
        cells = next(csv.reader((text,), delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise UnusableRow(
            RowCode.NOT_CSV,
            "The quotes do not end in the line that they begin in; a cell may have no line break.",
        ) from None
    return [cell.strip() for cell in cells]


def _row(number: int, cells: list[str], header: Columns) -> ListedPerson:
    if len(cells) != header.width:
        expected = f"{header.width} cells are expected, as in the header"
        raise UnusableRow(RowCode.WRONG_NUMBER_OF_CELLS, f"{expected}; {len(cells)} came.")
    ours = {name: cells[index] for name, index in header.cells.items()}
    return make(
        number,
        phone=ours.get(PHONE, ""),
        user_id=ours.get(USER_ID, ""),
        reference=ours.get(REFERENCE, ""),
        parameters=_parameters(cells, header, _header_value(ours)),
    )


def _header_value(ours: Mapping[str, str]) -> HeaderValue | None:
    title, file = ours.get(HEADER_TEXT, ""), ours.get(HEADER_MEDIA, "")
    filename = ours.get(HEADER_FILENAME) or None
    if not file:
        if filename is not None:
            raise UnusableRow(RowCode.INVALID_MEDIA, "header:filename needs a header:media.")
        return HeaderValue(text=title) if title else None
    if MEDIA_ID.fullmatch(file):
        media = MediaValue(id=file.lower(), filename=filename)
    elif LINK.fullmatch(file):
        media = MediaValue(link=file, filename=filename)
    else:
        expected = "the media_id of an uploaded file, or an https address, is expected"
        raise UnusableRow(
            RowCode.INVALID_MEDIA, f"header:media: {expected}; {len(file)} other characters came."
        )
    return HeaderValue(text=title or None, media=media)


def _parameters(
    cells: list[str], header: Columns, header_value: HeaderValue | None
) -> TemplateParameters:
    return TemplateParameters(
        positional=tuple(cells[place] for place in header.places) if header.places else None,
        named={name: cells[place] for name, place in header.names.items()} or None,
        header=header_value,
        buttons=tuple(
            ButtonValue(index, cells[place])
            for index, place in header.buttons.items()
            if cells[place]
        ),
    )


def _header(line: bytes) -> Columns:
    try:
        text = line.decode("utf-8")
        delimiter = max(DELIMITERS, key=text.count)
        columns = [name.lower() for name in _cells(line, delimiter)]
    except (UnicodeDecodeError, UnusableRow):
        raise UnusableList(
            f"The first line has to be a header in UTF-8 ({EXPECTED}); it cannot be read."
        ) from None
    if not {PHONE, USER_ID} & set(columns):
        raise UnusableList(
            f"The header has no column phone and none user_id; expected: {EXPECTED}."
        )
    _check_columns(columns)
    at = {name: index for index, name in enumerate(columns)}
    buttons = {int(found[1]): at[name] for name in columns if (found := BUTTON.fullmatch(name))}
    return Columns(
        width=len(columns),
        delimiter=delimiter,
        cells={name: at[name] for name in columns if name in OWN},
        places=_places(at),
        names=_names(at),
        buttons=buttons,
    )


def _check_columns(columns: list[str]) -> None:
    if len(columns) > MOST_COLUMNS:
        raise UnusableList(f"At most {MOST_COLUMNS} columns are expected, {len(columns)} came.")
    for number, name in enumerate(columns, start=1):
        if not (name in OWN or any(kind.fullmatch(name) for kind in (BUTTON, PLACE, NAME))):
            raise UnusableList(f"Column {number} of the header is none of: {EXPECTED}.")
        if name in columns[: number - 1]:
            raise UnusableList(f"Column {number} of the header has a name that another has.")


def _places(at: dict[str, int]) -> tuple[int, ...]:
    numbers = sorted(int(name) for name in at if PLACE.fullmatch(name))
    if numbers != list(range(1, len(numbers) + 1)):
        raise UnusableList(
            f"Positional parameters are expected to be 1 to {len(numbers)} without a gap."
        )
    if numbers and _names(at):
        raise UnusableList("Parameters are either numbered or named; both came.")
    return tuple(at[str(number)] for number in numbers)


def _names(at: dict[str, int]) -> dict[str, int]:
    return {name: place for name, place in at.items() if NAME.fullmatch(name) and name not in OWN}
