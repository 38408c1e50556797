"""What a file is, by its bytes."""

from __future__ import annotations

import pytest

from messaging import filetypes
from messaging.filetypes import TYPES, UnsuitableFile
from tests.files.samples import FOREIGN, OLE, PDF, PNG, SAMPLES, iso, zipped


@pytest.mark.parametrize("mime_type", TYPES)
def test_it_knows_every_type_by_its_bytes(mime_type: str) -> None:
    head = SAMPLES[mime_type]

    assert mime_type in filetypes.sniff(head)
    assert filetypes.type_of(head, declared=f"{mime_type}; charset=x", filename="") == mime_type
    for ending in TYPES[mime_type].endings:
        name = f"A file.{ending.upper()}"
        assert filetypes.type_of(head, declared="", filename=name) == mime_type
        assert filetypes.type_of(head, declared="application/octet-stream", filename=name)


@pytest.mark.parametrize("what", FOREIGN)
def test_it_takes_nothing_else(what: str) -> None:
    with pytest.raises(UnsuitableFile, match="It takes 3gp, aac, amr") as refusal:
        filetypes.type_of(FOREIGN[what], declared="", filename="")
    assert refusal.value.code == "UNSUPPORTED_TYPE"


@pytest.mark.parametrize(
    ("head", "declared", "filename", "code"),
    [
        (PDF, "image/png", "", "TYPE_MISMATCH"),
        (PDF, "", "picture.png", "TYPE_MISMATCH"),
        (FOREIGN["a program"], "application/pdf", "", "TYPE_MISMATCH"),
        (PNG, "image/svg+xml", "", "UNSUPPORTED_TYPE"),
        (OLE, "", "", "UNSUPPORTED_TYPE"),
        (iso(b"isom"), "", "film", "UNSUPPORTED_TYPE"),
        (zipped(b"[Content_Types].xml", b"xl/a.xml"), "", "a.docx", "TYPE_MISMATCH"),
    ],
)
def test_it_refuses_what_is_said_to_be_something_else(
    head: bytes, declared: str, filename: str, code: str
) -> None:
    with pytest.raises(UnsuitableFile) as refusal:
        filetypes.type_of(head, declared=declared, filename=filename)
    assert refusal.value.code == code


def test_a_sticker_that_moves_may_be_larger() -> None:
    still = b"RIFF\0\0\0\0WEBPVP8 "
    moving = b"RIFF\0\0\0\0WEBPVP8X" + b"\x0a\0\0\0" + b"\x02" + bytes(9)

    assert filetypes.most_bytes("image/webp", still) == 100 * 1024
    assert filetypes.most_bytes("image/webp", moving) == 500 * 1024


def test_a_text_may_be_cut_within_a_character() -> None:
    text = ("ü" * filetypes.HEAD).encode()

    assert filetypes.sniff(text[: filetypes.HEAD + 1]) == {"text/plain"}
    assert filetypes.sniff(text[:99]) == frozenset()


@pytest.mark.parametrize(
    ("mime_type", "kind", "fits"),
    [
        ("image/png", "image", True),
        ("image/png", "document", True),
        ("image/png", "sticker", False),
        ("application/pdf", "image", False),
        ("image/webp", "sticker", True),
        ("image/webp", "image", False),
    ],
)
def test_a_file_fits_its_kind(mime_type: str, kind: str, fits: bool) -> None:
    assert filetypes.fits(mime_type, kind) is fits
