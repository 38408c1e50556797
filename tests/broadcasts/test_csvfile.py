"""Lists as CSV files: what is read, and what is said of the rest."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.broadcasts.csvfile import UnusableList, read
from messaging.broadcasts.rows import ListedPerson, RowProblem
from templates_wa.parameters import ButtonValue, HeaderValue, MediaValue, TemplateParameters

FILE = "5f0c6b1e-9a3f-5b0e-8c1d-2f3e4d5c6b7a"


def rows(content: str | bytes) -> list[ListedPerson | RowProblem]:
    return list(read(content.encode() if isinstance(content, str) else content))


def problems(content: str | bytes) -> list[tuple[int, str]]:
    return [(row.position, row.code) for row in rows(content) if isinstance(row, RowProblem)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_it_reads_what_spreadsheets_write(delimiter: str, start: bytes, end: str) -> None:
    lines = (("Phone", "Reference", "1"), ("+27 82 000-1000", "R 7", '"Zoë, Ltd"'))
    content = start + end.join(delimiter.join(cells) for cells in lines).encode()

    (row,) = rows(content)

    assert (row.position, row.phone, row.reference) == (2, "27820001000", "R 7")
    assert row.parameters == TemplateParameters(positional=("Zoë, Ltd",))


def test_it_reads_named_parameters_and_the_values_of_header_and_buttons() -> None:
    header = "user_id,first_name,header:text,button:1,2"
    with pytest.raises(UnusableList):
        rows(header)

    (row,) = rows("user_id,first_name,header:text,button:1\nUS.123,Ann,Sale,spring")

    assert row.user_id == "US.123"
    assert row.parameters == TemplateParameters(
        named={"first_name": "Ann"},
        header=HeaderValue(text="Sale"),
        buttons=(ButtonValue(1, "spring"),),
    )


@pytest.mark.parametrize(
    ("cells", "media"),
    [
        (f"{FILE},", MediaValue(id=FILE)),
        (f"{FILE.upper()},a.pdf", MediaValue(id=FILE, filename="a.pdf")),
        ("1037543291543636,", MediaValue(id="1037543291543636")),
        ("https://a.example/a.pdf?b=1&c=2,", MediaValue(link="https://a.example/a.pdf?b=1&c=2")),
        (",", None),
    ],
)
def test_a_row_may_have_a_file_of_its_own(cells: str, media: MediaValue | None) -> None:
    (row,) = rows(f"phone,header:media,header:filename\n+27820001000,{cells}")

    assert row.parameters.header == (media and HeaderValue(media=media))


@given(
    st.text(st.characters(codec="utf-8", exclude_characters=',;\t\n\r\0"'), min_size=1).map(
        str.strip
    )
)
def test_what_names_no_file_is_refused(cell: str) -> None:
    (row,) = rows(f"phone,header:media\n+27820001000,{cell}")

    if isinstance(row, RowProblem):
        assert (row.position, row.code, cell not in row.message or len(cell) < 9) == (
            2,
            "INVALID_MEDIA",
            True,
        )
    else:
        assert not cell or cell.isdecimal() or "://" in cell


def test_a_filename_is_a_files() -> None:
    assert problems("phone,header:filename\n+27820001000,a.pdf") == [(2, "INVALID_MEDIA")]
    assert problems("phone,header:media\n+27820001000,a.pdf") == [(2, "INVALID_MEDIA")]
    assert problems("phone,header:media\n+27820001000,ftp://a.example") == [(2, "INVALID_MEDIA")]


def test_it_takes_a_phone_or_a_user_id_of_each_row_and_skips_empty_lines() -> None:
    found = rows("phone,user_id\n+27820001000,\n\n,,\n,GB.1\n+27820001001,GB.2\n")

    assert [row.position for row in found] == [2, 5, 6]
    assert [type(row).__name__ for row in found] == ["ListedPerson", "ListedPerson", "RowProblem"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "name,1",
        "phone,",
        "phone,phone",
        "phone,1,3",
        "phone,1,name",
        "phone,button:12",
        "\0",
        b"\xff\xfep\x00h\x00",
        '"phone',
        "phone," + ",".join(f"c{n}" for n in range(70)),
    ],
)
def test_it_refuses_a_header_that_it_cannot_use(header: str | bytes) -> None:
    with pytest.raises(UnusableList):
        rows(header)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0820001000,a,b", "INVALID_PHONE"),
        ("27820001000,a,b", "INVALID_PHONE"),
        ("+2782,a,b", "INVALID_PHONE"),
        (",a,b", "NO_RECIPIENT"),
        ("+27820001000,a", "WRONG_NUMBER_OF_CELLS"),
        ('+27820001000,"a,b', "NOT_CSV"),
        (f"+27820001000,{'a' * 129},b", "INVALID_REFERENCE"),
        ("+27820001000,082 000 1000,b", "INVALID_REFERENCE"),
        (f"+27820001000,a,{'b' * 40_000}", "TOO_LONG"),
        (b"+27820001000,a,\xff", "NOT_UTF_8"),
        ("+27820001000,a,\0", "NOT_CSV"),
    ],
)
def test_it_says_of_a_line_what_is_wrong(line: str | bytes, code: str) -> None:
    line = line.encode() if isinstance(line, str) else line
    good = b"+27820001001,,x"

    content = b"\n".join((b"phone,reference,1", good, line, good.replace(b"1001", b"1002")))

    assert problems(content) == [(3, code)]
    assert len(rows(content)) == 3


def test_it_refuses_a_line_break_inside_quotes_as_two_broken_lines() -> None:
    assert [code for _, code in problems('phone,1\n+27820001000,"a\nb"\n')] == [
        "NOT_CSV",
        "WRONG_NUMBER_OF_CELLS",
    ]


def test_it_never_repeats_a_number_in_what_it_says() -> None:
    (problem,) = rows("phone\n082 999 1234\n")

    assert "999" not in problem.message


CELL = st.text(
    st.characters(exclude_categories=("Cs", "Cc")), max_size=30
)  # what a spreadsheet can put in a cell, but for line breaks


@given(st.lists(st.tuples(st.integers(0, 10**7), CELL, CELL), max_size=20), st.sampled_from(",;\t"))
def test_it_reads_back_whatever_the_csv_module_writes(people: list, delimiter: str) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter)
    writer.writerow(("phone", "1", "2"))
    writer.writerows((f"+999{number:08}", *cells) for number, *cells in people)

    found = rows(written.getvalue())

    assert [row.parameters.positional for row in found] == [
        (first.strip(), second.strip()) for _, first, second in people
    ]


@given(st.binary(max_size=300))
def test_it_never_breaks_on_bytes(content: bytes) -> None:
    lines = content.count(b"\n") + 1

    found = rows(b"phone,1\n" + content)

    assert all(2 <= row.position <= lines + 1 for row in found)
