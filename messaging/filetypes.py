"""Which files WhatsApp takes, how large, and what the bytes of one can be. Pure.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
(Supported media types). Meta refuses a file whose bytes are not of the type that it is said to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath
from typing import NamedTuple

MB = 1_048_576
# What stands for the id of a file of ours in a message, until the platform's is known.
FILE_MARK = "sigma-file:"
# The beginning of a file that its type is told from: in an Office file the names of its parts.
HEAD = 65_536
STATIC_STICKER, ANIMATED_STICKER = 100 * 1024, 500 * 1024


class MediaKind(StrEnum):
    """Meta's words for kinds of files."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    STICKER = "sticker"


class FileType(NamedTuple):
    """A type that WhatsApp takes: as which kind of file, how many bytes, under which endings."""

    kind: MediaKind
    most: int
    endings: tuple[str, ...]


_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = f"{_OFFICE}wordprocessingml.document"
XLSX = f"{_OFFICE}spreadsheetml.sheet"
PPTX = f"{_OFFICE}presentationml.presentation"
_LARGEST = 100 * MB
TYPES: Mapping[str, FileType] = {
    "image/jpeg": FileType(MediaKind.IMAGE, 5 * MB, ("jpg", "jpeg")),
    "image/png": FileType(MediaKind.IMAGE, 5 * MB, ("png",)),
    "image/webp": FileType(MediaKind.STICKER, ANIMATED_STICKER, ("webp",)),
    "video/mp4": FileType(MediaKind.VIDEO, 16 * MB, ("mp4",)),
    "video/3gpp": FileType(MediaKind.VIDEO, 16 * MB, ("3gp",)),
    "audio/aac": FileType(MediaKind.AUDIO, 16 * MB, ("aac",)),
    "audio/amr": FileType(MediaKind.AUDIO, 16 * MB, ("amr",)),
    "audio/mpeg": FileType(MediaKind.AUDIO, 16 * MB, ("mp3",)),
    "audio/mp4": FileType(MediaKind.AUDIO, 16 * MB, ("m4a",)),
    "audio/ogg": FileType(MediaKind.AUDIO, 16 * MB, ("ogg", "oga", "opus")),
    "text/plain": FileType(MediaKind.DOCUMENT, _LARGEST, ("txt",)),
    "application/pdf": FileType(MediaKind.DOCUMENT, _LARGEST, ("pdf",)),
    "application/msword": FileType(MediaKind.DOCUMENT, _LARGEST, ("doc",)),
    "application/vnd.ms-excel": FileType(MediaKind.DOCUMENT, _LARGEST, ("xls",)),
    "application/vnd.ms-powerpoint": FileType(MediaKind.DOCUMENT, _LARGEST, ("ppt",)),
    DOCX: FileType(MediaKind.DOCUMENT, _LARGEST, ("docx",)),
    XLSX: FileType(MediaKind.DOCUMENT, _LARGEST, ("xlsx",)),
    PPTX: FileType(MediaKind.DOCUMENT, _LARGEST, ("pptx",)),
}
LARGEST = max(one.most for one in TYPES.values())
_ENDINGS = {ending: name for name, one in TYPES.items() for ending in one.endings}
# Other names of the same types.
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/mp3": "audio/mpeg",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "audio/x-aac": "audio/aac",
    "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg",
    "video/3gp": "video/3gpp",
}
# What programs say of a file when they do not know its type.
_UNSAID = frozenset(
    {"", "application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream"}
)
_OLE = frozenset(
    {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}
)
_PARTS = {b"word/": DOCX, b"xl/": XLSX, b"ppt/": PPTX}
_NONE = frozenset[str]()
_FRAMES = re.compile(rb"\xff[\xe0-\xff]")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


class UnsuitableFile(Exception):
    """WhatsApp does not take this file; ``code`` and the message say why, and what helps."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def type_of(head: bytes, *, declared: str, filename: str) -> str:
    """Return the type of a file by its beginning: the one that it is said to be, by its type or
    else by its ending, if its bytes can be that.

    Raises:
        UnsuitableFile: UNSUPPORTED_TYPE, TYPE_MISMATCH.
    """
    found, said = sniff(head), _said(declared, filename)
    if said is not None:
        if said not in TYPES:
            raise UnsuitableFile(
                "UNSUPPORTED_TYPE",
                f"WhatsApp takes no files of the type {said[:100]}. It takes {_listed()}.",
            )
        if said not in found:
            are = f"are {_any_of(found)}" if found else "are not of a type that WhatsApp takes"
            raise UnsuitableFile(
                "TYPE_MISMATCH",
                f"The file is said to be {said}, but its bytes {are}. Send it with its own type.",
            )
        return said
    if len(found) == 1:
        (only,) = found
        return only
    if not found:
        raise UnsuitableFile(
            "UNSUPPORTED_TYPE",
            f"The bytes are not of a type that WhatsApp takes. It takes {_listed()}.",
        )
    raise UnsuitableFile(
        "UNSUPPORTED_TYPE",
        f"The bytes can be {_any_of(found)}: say which, as the file's Content-Type or by the "
        "ending of its name.",
    )


def most_bytes(mime_type: str, head: bytes) -> int:
    """Return how many bytes a file of this type may have."""
    if mime_type == "image/webp" and not _is_animated(head):
        return STATIC_STICKER
    return TYPES[mime_type].most


def fits(mime_type: str, kind: str) -> bool:
    """Whether a file of this type can be sent as a kind of file; a document may be any of them."""
    known = TYPES.get(mime_type)
    return known is not None and kind in (known.kind, MediaKind.DOCUMENT)


def ending_of(mime_type: str) -> str:
    """Return the ending under which Meta expects the type."""
    return TYPES[mime_type].endings[0]


def words_for(kind: MediaKind) -> str:
    """Return which files a kind takes, and how large, in a sentence."""
    own = {name: one for name, one in TYPES.items() if one.kind == kind}
    most = max(one.most for one in own.values())
    size = f"{most // MB} MB" if most >= MB else f"{most // 1024} KB"
    endings = ", ".join(sorted(one.endings[0] for one in own.values()))
    others = "; or any of the others" if kind == MediaKind.DOCUMENT else ""
    return f"Files of the types {endings}, up to {size}{others}."


def _said(declared: str, filename: str) -> str | None:
    """Return the type that a file is said to have; nothing where neither says one."""
    plain = declared.partition(";")[0].strip().lower()
    if plain not in _UNSAID:
        return _ALIASES.get(plain, plain)
    return _ENDINGS.get(PurePath(filename).suffix[1:].lower())


def sniff(head: bytes) -> frozenset[str]:
    """Return the types that a file with this beginning can be."""
    for start, word, told in _CONTAINERS:
        if head[start : start + len(word)] == word:
            return told(head)
    for magic, types in _MAGIC:
        if head.startswith(magic):
            return types
    if _FRAMES.match(head):
        return _frames(head[1])
    if head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
        return frozenset({"application/pdf"})
    return frozenset({"text/plain"}) if _is_text(head) else _NONE


_MAGIC: tuple[tuple[bytes, frozenset[str]], ...] = (
    (b"\xff\xd8\xff", frozenset({"image/jpeg"})),
    (b"\x89PNG\r\n\x1a\n", frozenset({"image/png"})),
    (b"#!AMR", frozenset({"audio/amr"})),
    (b"ID3", frozenset({"audio/mpeg", "audio/aac"})),
    (b"ADIF", frozenset({"audio/aac"})),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLE),
)
# Brands of ISO media files that WhatsApp does not take: QuickTime, and pictures.
_FOREIGN = (
    b"qt  ",
    b"heic",
    b"heix",
    b"hevc",
    b"heim",
    b"heis",
    b"mif1",
    b"msf1",
    b"avif",
    b"crx ",
)


def _by_brand(head: bytes) -> frozenset[str]:
    brand = head[8:12]
    if brand in _FOREIGN:
        return _NONE
    if brand[:3] in (b"3gp", b"3g2", b"3ge", b"3gs"):
        return frozenset({"video/3gpp"})
    if brand in (b"M4A ", b"M4B "):
        return frozenset({"audio/mp4"})
    return frozenset({"video/mp4", "audio/mp4"})


def _ogg(head: bytes) -> frozenset[str]:
    """Return the type of Ogg with one channel of Opus, the only one that WhatsApp takes."""
    at = head[:512].find(b"OpusHead")
    is_mono = at >= 0 and head[at + 9 : at + 10] == b"\x01"
    return frozenset({"audio/ogg"}) if is_mono else _NONE


def _zip(head: bytes) -> frozenset[str]:
    """Return the types of an Office file, by the names of its parts."""
    found = frozenset(name for part, name in _PARTS.items() if part in head)
    if found:
        return found
    is_package = b"[Content_Types].xml" in head or b"_rels/.rels" in head
    return frozenset(_PARTS.values()) if is_package else _NONE


def _riff(head: bytes) -> frozenset[str]:
    return frozenset({"image/webp"}) if head[8:12] == b"WEBP" else _NONE


_CONTAINERS = (
    (4, b"ftyp", _by_brand),
    (0, b"RIFF", _riff),
    (0, b"OggS", _ogg),
    (0, b"PK\x03\x04", _zip),
)


def _frames(second: int) -> frozenset[str]:
    """Return the type of a stream of audio frames, by the layer in the second byte."""
    return frozenset({"audio/mpeg"} if second & 0x06 else {"audio/aac"})


def _is_text(head: bytes) -> bool:
    if _BINARY.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The beginning may end within a character.
        return len(head) >= HEAD and error.start > len(head) - 4
    return True


def _is_animated(head: bytes) -> bool:
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)


def _any_of(found: frozenset[str]) -> str:
    return " or ".join(sorted(found))


def _listed() -> str:
    endings = sorted({one.endings[0] for one in TYPES.values()})
    return f"{', '.join(endings[:-1])} and {endings[-1]} (of Ogg: Opus with one channel)"
