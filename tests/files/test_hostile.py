"""Files and forms that are made to do harm, or come at the worst moment."""

from __future__ import annotations

import errno
from datetime import timedelta
from typing import Any

import pytest
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import OperationalError
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib import clock
from messaging import sealed_storage, uploads
from messaging.models import Upload, UploadState
from messaging.rest import intake
from messaging.rest.intake import RequestIntake
from messaging.sending.refusals import UnableToSend
from messaging.uploads import FileIntake
from sigma import uploads as front
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF
from tests.files.test_uploading import bearer, refused, upload
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)
BOUNDARY = "multipart/form-data; boundary=b"


def take(cast: Cast, body: bytes, content_type: str = BOUNDARY, query: str = "") -> Any:
    """Take in a request; return what came."""
    intake = RequestIntake(cast.tenant.id, content_type=content_type, query=query, announced=0)
    try:
        intake.add(body)
        return intake.finish()
    finally:
        intake.abandon()


HEADERS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"form-data; name=\"file\"; filename*=foo''%ff",
            b"form-data; name=\"file\"; filename*=utf-8''%00%2e%2e%2fx",
            b'form-data; name="file"; filename="\xff\xfe"',
            b'form-data; name="file"; filename*0="a"; filename*1="b"',
            b"form-data; name*=utf-16''%d8; filename=a",
            b'form-data; name="file"; filename="a\r\n b"',
        ]
    ),
)


@hypothesis_settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(HEADERS, st.binary(max_size=100), st.text(max_size=80))
@example(b"form-data; name=\"file\"; filename*=foo''%ff", PDF, "a=%ff")
def test_any_form_is_taken_or_refused(acme: Cast, head: bytes, content: bytes, query: str) -> None:
    body = (
        b"--b\r\nContent-Disposition: " + head + b"\r\n\r\n" + content + b"\r\n--b\r\n"
        b'Content-Disposition: form-data; name="file"\r\n\r\n' + PDF + b"\r\n--b--"
    )
    try:
        came = take(acme, body, query=query)
    except UnableToSend as refusal:
        assert refusal.message
        return
    assert came.file.mime_type
    assert came.file.name.isprintable()


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=200))
@example("multipart/form-data; boundary*=foo''b")
@example("multipart/form-data; boundary*=utf-8''%00b")
@example("multipart/form-data; " + "a" * 20_000 + "=b")
def test_any_content_type_is_taken_or_refused(acme: Cast, content_type: str) -> None:
    try:
        take(acme, PDF, content_type)
        take(acme, PDF, f"multipart/form-data{content_type}")
    except UnableToSend as refusal:
        assert refusal.message


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("..\\..\\a.pdf", "a.pdf"),
        ("a\r\nX-Evil: 1.pdf", "aX-Evil: 1.pdf"),
        ("a\x00.pdf", "a.pdf"),
        ("..", ""),
        (".", ""),
        ("\u202efdp.exe.pdf", "fdp.exe.pdf"),
        ("ü" * 300 + ".pdf", "ü" * 118 + ".pdf"),
        ("." + "ü" * 300, "." + "ü" * 119),
        ("", ""),
    ],
)
def test_names_are_plain(filename: str, name: str) -> None:
    assert uploads.name_of(filename) == name
    assert len(name.encode()) <= uploads.MOST_NAME


class Full:
    """A disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def seek(self, *where: int) -> int:
        return self._file.seek(*where)

    def close(self) -> None:
        self._file.close()
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_disk_that_is_full_says_try_again(
    web: Web, acme: Cast, folder: Any, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    temporary = sealed_storage.temporary
    monkeypatch.setattr(sealed_storage, "temporary", lambda: Full(temporary(), room))

    assert refused(upload(web, acme, PDF + bytes(500_000))) == (503, "UNAVAILABLE")
    assert stored(folder) == []
    assert not Upload.objects.exists()


def test_a_key_that_is_revoked_meanwhile_keeps_nothing(
    web: Web, acme: Cast, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = front.RequestIntake.finish

    def revoked(intake: RequestIntake) -> Any:
        acme.tenant.api_keys.update(revoked_at=clock.now())
        return finish(intake)

    monkeypatch.setattr(front.RequestIntake, "finish", revoked)
    assert refused(upload(web, acme)) == (401, "UNAUTHENTICATED")
    assert stored(folder) == []


def test_an_endless_form_is_given_up(web: Web, acme: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LARGEST", 2_000_000)

    def endless() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PDF + b"\r\n--b--"
        for _ in range(100):
            yield bytes(100_000)

    headers = {**bearer(acme), "Content-Type": BOUNDARY}
    query = {"workspace_id": str(acme.workspace.id)}
    answer = web.client.post("/api/v1/media", headers=headers, params=query, content=endless())
    assert refused(answer) == (413, "TOO_LARGE")


def received(cast: Cast) -> uploads.ReceivedFile:
    """Return a file that was taken in, and is not kept."""
    coming = FileIntake(cast.tenant.id, declared="", filename="a.pdf")
    coming.add(PDF)
    return coming.finish()


def test_one_file_that_comes_twice_at_once_is_there_for_whoever_is_answered(
    acme: Cast, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = received(acme), received(acme)
    save, inner = default_storage._wrapped.save, []

    def other_begins(name: str, content: Any) -> str:
        """The second begins while the first is being stored, and dies."""
        if not inner:
            inner.append(True)
            uploads._begin(second, uploads._id_of(second), acme.workspace.id, clock.now())
        return save(name, content)

    monkeypatch.setattr(default_storage._wrapped, "save", other_begins)
    kept = uploads.keep(first, workspace_id=acme.workspace.id, now=clock.now())
    save(f"{acme.tenant.id.hex}/{second.stored_as.hex}", File(second.file))

    row = Upload.objects.get(pk=kept.id)
    assert (row.state, row.begun) == (UploadState.READY, [second.stored_as])
    assert b"".join(uploads.pieces(row)) == PDF
    assert uploads.purge(now=clock.now() + timedelta(hours=2)) == 0
    assert [path.name for path in stored(folder)] == [row.stored_as.hex]
    assert Upload.objects.get().begun == []


def test_one_file_that_comes_twice_at_once_is_stored_once(
    acme: Cast, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = received(acme), received(acme)
    save, answers = default_storage._wrapped.save, []

    def other_is_faster(name: str, content: Any) -> str:
        if name.endswith(first.stored_as.hex):
            answers.append(uploads.keep(second, workspace_id=acme.workspace.id, now=clock.now()))
        return save(name, content)

    monkeypatch.setattr(default_storage._wrapped, "save", other_is_faster)
    answers.append(uploads.keep(first, workspace_id=acme.workspace.id, now=clock.now()))

    row = Upload.objects.get()
    assert answers == [(row.id, True), (row.id, False)]
    assert (row.stored_as, row.begun) == (second.stored_as, [])
    assert [path.name for path in stored(folder)] == [row.stored_as.hex]


def test_a_file_that_the_storage_lost_is_kept_anew(web: Web, acme: Cast, folder: Any) -> None:
    media_id = upload(web, acme).json()["media_id"]
    (path,) = stored(folder)
    path.unlink()

    assert upload(web, acme).json()["media_id"] == media_id
    assert b"".join(uploads.pieces(Upload.objects.get())) == PDF


def test_a_database_that_blinks_says_try_again(
    web: Web, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(front, "_tenant_of", away)
    assert refused(upload(web, acme)) == (503, "UNAVAILABLE")
