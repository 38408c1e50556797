"""``POST /api/v1/media``, at a real web process."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command

from lib import clock, files
from lib.envelope import CannotOpen
from messaging import erasure, filetypes, uploads
from messaging.filetypes import MB
from messaging.models import Upload, UploadState
from messaging.sealed_storage import FileGone
from sigma import uploads as front
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF, PNG
from tests.whatsapp.conftest import Web
from workspaces import access
from workspaces.access import Scope

pytestmark = pytest.mark.django_db(transaction=True)
Wait = Callable[..., None]


def bearer(cast: Cast) -> dict[str, str]:
    return {"Authorization": f"Bearer {cast.api_key}"}


def upload(web: Web, cast: Cast, content: Any = PDF, **more: Any) -> httpx.Response:
    """Upload a file as a form."""
    name, kind = more.pop("name", "invoice.pdf"), more.pop("kind", None)
    file = (name, content, kind) if kind else (name, content)
    fields = {"workspace_id": str(cast.workspace.id), **more}
    return web.client.post("/api/v1/media", headers=bearer(cast), data=fields, files={"file": file})


def refused(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"]


def test_a_file_is_kept_sealed_and_whole(web: Web, acme: Cast, folder: Path) -> None:
    content = PDF + os.urandom(300_000)

    answer = upload(web, acme, content)

    assert answer.status_code == 201
    assert answer.json() == {
        "media_id": answer.json()["media_id"],
        "mime_type": "application/pdf",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    row = Upload.objects.get()
    assert (str(row.id), row.tenant_id) == (answer.json()["media_id"], acme.tenant.id)
    assert b"".join(uploads.pieces(row)) == content
    assert uploads.opened_name(row.tenant_id, row.id, row.sealed_name) == "invoice.pdf"
    (path,) = stored(folder)
    assert PDF[:20] not in path.read_bytes()


def test_a_loss_of_power_takes_no_file_that_was_promised(
    web: Web, acme: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk: set[int] = set()
    monkeypatch.setattr(files.os, "fsync", lambda held: on_disk.add(os.fstat(held).st_ino))

    assert upload(web, acme).status_code == 201

    (path,) = stored(folder)
    assert {one.stat().st_ino for one in (path, path.parent, folder)} <= on_disk


def test_the_body_itself_may_be_the_file(web: Web, acme: Cast) -> None:
    query = {"workspace_id": str(acme.workspace.id), "filename": "a/b/picture.png"}
    headers = {**bearer(acme), "Content-Type": "image/png"}

    answer = web.client.post("/api/v1/media", headers=headers, params=query, content=PNG)
    in_chunks = web.client.post(
        "/api/v1/media", headers=headers, params=query, content=iter([PNG[:9], PNG[9:]])
    )

    assert (answer.status_code, answer.json()["mime_type"]) == (201, "image/png")
    assert in_chunks.json() == answer.json()
    row = Upload.objects.get()
    assert uploads.opened_name(row.tenant_id, row.id, row.sealed_name) == "picture.png"


def test_the_same_file_has_the_same_id_in_its_tenant_and_another_in_another(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    first, again, theirs = (upload(web, one).json() for one in (acme, acme, globex))

    assert first == again
    assert first["media_id"] != theirs["media_id"]
    assert len(stored(folder)) == 2
    assert upload(web, acme, name="other.pdf").json()["media_id"] != first["media_id"]


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        (b"", {}, (422, "EMPTY_FILE")),
        (b"\x7fELF" + bytes(99), {"name": "a"}, (415, "UNSUPPORTED_TYPE")),
        (PDF, {"kind": "image/svg+xml"}, (415, "UNSUPPORTED_TYPE")),
        (PDF, {"name": "a.png"}, (422, "TYPE_MISMATCH")),
        (PNG, {"kind": "application/pdf"}, (422, "TYPE_MISMATCH")),
        (PDF, {"size": "1"}, (400, "INVALID_INPUT")),
        (PDF, {"sha256": "0" * 64}, (400, "INVALID_INPUT")),
        (PDF, {"workspace_id": "1"}, (400, "INVALID_INPUT")),
        (PDF, {"workspace_id": str(uuid4())}, (422, "WORKSPACE_NOT_FOUND")),
        (PNG + bytes(5 * MB), {"name": "a.png"}, (413, "TOO_LARGE")),
    ],
)
def test_what_cannot_be_sent_is_refused_and_leaves_nothing(
    web: Web,
    acme: Cast,
    folder: Path,
    content: bytes,
    more: dict[str, str],
    expected: tuple[int, str],
) -> None:
    assert refused(upload(web, acme, content, **more)) == expected
    assert stored(folder) == []
    assert not Upload.objects.exists()


def test_what_is_said_of_a_file_is_compared_with_it(web: Web, acme: Cast) -> None:
    digest = hashlib.sha256(PDF).hexdigest().upper()

    assert upload(web, acme, size=str(len(PDF)), sha256=digest).status_code == 201


def test_another_tenants_workspace_does_not_exist(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    answer = upload(web, acme, workspace_id=str(globex.workspace.id))

    assert refused(answer) == (422, "WORKSPACE_NOT_FOUND")
    assert stored(folder) == []


def test_a_key_that_may_not_send_is_refused_before_the_file_is_read(
    web: Web, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "RequestIntake", None)
    _, key = access.issue_api_key(tenant=acme.tenant, name="r", scopes=[Scope.MESSAGES_READ])

    for headers, expected in (
        ({"Authorization": f"Bearer {key}"}, (403, "FORBIDDEN")),
        ({"Authorization": "Bearer sigma_wrong"}, (401, "UNAUTHENTICATED")),
        ({}, (401, "UNAUTHENTICATED")),
    ):
        answer = web.client.post("/api/v1/media", headers=headers, files={"file": ("a", PDF)})
        assert refused(answer) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"'),
    ],
)
def test_a_broken_form_is_refused(
    web: Web, acme: Cast, folder: Path, kind: str, body: bytes
) -> None:
    headers = {**bearer(acme), "Content-Type": kind}

    answer = web.client.post("/api/v1/media", headers=headers, content=body)

    assert refused(answer) == (400, "INVALID_INPUT")
    assert stored(folder) == []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every file that was begun, with what became of it."""
    begun: list[object] = []
    abandon = front.RequestIntake.abandon

    def noted(intake: front.RequestIntake) -> None:
        abandon(intake)
        begun.append(intake)

    monkeypatch.setattr(front.RequestIntake, "abandon", noted)
    yield begun


def half(web: Web, cast: Cast, *, announced: int, sent: int) -> socket.socket:
    """Announce a file and send a part of it."""
    line = socket.create_connection(("127.0.0.1", web.port))
    head = (
        f"POST /api/v1/media?workspace_id={cast.workspace.id} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {cast.api_key}\r\nContent-Type: application/pdf\r\n"
        f"Content-Length: {announced}\r\n\r\n"
    )
    line.sendall(head.encode() + (PDF * 10_000)[:sent])
    return line


def test_half_an_upload_leaves_nothing(
    web: Web, acme: Cast, folder: Path, seen: list[object], wait_for: Wait
) -> None:
    half(web, acme, announced=1_000_000, sent=600_000).close()

    wait_for(lambda: len(seen) == 1)
    assert list(folder.iterdir()) == []
    assert not Upload.objects.exists()


def test_who_says_nothing_for_long_is_given_up(
    web: Web, acme: Cast, folder: Path, seen: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "SILENT_SECONDS", 0.2)
    with half(web, acme, announced=1_000_000, sent=300_000) as line:
        assert b" 408 " in line.recv(100)
    assert list(folder.iterdir()) == []


def test_a_file_that_is_larger_than_any_may_be_is_not_read(web: Web, acme: Cast) -> None:
    with half(web, acme, announced=101 * MB, sent=100) as line:
        assert b" 413 " in line.recv(100)


def test_a_file_is_refused_when_it_is_too_large_not_when_it_ends(
    web: Web, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    pdf = filetypes.TYPES["application/pdf"]._replace(most=100_000)
    monkeypatch.setitem(filetypes.TYPES, "application/pdf", pdf)  # type: ignore[arg-type]
    with half(web, acme, announced=2_000_000, sent=300_000) as line:
        assert b" 413 " in line.recv(100)


def test_no_tenant_takes_all_places(
    web: Web,
    acme: Cast,
    globex: Cast,
    settings: Any,
    seen: list[object],
    wait_for: Wait,
) -> None:
    settings.SIGMA_FILES_AT_ONCE = 4
    with half(web, acme, announced=100_000, sent=100):
        wait_for(lambda: upload(web, acme).status_code == 503)
        assert upload(web, globex).status_code == 201
    wait_for(lambda: bool(seen))
    assert upload(web, acme).status_code == 201


def test_a_storage_that_is_away_keeps_nothing(
    web: Web, acme: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str, content: object) -> str:
        raise ConnectionError

    monkeypatch.setattr(default_storage._wrapped, "save", fails)
    assert refused(upload(web, acme)) == (503, "UNAVAILABLE")
    assert not Upload.objects.exists()
    monkeypatch.undo()


def test_what_was_cut_off_while_it_was_stored_is_taken_over(
    web: Web, acme: Cast, folder: Path
) -> None:
    media_id = upload(web, acme).json()["media_id"]
    Upload.objects.update(state=UploadState.STORING)
    (before,) = stored(folder)

    assert upload(web, acme).json()["media_id"] == media_id
    assert uploads.purge(now=clock.now() + timedelta(hours=2)) == 0
    (after,) = stored(folder)
    assert after != before
    assert b"".join(uploads.pieces(Upload.objects.get(state=UploadState.READY))) == PDF


def test_a_file_that_was_cut_or_moved_does_not_open(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    for cast in (acme, globex):
        upload(web, cast, PDF + os.urandom(200_000))
    mine = Upload.objects.get(tenant_id=acme.tenant.id)
    paths = {path.parent.name: path for path in stored(folder)}
    path, theirs = paths[acme.tenant.id.hex], paths[globex.tenant.id.hex]
    whole = path.read_bytes()

    for altered in (whole[:-100], whole[:131_146], whole[65_573:], theirs.read_bytes()):
        path.write_bytes(altered)
        with pytest.raises(CannotOpen):
            b"".join(uploads.pieces(mine))
    path.unlink()
    with pytest.raises(FileGone):
        b"".join(uploads.pieces(mine))


def test_files_that_nothing_used_go_after_the_tenants_window(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    for cast in (acme, globex):
        upload(web, cast)
        upload(web, cast, PNG, name="a.png")
    acme.tenant.retention_days = 5
    acme.tenant.save()
    week_ago = clock.now() - timedelta(days=7)
    Upload.objects.filter(mime_type="image/png").update(used_at=week_ago)

    assert uploads.purge(now=clock.now()) == 1
    assert Upload.objects.filter(tenant_id=acme.tenant.id).get().mime_type == "application/pdf"
    assert Upload.objects.filter(tenant_id=globex.tenant.id).count() == 2
    assert len(stored(folder)) == 3

    Upload.objects.update(state=UploadState.STORING, used_at=clock.now() - timedelta(hours=2))
    assert uploads.purge(now=clock.now()) == 3
    assert stored(folder) == []


def test_erasure_removes_a_tenants_files_and_no_others(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    for cast in (acme, globex):
        upload(web, cast)

    assert erasure.count(acme.tenant.id)["uploads"] == 1
    assert erasure.erase(acme.tenant.id)["uploads"] == 1
    assert {UUID(path.name) for path in folder.iterdir()} == {globex.tenant.id}
    assert Upload.objects.get().tenant_id == globex.tenant.id


def test_the_command_says_how_much_lies_there(web: Web, acme: Cast, globex: Cast) -> None:
    assert "No files" in said("media")
    for cast in (acme, globex):
        upload(web, cast)
    upload(web, acme, PNG, name="a.png")

    assert f'"files": 2,\n      "bytes": {len(PDF) + len(PNG)}' in said("media", "acme", "--json")
    assert "globex" not in said("media", "acme")
    assert "globex" in said("media")


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()
