"""The beginnings of files of every type, and of some that WhatsApp does not take."""

from __future__ import annotations

from messaging.filetypes import DOCX, PPTX, XLSX

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
PDF = b"%PDF-1.7\n" + b"1 0 obj\n" * 20
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def zipped(*names: bytes) -> bytes:
    """Return the beginning of a ZIP file with parts of these names."""
    return b"".join(b"PK\x03\x04" + bytes(26) + name for name in names)


def ogg(channels: int) -> bytes:
    """Return the beginning of Opus in Ogg."""
    return b"OggS" + bytes(24) + b"OpusHead\x01" + bytes([channels]) + bytes(60)


def iso(brand: bytes) -> bytes:
    """Return the beginning of an ISO media file."""
    return b"\0\0\0\x20ftyp" + brand + bytes(60)


SAMPLES = {
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(60),
    "image/png": PNG,
    "image/webp": b"RIFF\0\0\0\0WEBPVP8 " + bytes(60),
    "video/mp4": iso(b"isom"),
    "video/3gpp": iso(b"3gp5"),
    "audio/aac": b"\xff\xf1" + bytes(60),
    "audio/amr": b"#!AMR\n" + bytes(60),
    "audio/mpeg": b"\xff\xfb" + bytes(60),
    "audio/mp4": iso(b"M4A "),
    "audio/ogg": ogg(1),
    "text/plain": "Grüße".encode(),
    "application/pdf": PDF,
    "application/msword": OLE,
    "application/vnd.ms-excel": OLE,
    "application/vnd.ms-powerpoint": OLE,
    DOCX: zipped(b"[Content_Types].xml", b"word/document.xml"),
    XLSX: zipped(b"[Content_Types].xml", b"xl/workbook.xml"),
    PPTX: zipped(b"[Content_Types].xml", b"ppt/presentation.xml"),
}
FOREIGN = {
    "a program": b"\x7fELF" + bytes(60),
    "a picture of a phone": iso(b"heic"),
    "QuickTime": iso(b"qt  "),
    "Opus in stereo": ogg(2),
    "Vorbis": b"OggS" + bytes(24) + b"\x01vorbis" + bytes(60),
    "a ZIP file": zipped(b"readme.txt"),
    "a page with a document in it": b"\x00<script>" + PDF,
    "a GIF": b"GIF89a" + bytes(60),
    "sound": b"RIFF\0\0\0\0WAVEfmt ",
    "Latin-1": "Grüße, and more".encode("latin-1"),
}
