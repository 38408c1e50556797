"""Thumbnails of pictures in archives, made by a process that may die."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib import thumbnails
from lib.thumbnails import thumbnail_of
from messaging import archive
from messaging.media import thumbnail_url
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF
from tests.files.test_archive import _archives, aged, brought, fetch_all, forgotten, gql, state_of
from tests.graphql.conftest import key_with
from tests.messaging.conftest import body, get
from tests.messaging.meta import Meta
from workspaces.access import Scope

__all__ = ("_archives", "gql")
db = pytest.mark.django_db


def picture(kind: str = "PNG", size: tuple[int, int] = (800, 400), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "red").save(out, kind)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
    ],
)
def test_a_picture_becomes_small(kind: str, mode: str) -> None:
    made = thumbnail_of(picture(kind, mode=mode))

    assert made is not None
    shown = Image.open(io.BytesIO(made))
    assert (shown.format, shown.size) == ("JPEG", (320, 160))


def test_it_stands_upright() -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (640, 320)).save(out, "JPEG", exif=exif)

    made = thumbnail_of(out.getvalue())
    assert made is not None
    assert Image.open(io.BytesIO(made)).size == (160, 320)
    assert not Image.open(io.BytesIO(made)).getexif()


@pytest.mark.parametrize(
    "content", [b"", PDF, b"\xff\xd8\xff", picture()[:100], b"GIF89a" + bytes(99)]
)
def test_what_is_no_picture_has_none(content: bytes) -> None:
    assert thumbnail_of(content) is None


def test_a_bomb_is_not_unpacked() -> None:
    content = bomb(60_000, 60_000)
    assert len(content) < 600_000

    assert thumbnail_of(content) is None


def test_one_that_would_take_too_much_memory_dies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 10**10)
    content = bomb(60_000, 60_000)

    assert thumbnail_of(content) is None
    assert thumbnail_of(picture()) is not None


def test_one_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "SECONDS", 0.001)

    assert thumbnail_of(picture()) is None


@settings(max_examples=15)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=20))
def test_a_broken_picture_never_raises(at: int, noise: bytes) -> None:
    content = picture("JPEG", (64, 64))
    assert thumbnail_of(content[:at] + noise + content[at + len(noise) :]) is not False


def test_the_process_has_no_secrets_and_writes_no_file(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(thumbnails.THUMBNAILER.parent)!r})\n"
        "import os, thumbnailer; thumbnailer.limit(10**9, 5)\n"
        "print(thumbnailer.resource.getrlimit(thumbnailer.resource.RLIMIT_NPROC))\n"
        "print(sorted(os.environ)); open(sys.argv[1], 'wb', 0).write(b'x')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path / "a")], env={}, capture_output=True
    )
    assert done.returncode != 0
    assert done.stdout.startswith(b"(0, 0)\n")
    assert b"DATABASE" not in done.stdout
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


ASK = "query Q($id: ID!) { message(id: $id) { media { thumbnailUrl } } }"


@db
def test_the_archive_serves_thumbnails_of_pictures(
    acme: Cast, globex: Cast, gql: Any, meta: Meta, folder: Path
) -> None:
    content = picture()
    meta.keep("777", content)
    meta.keep("1", PDF)
    mine, theirs, plain = brought(acme, content), brought(globex, content), brought(acme, number=1)
    fetch_all()
    forgotten(meta)

    for file, cast in ((mine, acme), (theirs, globex)):
        file.refresh_from_db()
        url = gql(cast, ASK, id=str(file.message_id)).data["message"]["media"]["thumbnailUrl"]
        answer = get(url.split("8000", 1)[1])
        assert answer["Content-Type"] == "image/jpeg"
        shown = body(answer)
        assert answer["Content-Length"] == str(len(shown))
        assert Image.open(io.BytesIO(shown)).size == (320, 160)
        assert body(get(f"/media/{file.id}", cast.api_key)) == content
    assert get(f"/media/{mine.id}?thumbnail", globex.api_key).status_code == 404
    answer = get(f"/media/{plain.id}?thumbnail", acme.api_key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NO_THUMBNAIL")
    plain.refresh_from_db()
    assert thumbnail_url(plain) is None
    assert len(stored(folder)) == 5
    assert not any(b"JFIF" in path.read_bytes() for path in stored(folder))


@db
def test_rest_names_the_thumbnail_to_who_may_have_the_file(acme: Cast, meta: Meta) -> None:
    content = picture()
    meta.keep("777", content)
    file = brought(acme, content)
    fetch_all()

    def read(key: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return Client().get(f"/api/v1/messages/{file.message_id}", headers=headers).json()["media"]

    assert body(get(read(acme.api_key)["thumbnail_url"].split("8000", 1)[1])).startswith(
        b"\xff\xd8"
    )
    assert read(key_with(acme.tenant, Scope.MESSAGES_READ))["thumbnail_url"] is None


@db
def test_a_thumbnail_goes_with_its_file(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, now: Any
) -> None:
    content = picture()
    meta.keep("777", content)
    mine, theirs = brought(acme, content), brought(globex, content)
    fetch_all()
    aged(mine, 31)

    assert archive.purge(now=now) == 1
    mine.refresh_from_db()
    assert (mine.archive_state, mine.thumbnail_bytes) == ("REMOVED", None)
    assert len(stored(folder)) == 2
    assert archive.erase(globex.tenant.id) == 1
    assert stored(folder) == []
    assert state_of(theirs)[0] == "REMOVED"


@db
def test_a_bomb_is_kept_as_what_it_is_a_file(acme: Cast, meta: Meta) -> None:
    content = bomb(60_000, 60_000)
    meta.keep("777", content)
    file = brought(acme, content)
    fetch_all()

    assert state_of(file) == ("KEPT", None)
    assert file.thumbnail_bytes is None
    assert body(get(f"/media/{file.id}", acme.api_key)) == content
