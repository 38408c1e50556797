"""Files in S3: a real server of its protocol, and django-storages as the documents configure it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.storage import default_storage
from django.utils.module_loading import import_string
from moto.server import ThreadedMotoServer

from lib import clock
from lib.envelope import CannotOpen
from messaging import archive, uploads
from messaging.models import Upload
from messaging.sealed_storage import FileGone
from sigma.env import Env, files_storage
from tests.conftest import Cast
from tests.files.kept import kept
from tests.files.samples import PDF
from tests.files.test_archive import _archives, aged, brought, fetch_all, forgotten, state_of
from tests.files.test_thumbnails import picture
from tests.messaging.conftest import body, get
from tests.messaging.meta import Meta

__all__ = ("_archives",)
pytestmark = pytest.mark.django_db
BUCKET = "sigma-files"
DOCUMENT = (Path(__file__).parents[2] / "docs/files.md").read_text(encoding="utf-8")
LARGE = PDF + bytes(range(256)) * 40_000  # more than one part of an upload


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server, with nothing in it."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(
    server: str, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> Iterator[Any]:
    """A bucket, and the storage that the documents' settings make of it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-tests")
    named = dict(re.findall(r"^(SIGMA_FILES_STORAGE\w*)=(.+)$", DOCUMENT, re.MULTILINE))
    options = json.loads(named["SIGMA_FILES_STORAGE_OPTIONS"])
    assert options["bucket_name"] == BUCKET
    named["SIGMA_FILES_STORAGE_OPTIONS"] = json.dumps({**options, "endpoint_url": server})
    found = files_storage(Env(named), folder=tmp_path)
    storage = import_string(found["BACKEND"])(**found["OPTIONS"])
    monkeypatch.setattr(default_storage, "_wrapped", storage)
    s3 = boto3.resource("s3", endpoint_url=server, region_name=options["region_name"])
    where = {"LocationConstraint": options["region_name"]}
    made = s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    yield made
    made.objects.all().delete()
    made.delete()


def names(bucket: Any) -> list[str]:
    return [one.key for one in bucket.objects.all()]


def test_an_archive_lies_in_s3(acme: Cast, globex: Cast, meta: Meta, bucket: Any) -> None:
    small = picture()
    meta.keep("777", LARGE)
    meta.keep("1", small)
    mine, theirs = brought(acme, LARGE), brought(globex, small, number=1)
    assert fetch_all() == 2
    forgotten(meta)

    assert body(get(f"/media/{mine.id}", acme.api_key)) == LARGE
    assert body(get(f"/media/{theirs.id}", globex.api_key)) == small
    assert body(get(f"/media/{theirs.id}?thumbnail", globex.api_key)).startswith(b"\xff\xd8")
    assert get(f"/media/{mine.id}", globex.api_key).status_code == 404
    assert sorted(name.split("/")[0] for name in names(bucket)) == sorted(
        [acme.tenant.id.hex, globex.tenant.id.hex, globex.tenant.id.hex]
    )
    assert all(PDF[:20] not in one.get()["Body"].read() for one in bucket.objects.all())

    aged(theirs, 31)
    assert archive.purge(now=clock.now()) == 1
    assert get(f"/media/{theirs.id}", globex.api_key).status_code == 410
    assert len(names(bucket)) == 1
    assert archive.erase(acme.tenant.id) == 1
    assert names(bucket) == []


def test_files_to_send_lie_in_s3(acme: Cast, globex: Cast, bucket: Any) -> None:
    mine, theirs = kept(acme, LARGE), kept(globex)
    assert kept(acme, LARGE) == mine

    rows = {row.id: row for row in Upload.objects.all()}
    assert b"".join(uploads.pieces(rows[mine])) == LARGE
    assert b"".join(uploads.pieces(rows[theirs])) == PDF
    for cast in (acme, globex):  # as a process leaves it that is killed
        bucket.put_object(Key=f"{cast.tenant.id.hex}/left", Body=b"sealed")
    assert uploads.erase(acme.tenant.id) == 1
    assert {name.split("/")[0] for name in names(bucket)} == {globex.tenant.id.hex}
    assert len(names(bucket)) == 2
    with pytest.raises(FileGone):
        b"".join(uploads.pieces(rows[mine]))


def test_what_was_altered_there_does_not_open(acme: Cast, meta: Meta, bucket: Any) -> None:
    meta.keep("777", LARGE)
    file = brought(acme, LARGE)
    fetch_all()
    forgotten(meta)
    file.refresh_from_db()
    (name,) = names(bucket)
    whole = bucket.Object(name).get()["Body"].read()
    bucket.Object(name).put(Body=whole[:-10])

    with pytest.raises(CannotOpen):
        b"".join(archive.open_kept(file))
    bucket.Object(name).put(Body=whole[100:])
    assert get(f"/media/{file.id}", acme.api_key).status_code == 410


def test_a_bucket_that_is_away_loses_nothing(acme: Cast, meta: Meta, bucket: Any) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    default_storage._bucket = default_storage.connection.Bucket("another-bucket")
    fetch_all()
    assert state_of(file) == ("PENDING", "STORAGE_AWAY")

    default_storage._bucket = default_storage.connection.Bucket(BUCKET)
    assert fetch_all(later=timedelta(seconds=31)) == 1
    assert body(get(f"/media/{file.id}", acme.api_key)) == PDF
