"""Files that people sent, kept by a tenant's archive: fetched once, checked, served, removed."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, connections, transaction
from django.test import Client

from lib import clock
from messaging import amendments, archive, erasure, fetching, person_erasure
from messaging import media as files
from messaging.media import NewFile, download_url
from messaging.models import ArchiveError, ArchiveState, Contact, Media, Message, PendingFetch
from messaging.references import Target
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF, PNG
from tests.graphql.conftest import gql, key_with, write
from tests.messaging.conftest import body, get
from tests.messaging.meta import Meta, Reply
from workspaces import keys, secrets
from workspaces.access import Scope
from workspaces.models import ArchiveKey, SecretKind

__all__ = ("gql",)
pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _archives(acme: Cast, globex: Cast) -> None:
    """Acme's archive is under the tenant's key, globex's under the key of the day."""
    for cast, key in ((acme, ArchiveKey.FIELD), (globex, ArchiveKey.DAY)):
        cast.tenant.archive = key
        cast.tenant.save()
        secrets.add(tenant=cast.tenant, kind=SecretKind.ACCESS_TOKEN, value=f"EAAG-{key}")


def brought(cast: Cast, content: bytes = PDF, *, number: int = 777, **columns: Any) -> Media:
    """Store a message with a file, as processing does."""
    (message,) = write(cast, 1, type="document")
    new = {
        "id": uuid4(),
        "tenant_id": cast.tenant.id,
        "workspace_id": cast.workspace.id,
        "message_id": message.id,
        "platform_media_id": str(number),
        "mime_type": "application/pdf",
        "sha256": base64.b64encode(hashlib.sha256(content).digest()).decode(),
        "filename": "invoice.pdf",
        "voice": False,
        "animated": False,
        "sent_at": clock.now(),
        **columns,
    }
    files.insert([NewFile(**new)])
    return Media.objects.get(pk=new["id"])


def fetch_all(*, later: timedelta = timedelta()) -> int:
    """Fetch what is due."""
    claimed = fetching.claim(now=clock.now() + later, limit=10)
    for one in claimed:
        fetching.fetch(one)
    return len(claimed)


def state_of(file: Media) -> tuple[str | None, str | None]:
    file.refresh_from_db()
    return file.archive_state, file.archive_error


def fails(*_: object) -> str:
    """Do as a storage that is away."""
    raise ConnectionError


def forgotten(meta: Meta) -> None:
    """Let Meta forget everything."""
    meta.replies.clear()


def test_a_file_is_served_after_meta_forgot_it(
    acme: Cast, globex: Cast, meta: Meta, folder: Path
) -> None:
    content = PDF + bytes(range(256)) * 1000
    meta.keep("777", content)
    mine, theirs = (brought(cast, content) for cast in (acme, globex))
    assert [state_of(one)[0] for one in (mine, theirs)] == ["PENDING", "PENDING"]

    assert (fetch_all(), fetch_all()) == (2, 0)
    asked = len(meta.asked)
    forgotten(meta)

    for file, cast in ((mine, acme), (theirs, globex)):
        assert state_of(file) == ("KEPT", None)
        assert file.size_bytes == len(content)
        answer = get(download_url(file).split("8000", 1)[1])
        assert answer["Content-Length"] == str(len(content))
        assert body(answer) == content
        assert body(get(f"/media/{file.id}", cast.api_key)) == content
    assert get(f"/media/{mine.id}", globex.api_key).status_code == 404
    assert len(meta.asked) == asked == 4
    assert not PendingFetch.objects.exists()
    paths = stored(folder)
    assert {UUID(path.parent.name) for path in paths} == {acme.tenant.id, globex.tenant.id}
    assert all(PDF[:20] not in path.read_bytes() for path in paths)


def test_a_tenant_without_an_archive_keeps_nothing(
    acme: Cast, globex: Cast, meta: Meta, folder: Path
) -> None:
    acme.tenant.archive = ArchiveKey.OFF
    acme.tenant.save()
    meta.keep("777", PDF)
    mine, theirs = brought(acme), brought(globex)

    assert fetch_all() == 1
    assert state_of(mine) == (None, None)
    assert state_of(theirs)[0] == "KEPT"
    assert len(stored(folder)) == 1


def test_an_archive_that_is_switched_off_fetches_no_more(
    acme: Cast, meta: Meta, folder: Path
) -> None:
    meta.keep("777", PDF)
    kept = brought(acme)
    fetch_all()
    pending = brought(acme)
    acme.tenant.archive = ArchiveKey.OFF
    acme.tenant.save()

    assert fetch_all() == 1
    assert state_of(pending) == (None, None)
    forgotten(meta)
    assert body(get(f"/media/{kept.id}", acme.api_key)) == PDF


def aged(file: Media, days: int) -> None:
    """Let a file have come so many days ago."""
    came = clock.now() - days * DAY
    Media.objects.filter(pk=file.pk).update(created_at=came, archived_day=came.date())


def test_a_file_is_gone_after_its_retention(
    acme: Cast, globex: Cast, meta: Meta, folder: Path
) -> None:
    meta.keep("777", PDF)
    mine, theirs, young = brought(acme), brought(globex), brought(acme)
    fetch_all()
    forgotten(meta)
    for cast, days in ((acme, 90), (globex, 90)):
        cast.tenant.archive_days = days
        cast.tenant.save()
    aged(mine, 91)
    aged(theirs, 31)  # Raw is kept for 30, and its key with it

    assert archive.purge(now=clock.now()) == 2
    for file, cast in ((mine, acme), (theirs, globex)):
        assert state_of(file) == ("REMOVED", None)
        answer = get(f"/media/{file.id}", cast.api_key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "MEDIA_GONE")
    assert state_of(young)[0] == "KEPT"
    assert len(stored(folder)) == 1


def test_the_key_of_the_day_ends_a_file_at_once(globex: Cast, meta: Meta) -> None:
    meta.keep("777", PDF)
    file = brought(globex)
    fetch_all()
    forgotten(meta)

    keys.destroy_day_keys(tenant_id=globex.tenant.id, before=clock.now().date() + DAY)

    assert get(f"/media/{file.id}", globex.api_key).status_code == 410


def test_what_is_past_its_retention_is_not_fetched(globex: Cast, meta: Meta, folder: Path) -> None:
    meta.keep("777", PDF)
    globex.tenant.retention_days = 1
    globex.tenant.save()
    file = brought(globex)
    Media.objects.update(created_at=clock.now() - 3 * DAY)

    assert fetch_all() == 1
    assert state_of(file) == (None, None)
    assert stored(folder) == []


def test_erasure_removes_a_tenants_archive_and_no_others(
    acme: Cast, globex: Cast, meta: Meta, folder: Path
) -> None:
    meta.keep("777", PDF)
    for cast in (acme, globex):
        brought(cast)
    fetch_all()
    brought(acme, number=1)
    fetching.claim(now=clock.now(), limit=1)

    assert erasure.count(acme.tenant.id)["archive_fetches"] == 1
    gone = erasure.erase(acme.tenant.id)
    assert (gone["archive_fetches"], gone["media"]) == (1, 2)
    assert {UUID(path.name) for path in folder.iterdir()} == {globex.tenant.id}
    assert Media.objects.get().tenant_id == globex.tenant.id


def test_a_message_that_is_deleted_takes_its_file_along(
    acme: Cast, meta: Meta, folder: Path, now: datetime
) -> None:
    meta.keep("777", PDF)
    kept = brought(acme)
    fetch_all()
    pending = brought(acme)
    for file in (kept, pending):
        said = Message.objects.get(pk=file.message_id)
        whose = (acme.tenant.id, acme.workspace.id)
        write(acme, 1, type="revoke", reply_to=said.platform_message_id)
        target = Target(*whose, said.platform_message_id, None, None, None, "INBOUND")
        amendments.apply([target], [])

    assert get(f"/media/{kept.id}", acme.api_key).status_code == 410
    assert (fetch_all(), archive.purge(now=now)) == (1, 1)
    assert stored(folder) == []
    assert [state_of(file) for file in (kept, pending)] == [(None, None), (None, None)]


def test_a_deletion_that_comes_while_the_file_is_fetched_stands(
    acme: Cast, meta: Meta, folder: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    save = default_storage._wrapped.save

    def saved(name: str, content: object) -> str:
        Message.objects.filter(pk=file.message_id).update(revoked_at=now)
        return save(name, content)

    monkeypatch.setattr(default_storage._wrapped, "save", saved)
    assert fetch_all() == 1
    assert stored(folder) == []
    assert Media.objects.get().archived_as is None


WRONG = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("reply", "columns", "error"),
    [
        (None, {"sha256": WRONG}, "CHECKSUM_MISMATCH"),
        (None, {"sha256": "0" * 64}, "CHECKSUM_MISMATCH"),
        (("/v26.0/777", {"file_size": str(len(PDF) - 1)}), {}, "SIZE_MISMATCH"),
        (("/v26.0/777", {"file_size": len(PDF) - 1}), {}, "SIZE_MISMATCH"),
        (("/files/777", Reply(PDF, declared_length=len(PDF) + 9)), {}, "PLATFORM_AWAY"),
        (("/files/777", Reply(PDF[:9])), {}, "CHECKSUM_MISMATCH"),
        (("/files/777", Reply(b"", 404)), {}, "MEDIA_GONE"),
        (("/files/777", Reply(b"", 500)), {}, "PLATFORM_AWAY"),
        (("/files/777", Reply(b"", 302, {"Location": "http://169.254.169.254/"})), {}, None),
        (("/v26.0/777", Reply(b"", 429)), {}, "PLATFORM_AWAY"),
        (("/v26.0/777", Reply({"error": {"code": 190}}, 401)), {}, "PLATFORM_REJECTED"),
        (("/v26.0/777", Reply({"error": {"code": 100, "error_subcode": 33}}, 400)), {}, None),
    ],
)
def test_what_is_not_right_is_not_kept_but_tried_again(
    acme: Cast,
    globex: Cast,
    meta: Meta,
    folder: Path,
    reply: tuple[str, Any] | None,
    columns: dict[str, str],
    error: str | None,
) -> None:
    meta.keep("777", PDF)
    right = dict(meta.replies)
    if reply is not None:
        where, what = reply
        if isinstance(what, dict):
            what = Reply({**meta.replies[where].body, **what})
        meta.replies[where] = what
    meta.keep("1", PDF)
    file, other = brought(acme, **columns), brought(globex, number=1)

    assert fetch_all() == 2
    state, found = state_of(file)
    assert state == "PENDING"
    assert error is None or found == error
    assert state_of(other)[0] == "KEPT"
    assert len(stored(folder)) == 1
    assert fetch_all() == 0

    meta.replies.update(right)
    Media.objects.filter(pk=file.pk).update(sha256=brought(acme, number=2).sha256)
    PendingFetch.objects.exclude(media_id=file.pk).delete()
    assert fetch_all(later=timedelta(seconds=31)) == 1
    assert state_of(file) == ("KEPT", None)


def test_a_file_without_a_checksum_is_taken_as_it_is(acme: Cast, meta: Meta) -> None:
    meta.keep("777", PDF)
    for said in ("", "none", "é"):
        file = brought(acme, sha256=said)
        fetch_all()
        assert state_of(file) == ("KEPT", None)


def test_it_gives_up_when_meta_forgets_the_file(
    acme: Cast, gql: Any, meta: Meta, folder: Path
) -> None:
    file = brought(acme, sent_at=clock.now() - 6.99 * DAY)

    assert fetch_all() == 1
    assert state_of(file) == ("LOST", "MEDIA_GONE")
    assert not PendingFetch.objects.exists()
    shown = gql(acme, ASK, id=str(file.message_id)).data["message"]["media"]
    assert shown == {
        "state": "GONE",
        "archiveState": "LOST",
        "archiveError": "MEDIA_GONE",
        "downloadUrl": None,
    }


ASK = """query Q($id: ID!) { message(id: $id) {
    media { state archiveState archiveError downloadUrl }
} }"""


def test_a_file_that_is_larger_than_allowed_is_lost_at_once(
    acme: Cast, meta: Meta, settings: Any, folder: Path
) -> None:
    settings.SIGMA_ARCHIVE_MAX_BYTES = len(PDF) - 1
    meta.keep("777", PDF)
    meta.keep("1", PDF)
    meta.replies["/files/1"] = Reply(PDF, declared_length=-1)
    told, untold = brought(acme), brought(acme, number=1)

    assert fetch_all() == 2
    assert [state_of(one) for one in (told, untold)] == [("LOST", "TOO_LARGE")] * 2
    settings.SIGMA_ARCHIVE_MAX_BYTES = 10**8
    meta.replies["/files/777"] = Reply(PDF, declared_length=200_000_000)
    file = brought(acme)
    assert fetch_all() == 1
    assert state_of(file) == ("LOST", "TOO_LARGE")
    assert stored(folder) == []


def test_a_storage_that_is_away_loses_nothing(
    acme: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)

    with monkeypatch.context() as away:
        away.setattr(default_storage._wrapped, "save", fails)
        fetch_all()
    assert state_of(file) == ("PENDING", "STORAGE_AWAY")
    assert fetch_all(later=timedelta(seconds=31)) == 1
    assert state_of(file) == ("KEPT", None)
    with monkeypatch.context() as away:
        away.setattr(default_storage._wrapped, "open", fails)
        answer = get(f"/media/{file.id}", acme.api_key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UNAVAILABLE")


def test_a_killed_worker_leaves_nothing_behind(
    acme: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    (claimed,) = fetching.claim(now=clock.now(), limit=1)
    with monkeypatch.context() as killed:
        killed.setattr(fetching, "_record", lambda *_: None)  # nothing after the storage's answer
        fetching.fetch(claimed)
    assert len(stored(folder)) == 1

    assert fetch_all() == 0
    assert fetch_all(later=fetching.LEASE + timedelta(seconds=1)) == 1
    assert state_of(file)[0] == "KEPT"
    (path,) = stored(folder)
    assert path.name == file.archived_as.hex  # type: ignore[union-attr]

    fetching.fetch(claimed)  # it was only slow, and its claim is over
    assert stored(folder) == [path]
    file.refresh_from_db()
    assert body(get(f"/media/{file.id}", acme.api_key)) == PDF


def test_what_was_left_is_removed_however_long_the_storage_is_away(
    acme: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    with monkeypatch.context() as killed:
        killed.setattr(fetching, "_record", lambda *_: None)
        fetch_all()
    (left,) = stored(folder)

    with monkeypatch.context() as away:
        away.setattr(default_storage._wrapped, "delete", fails)
        assert fetch_all(later=2 * fetching.LEASE) == 1
    assert state_of(file) == ("PENDING", "STORAGE_AWAY")
    assert fetch_all(later=3 * fetching.LEASE) == 1
    assert state_of(file)[0] == "KEPT"
    assert left not in stored(folder)
    assert len(stored(folder)) == 1


def test_what_is_lost_while_the_storage_is_away_leaves_nothing(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    lost, deleted = (brought(cast, sent_at=clock.now() - 6.99 * DAY) for cast in (acme, globex))
    keep = fetching._keep

    def stores_half(claimed: fetching.Claim, *rest: Any) -> None:
        keep(claimed, *rest)
        raise fetching.NotArchived(ArchiveError.STORAGE_AWAY)

    with monkeypatch.context() as away:
        away.setattr(fetching, "_record", lambda *_: None)
        away.setattr(fetching, "_keep", stores_half)
        away.setattr(default_storage._wrapped, "delete", fails)
        assert fetch_all() == 2
    assert [state_of(one) for one in (lost, deleted)] == [("LOST", "STORAGE_AWAY")] * 2
    assert len(stored(folder)) == 2
    Media.objects.filter(pk=deleted.pk).delete()

    assert fetch_all(later=DAY) == 2
    assert stored(folder) == []
    assert state_of(lost) == ("LOST", "STORAGE_AWAY")
    assert not PendingFetch.objects.exists()


@pytest.mark.parametrize("fails_then", [False, True])
@pytest.mark.parametrize("state", ["REFUSED", None])
def test_what_became_of_a_file_while_it_was_fetched_stands(
    acme: Cast,
    meta: Meta,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    fails_then: bool,
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    save = default_storage._wrapped.save

    def saved(name: str, content: object) -> str:
        Media.objects.filter(pk=file.pk).update(archive_state=state)
        return fails() if fails_then else save(name, content)

    monkeypatch.setattr(default_storage._wrapped, "save", saved)
    assert fetch_all() == 1
    assert state_of(file) == (state, None)
    assert stored(folder) == []
    fetch_all(later=DAY)
    assert not PendingFetch.objects.exists()


def test_a_worker_whose_claim_is_over_keeps_nothing(
    acme: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    save = default_storage._wrapped.save

    def saved(name: str, content: object) -> str:
        PendingFetch.objects.update(lease_until=clock.now() + DAY)
        return save(name, content)

    monkeypatch.setattr(default_storage._wrapped, "save", saved)
    assert fetch_all() == 1
    assert (state_of(file), stored(folder)) == (("PENDING", None), [])
    assert PendingFetch.objects.get().lease_until is not None


def test_what_is_told_anew_while_it_is_fetched_is_fetched_anew(
    acme: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    meta.keep("1", PNG)
    file = brought(acme)
    told = {name: getattr(file, name) for name in NewFile._fields if name != "sent_at"}
    told |= {"platform_media_id": "1", "sha256": ""}
    save = default_storage._wrapped.save

    def saved(name: str, content: object) -> str:
        files.insert([NewFile(**told, sent_at=clock.now())])
        return save(name, content)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(default_storage._wrapped, "save", saved)
        fetch_all()
    assert (state_of(file)[0], stored(folder)) == ("PENDING", [])
    assert fetch_all() == 1
    assert body(get(f"/media/{file.id}", acme.api_key)) == PNG


def test_what_is_kept_while_its_person_is_erased_goes_too(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    mine, theirs = brought(acme), brought(globex)
    known = Contact.objects.create(tenant_id=acme.tenant.id, display_name="Thandi")
    Message.objects.filter(pk=mine.message_id).update(contact_id=known.id)
    erase_files = archive.erase

    def erased(*whose: Any) -> int:
        count = erase_files(*whose)
        fetch_all()  # a worker that was under way
        return count

    monkeypatch.setattr(archive, "erase", erased)
    now = clock.now()
    asked = person_erasure.request(
        tenant_id=acme.tenant.id, contact_id=known.id, by="test", now=now
    )
    assert person_erasure.perform(asked, now=now).removed["media"] == 1
    assert len(stored(folder)) == 2

    assert fetch_all() == 1
    (path,) = stored(folder)
    assert UUID(path.parent.name) == globex.tenant.id
    assert state_of(theirs)[0] == "KEPT"
    assert not PendingFetch.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_erasure_of_a_person_locks_a_file_before_its_fetch_as_workers_do(
    acme: Cast, globex: Cast, wait_for: Callable[..., None]
) -> None:
    file, theirs = brought(acme), brought(globex)
    known = Contact.objects.create(tenant_id=acme.tenant.id, display_name="Thandi")
    Message.objects.filter(pk=file.message_id).update(contact_id=known.id)
    now = clock.now()
    asked = person_erasure.request(
        tenant_id=acme.tenant.id, contact_id=known.id, by="test", now=now
    )

    def erase() -> None:
        try:
            person_erasure.perform(asked, now=now)
        finally:
            connections.close_all()

    eraser = threading.Thread(target=erase)
    with transaction.atomic():
        Media.objects.select_for_update().get(pk=file.pk)
        eraser.start()
        wait_for(lambda: blocked() == 1)
        PendingFetch.objects.select_for_update(nowait=True).get(media_id=file.pk)
    eraser.join()

    assert not Message.objects.filter(contact_id=known.id).exists()
    assert fetch_all() == 2
    assert PendingFetch.objects.get().media_id == theirs.pk  # which Meta does not have


def blocked() -> int:
    """Return how many others wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def test_erasure_of_a_tenant_leaves_nothing_in_its_folder(
    acme: Cast, globex: Cast, folder: Path
) -> None:
    for cast in (acme, globex):  # as a worker leaves it that is killed while its tenant is erased
        default_storage.save(f"{cast.tenant.id.hex}/{uuid4().hex}", ContentFile(b"sealed"))

    erasure.erase(acme.tenant.id)

    assert [UUID(path.name) for path in folder.iterdir()] == [globex.tenant.id]


def test_a_file_that_was_altered_where_it_lies_is_asked_of_meta(
    acme: Cast, globex: Cast, meta: Meta, folder: Path
) -> None:
    meta.keep("777", PDF)
    mine, theirs = brought(acme), brought(globex)
    fetch_all()
    paths = {UUID(path.parent.name): path for path in stored(folder)}
    paths[acme.tenant.id].write_bytes(paths[globex.tenant.id].read_bytes())
    paths[globex.tenant.id].unlink()

    for file, cast in ((mine, acme), (theirs, globex)):
        assert body(get(f"/media/{file.id}", cast.api_key)) == PDF
    forgotten(meta)
    for file, cast in ((mine, acme), (theirs, globex)):
        assert get(f"/media/{file.id}", cast.api_key).status_code == 410


def test_a_file_that_is_told_anew_is_fetched_anew(acme: Cast, meta: Meta, folder: Path) -> None:
    meta.keep("777", PDF)
    meta.keep("1", PNG)
    file = brought(acme)
    fetch_all()
    told = {name: getattr(file, name) for name in NewFile._fields if name != "sent_at"}
    files.insert([NewFile(**told, sent_at=clock.now())])
    assert (state_of(file)[0], fetch_all()) == ("KEPT", 0)

    told |= {"platform_media_id": "1", "sha256": ""}
    files.insert([NewFile(**told, sent_at=clock.now())])
    assert (state_of(file)[0], fetch_all()) == ("PENDING", 1)
    assert state_of(file)[0] == "KEPT"
    assert body(get(f"/media/{file.id}", acme.api_key)) == PNG
    assert len(stored(folder)) == 1


@pytest.mark.parametrize("archive_of_acme", [ArchiveKey.FIELD, ArchiveKey.OFF])
def test_what_was_refused_is_not_wanted_again_because_it_is_told_again(
    acme: Cast, archive_of_acme: str
) -> None:
    file, untold = brought(acme), brought(acme, sha256="")
    Media.objects.update(archive_state="REFUSED", archive_error="INFECTED")
    acme.tenant.archive = archive_of_acme
    acme.tenant.save()
    for one in (file, untold):
        told = {name: getattr(one, name) for name in NewFile._fields if name != "sent_at"}
        files.insert([NewFile(**told, sent_at=clock.now())])

    assert state_of(file) == ("REFUSED", "INFECTED")
    # Without a checksum it may be another one.
    assert state_of(untold) == ("PENDING" if archive_of_acme != ArchiveKey.OFF else None, None)


@pytest.mark.parametrize("left", [b"", b"x", b"\0" * 40, b"\xff" * 70_000])
def test_what_is_no_sealed_file_is_asked_of_meta(
    acme: Cast, globex: Cast, meta: Meta, folder: Path, left: bytes
) -> None:
    meta.keep("777", PDF)
    kept = [(cast, brought(cast)) for cast in (acme, globex)]
    fetch_all()
    for path in stored(folder):
        path.write_bytes(left)

    for cast, file in kept:
        assert body(get(f"/media/{file.id}", cast.api_key)) == PDF


def test_no_tenant_takes_all_places(acme: Cast, globex: Cast, settings: Any) -> None:
    settings.SIGMA_ARCHIVE_AT_ONCE = 4
    for number in range(9):
        brought(acme, number=number)
    brought(globex)

    claimed = fetching.claim(now=clock.now(), limit=4)
    again = fetching.claim(now=clock.now(), limit=4)

    whose = sorted(one.tenant_id == acme.tenant.id for one in claimed)
    assert (whose, again) == ([False, True, True], [])


def test_rest_says_what_became_of_a_file(acme: Cast, globex: Cast, meta: Meta) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    fetch_all()

    def read(key: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        return Client().get(f"/api/v1/messages/{file.message_id}", headers=headers).json()

    shown = read(acme.api_key)["media"]
    assert (shown["id"], shown["archive_state"], shown["archive_error"]) == (
        str(file.id),
        "KEPT",
        None,
    )
    assert body(get(shown["download_url"].split("8000", 1)[1])) == PDF
    assert read(key_with(acme.tenant, Scope.MESSAGES_READ))["media"]["download_url"] is None
    assert read(globex.api_key)["error"]["code"] == "MESSAGE_NOT_FOUND"


def test_a_link_that_expired_serves_no_archived_file_either(
    acme: Cast, meta: Meta, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta.keep("777", PDF)
    file = brought(acme)
    fetch_all()
    monkeypatch.setattr(files, "LINK_LIFETIME", timedelta(seconds=-1))

    answer = get(download_url(file).split("8000", 1)[1])

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "EXPIRED_LINK")


@pytest.mark.django_db(transaction=True)
def test_what_nobody_thought_of_stops_no_worker(
    acme: Cast,
    globex: Cast,
    meta: Meta,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meta.keep("777", PDF)
    mine, theirs = brought(acme), brought(globex)
    keep = fetching._keep

    def fails(claimed: fetching.Claim, *rest: Any) -> None:
        if claimed.media_id == mine.id:
            raise ZeroDivisionError
        keep(claimed, *rest)

    monkeypatch.setattr(fetching, "_keep", fails)
    worker = fetching.Fetcher()
    assert worker.step() == 2
    wait_for(lambda: worker.under_way() == 0)
    worker.close()
    assert (state_of(mine), state_of(theirs)) == (("PENDING", "FAILED"), ("KEPT", None))


@pytest.mark.django_db(transaction=True)
def test_a_worker_fetches_what_is_due(
    acme: Cast, globex: Cast, meta: Meta, wait_for: Callable[..., None]
) -> None:
    meta.keep("777", PDF)
    for cast in (acme, globex):
        brought(cast)
    worker = fetching.Fetcher()

    assert worker.step() == 2
    wait_for(lambda: worker.under_way() == 0)
    assert set(Media.objects.values_list("archive_state", flat=True)) == {ArchiveState.KEPT}
    worker.close()
