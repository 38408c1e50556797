"""Sends that name files of ours: checked when they are asked for, given to the platform once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from uuid import UUID, uuid4

import httpx
import pytest
from django.core.files.storage import default_storage
from django.db import connection

from connectors.simulator.meta.server import RunningSimulator
from lib import clock, sealed_files
from messaging import queries, uploads
from messaging.broadcasts import outcomes
from messaging.delivery import files, uploading
from messaging.delivery.files import FileKey
from messaging.delivery.sender import Sender
from messaging.delivery.uploading import FileJob, Uploader, upload
from messaging.models import Message, PendingSend, SendingPause, Upload, UploadHandle
from messaging.related import Related
from messaging.sending import queueing
from messaging.sending.reading import request_of
from messaging.sending.refusals import UnableToSend
from templates_wa.parameters import HeaderValue, MediaValue, TemplateParameters
from tests.broadcasts import conftest as broadcasts
from tests.conftest import Cast
from tests.delivery.outgoing import FakeChannel, Platform, accept
from tests.delivery.test_settling import report
from tests.files.conftest import folder, stored
from tests.files.kept import kept
from tests.files.samples import PDF, PNG, SAMPLES
from tests.sending.conftest import hear, template
from workspaces import provisioning
from workspaces.channel_errors import OutcomeUnknown, Reach, Rejected, Throttled, Unavailable
from workspaces.channels import Channel, Credentials, OutgoingFile

__all__ = ("folder",)
pytestmark = pytest.mark.django_db

Deliver = Callable[[], int]
GONE = Rejected(
    100,
    "An invalid parameter.",
    details="Param image['id'] is not a valid whatsapp business account media attachment ID",
)
HEADER = {"type": "HEADER", "format": "DOCUMENT"}
BODY = {"type": "BODY", "text": "Your invoice"}


@pytest.fixture(autouse=True)
def _heard(acme: Cast, now: datetime) -> None:
    hear(acme, now - timedelta(hours=1))


def send(cast: Cast, now: datetime, **content: object) -> Message:
    given = {"workspace_id": str(cast.workspace.id), "recipient_phone": "+15550123456", **content}
    queued = queueing.queue(tenant_id=cast.tenant.id, request=request_of(given), now=now)
    return Message.objects.get(pk=queued.message_id)


def document(upload_id: UUID | str, **more: str) -> dict[str, object]:
    return {"media": {"kind": "document", "id": str(upload_id), **more}}


def refusals(cast: Cast, now: datetime, **content: object) -> list[tuple[str, str | None]]:
    with pytest.raises(UnableToSend) as refused:
        send(cast, now, **content)
    return [(one.code.value, one.field) for one in refused.value.reasons]


def status_of(message: Message) -> str | None:
    message.refresh_from_db()
    return message.status


def delivery_of(cast: Cast, message: Message) -> dict:
    """Return what callers read of a message's delivery."""
    row = queries.find(tenant_id=cast.tenant.id, message_id=message.id)
    assert row is not None
    return Related(cast.tenant.id, [row]).delivery_of(row, with_numbers=False)


def look_again() -> None:
    """Let what waits be due."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox SET due_at = now() WHERE due_at IS NOT NULL")
        cursor.execute("UPDATE upload_handles SET due_at = now() - interval '1 s'")


def test_a_file_is_given_to_the_platform_once_for_a_number(
    acme: Cast, globex: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    upload_id = kept(acme)
    first = send(acme, now, **document(upload_id, caption="Here"))

    assert (deliver(), deliver()) == (0, 1)
    second = send(acme, now, **document(upload_id, filename="other.pdf"))
    assert deliver() == 1

    assert platform.files == [(acme.workspace.external_id, "application/pdf", PDF)]
    assert [body["document"] for body in platform.bodies] == [
        {"id": "1001", "caption": "Here", "filename": "invoice.pdf"},
        {"id": "1001", "filename": "other.pdf"},
    ]
    assert (status_of(first), status_of(second)) == ("accepted", "accepted")
    assert first.content == {"filename": "invoice.pdf", "files": [str(upload_id)]}


def test_another_number_is_given_it_again(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    upload_id = kept(acme)
    other = provisioning.create_workspace(
        tenant_id=acme.tenant.id, name="Sales", external_id="100000000000009"
    )
    for workspace_id in (acme.workspace.id, other.id):
        template(acme, name=f"t_{workspace_id.hex}", components=[BODY])
    hear(Cast(acme.tenant, other, "", "", ""), now - timedelta(hours=1), wamid="wamid.OTHER")
    send(acme, now, **document(upload_id))
    send(acme, now, workspace_id=str(other.id), **document(upload_id))

    assert deliver() + deliver() == 2
    assert {number for number, _, _ in platform.files} == {
        acme.workspace.external_id,
        other.external_id,
    }


def test_only_a_file_of_the_tenant_that_fits_is_accepted(
    acme: Cast, globex: Cast, now: datetime
) -> None:
    mine, theirs = kept(acme), kept(globex)
    picture = kept(acme, PNG, "a.png")

    assert refusals(acme, now, **document(theirs)) == [("MEDIA_NOT_FOUND", "media.id")]
    assert refusals(acme, now, **document(uuid4())) == [("MEDIA_NOT_FOUND", "media.id")]
    assert refusals(acme, now, **document("abc")) == [("INVALID_INPUT", "media.id")]
    assert refusals(acme, now, media={"kind": "image", "id": str(mine)}) == [
        ("MEDIA_KIND", "media.id")
    ]
    assert send(acme, now, media={"kind": "image", "id": str(picture).upper()})
    Upload.objects.update(state="STORING")
    assert refusals(acme, now, **document(mine)) == [("MEDIA_NOT_FOUND", "media.id")]


def test_headers_take_files_too(
    acme: Cast, globex: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    template(acme, name="invoice", components=[HEADER, BODY])
    mine, theirs = kept(acme), kept(globex)
    picture = kept(acme, PNG, "a.png")

    def headed(upload_id: UUID) -> dict[str, object]:
        header = {"media": {"id": str(upload_id), "filename": "a.pdf"}}
        return {"template_name": "invoice", "template_parameters": {"header": header}}

    def pressed(upload_id: UUID) -> dict[str, object]:
        header = {"media": {"kind": "image", "id": str(upload_id)}}
        button = {"id": "1", "title": "Yes"}
        return {"interactive": {"body": "Here", "header": header, "buttons": [button]}}

    send(acme, now, **headed(mine))
    send(acme, now, **pressed(picture))
    assert deliver() + deliver() == 2
    first, second = sorted(platform.bodies, key=lambda body: body["type"] == "template")
    names = {kind: str(1_001 + n) for n, (_, kind, _) in enumerate(platform.files)}
    assert first["interactive"]["header"] == {"type": "image", "image": {"id": names["image/png"]}}
    assert second["template"]["components"][0]["parameters"] == [
        {"type": "document", "document": {"id": names["application/pdf"], "filename": "a.pdf"}}
    ]

    field = "template_parameters.header.media.id"
    assert refusals(acme, now, **headed(theirs)) == [("MEDIA_NOT_FOUND", field)]
    assert refusals(acme, now, **pressed(mine)) == [("MEDIA_KIND", "interactive.header.media.id")]


def test_what_people_write_is_no_file(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    words = f'{{"id":"sigma-file:{kept(acme)}"}}'
    send(acme, now, text=words)

    assert deliver() == 1
    assert platform.bodies[0]["text"]["body"] == words
    assert platform.files == []


@pytest.mark.parametrize(
    "trouble", [Unavailable("Away."), Throttled(1.0), OutcomeUnknown("Nobody knows.")]
)
def test_a_file_that_does_not_get_there_keeps_no_other_message_back(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform, trouble: Exception
) -> None:
    platform.trouble = trouble
    waiting = send(acme, now, **document(kept(acme)))
    other = send(acme, now, text="Hello")

    assert deliver() == 1
    assert (status_of(waiting), status_of(other)) == ("queued", "accepted")
    look_again()
    assert deliver() == 0
    platform.trouble = None
    look_again()
    assert deliver() + deliver() == 1
    assert status_of(waiting) == "accepted"


def test_a_file_that_the_platform_refuses_fails_its_messages_only(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    platform.trouble = Rejected(131053, "Meta could not take the file; check its type and size.")
    bad = send(acme, now, **document(kept(acme)))
    other = send(acme, now, text="Hello")

    assert (deliver(), deliver()) == (1, 0)
    assert (status_of(bad), status_of(other)) == ("failed", "accepted")
    assert bad.delivery["errors"][0]["code"] == 131053


def test_a_token_that_is_refused_pauses_the_number(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    platform.trouble = Rejected(190, "A new token is needed.", stops=True, reach=Reach.TENANT)
    waiting = send(acme, now, **document(kept(acme)))

    assert deliver() == 0
    assert SendingPause.objects.get().code == 190
    SendingPause.objects.all().delete()
    platform.trouble = None
    look_again()
    assert deliver() + deliver() == 1
    assert status_of(waiting) == "accepted"


def test_a_file_that_was_altered_where_it_lies_is_not_sent(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform, folder: Path
) -> None:
    kept(acme)
    (path,) = stored(folder)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    message = send(acme, now, **document(Upload.objects.get().id))

    deliver()
    deliver()
    assert (status_of(message), platform.files) == ("failed", [])
    assert message.delivery["errors"][0]["code"] == "FILE_GONE"

    again = send(acme, now, **document(kept(acme)))
    assert deliver() + deliver() == 1
    assert status_of(again) == "accepted"


@pytest.mark.parametrize("at", ["open", "read"])
def test_a_storage_that_is_away_keeps_its_messages_waiting(
    acme: Cast,
    now: datetime,
    deliver: Deliver,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ConnectionError

    waiting = send(acme, now, **document(kept(acme)))
    with monkeypatch.context() as patched:
        if at == "open":
            patched.setattr(default_storage._wrapped, "open", fails)
        else:
            patched.setattr(sealed_files, "_read", fails)
        assert deliver() == 0
    assert "cannot be read at the moment" in UploadHandle.objects.get().error
    look_again()

    assert deliver() + deliver() == 1
    assert status_of(waiting) == "accepted"


def test_a_file_that_was_removed_meanwhile_fails_its_message(
    acme: Cast, now: datetime, deliver: Deliver
) -> None:
    upload_id = kept(acme)
    message = send(acme, now, **document(upload_id))
    later = now + timedelta(days=3)
    uploads.discard(tenant_id=acme.tenant.id, upload_id=upload_id, unless_used_since=now)
    assert Upload.objects.exists()
    uploads.discard(tenant_id=acme.tenant.id, upload_id=upload_id, unless_used_since=later)

    assert deliver() == 0
    assert status_of(message) == "failed"
    assert message.delivery["errors"][0]["code"] == "FILE_GONE"


def test_a_file_that_the_platform_forgot_is_given_to_it_again_once(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    upload_id = kept(acme)
    first = send(acme, now, **document(upload_id))
    deliver()
    platform.answer = lambda body: GONE if body["document"]["id"] == "1001" else accept(body)
    assert deliver() == 1
    assert status_of(first) == "queued"
    for _ in range(3):
        look_again()
        deliver()
    assert status_of(first) == "accepted"
    assert len(platform.files) == 2

    platform.answer = lambda body: GONE
    second = send(acme, now, **document(upload_id))
    deliver()
    assert status_of(second) == "failed"
    assert len(platform.files) == 2
    assert not SendingPause.objects.exists()


def test_a_file_is_given_again_before_the_platform_forgets_it(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    upload_id = kept(acme)
    send(acme, now, **document(upload_id))
    deliver()
    deliver()
    assert UploadHandle.objects.get().expires_at > now + timedelta(days=28)
    UploadHandle.objects.update(expires_at=now)
    send(acme, now, **document(upload_id))

    assert deliver() + deliver() == 1
    assert len(platform.files) == 2


def test_one_sender_uploads_a_file_at_a_time(acme: Cast, platform: Platform) -> None:
    key = FileKey(acme.tenant.id, kept(acme), acme.workspace.id)
    again: list[bool] = []

    class Other(FakeChannel):
        def upload_media(self, file: OutgoingFile) -> str:
            again.append(upload(job, chance=None))
            return super().upload_media(file)

    made: Channel = Other(external_id="1", account_id="", credentials=Credentials("x"))
    job = FileJob(key, made)

    assert upload(job, chance=None)
    assert again == [False]
    assert not upload(job, chance=None)
    (handle,) = files.look_up([key]).values()
    assert files.verdict(handle, now=clock.now()) == files.SentFile(key.upload_id, "1001")


def test_a_file_is_kept_while_a_message_may_need_it(acme: Cast, now: datetime) -> None:
    acme.tenant.retention_days = 1
    acme.tenant.save()
    upload_id = kept(acme)
    send(acme, now, scheduled_at=(now + timedelta(hours=20)).isoformat(), **document(upload_id))

    assert uploads.purge(now=now + timedelta(days=2)) == 0
    assert uploads.purge(now=now + timedelta(days=3)) == 1


def test_files_reach_a_real_platform_and_again_when_it_forgot_them(
    acme: Cast, now: datetime, deliver: Deliver, meta: RunningSimulator
) -> None:
    content = PDF + bytes(range(256)) * 1_000
    upload_id = kept(acme, content)
    first = send(acme, now, **document(upload_id))

    assert deliver() + deliver() == 1
    assert status_of(first) == "accepted"
    (file,) = meta.state.media._files.values()
    assert (file.content, file.mime_type) == (content, "application/pdf")

    assert httpx.delete(f"{meta.origin}/sim/files").status_code == 200
    second = send(acme, now, **document(upload_id))
    for _ in range(3):
        deliver()
        look_again()
    assert status_of(second) == "accepted"
    assert len(meta.state.media) == 1


def test_a_platform_that_goes_away_in_the_middle_gets_the_file_later(
    acme: Cast, now: datetime, deliver: Deliver, meta: RunningSimulator, settings
) -> None:
    message = send(acme, now, **document(kept(acme, PDF + bytes(1_000_000))))
    url, settings.SIGMA_GRAPH_URL = settings.SIGMA_GRAPH_URL, "http://127.0.0.1:9/v26.0"
    assert deliver() == 0
    assert UploadHandle.objects.get().error
    settings.SIGMA_GRAPH_URL = url
    look_again()

    assert deliver() + deliver() == 1
    assert status_of(message) == "accepted"


def job(cast: Cast, channel: object = None, *, of_broadcast: bool = False) -> FileJob:
    key = FileKey(cast.tenant.id, uuid4(), cast.workspace.id)
    return FileJob(key, channel, is_of_broadcast=of_broadcast)


@pytest.fixture
def uploader() -> Iterator[Uploader]:
    """One whose threads do nothing: ``ran`` is what they were given."""
    made = Uploader(chance=None)
    made.ran = []
    made._pool.submit = lambda work, job: made.ran.append(job)
    yield made
    made.close()


def end(uploader: Uploader, ended: FileJob) -> None:
    """Let a thread end what it was given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploading, "upload", lambda job, **_: True)
        patch.setattr(uploading.connection, "close", lambda: None)
        uploader._run(ended)


def test_uploads_of_one_tenant_leave_threads_to_others(
    acme: Cast, globex: Cast, uploader: Uploader
) -> None:
    mine = [job(acme) for _ in range(5)]

    uploader.begin([*mine, mine[0]])
    assert uploader.ran == mine[: uploading.MOST_OF_ONE]
    theirs = job(globex)
    uploader.begin([theirs])
    assert uploader.ran[-1] == theirs

    for position in range(5):
        end(uploader, uploader.ran[position])
    assert sorted(uploader.ran, key=str) == sorted([*mine, theirs], key=str)


def test_the_file_of_a_single_message_does_not_wait_for_a_broadcasts(
    acme: Cast, uploader: Uploader
) -> None:
    many = [job(acme, of_broadcast=True) for _ in range(1_000)]
    uploader.begin(many)
    single, wanted_too = job(acme), FileJob(many[500].key, None)

    uploader.begin([single, wanted_too])
    for _ in range(4):
        end(uploader, uploader.ran[-2])
    assert uploader.ran[2:5] == [single, wanted_too, many[2]]
    for position in range(4, 1_001):
        end(uploader, uploader.ran[position])
    assert len({one.key for one in uploader.ran}) == len(uploader.ran) == 1_001


def test_a_file_that_waits_is_given_with_the_credentials_of_the_moment(
    acme: Cast, uploader: Uploader
) -> None:
    first = [job(acme) for _ in range(uploading.MOST_OF_ONE)]
    waits = job(acme, "old token", of_broadcast=True)
    uploader.begin([*first, waits])
    uploader.begin([FileJob(waits.key, "new token", is_of_broadcast=True)])

    end(uploader, first[0])
    assert uploader.ran[-1].channel == "new token"


def test_only_messages_with_the_file_are_called_when_it_is_there(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    ready, waits = kept(acme), kept(acme, PDF + b"other", "other.pdf")
    for upload_id in (ready, waits):
        send(acme, now, **document(upload_id))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.delivery.conftest.upload", lambda job, chance: False)
        assert deliver() == 0

    key = FileKey(acme.tenant.id, ready, acme.workspace.id)
    channel = FakeChannel(external_id="1", account_id="", credentials=None)
    assert upload(FileJob(key, channel), chance=Random(1))

    due = PendingSend.objects.order_by("due_at")
    assert [one.reason for one in due] == [files.waiting_for(ready), files.waiting_for(waits)]
    assert due[0].due_at < due[1].due_at - files.WAIT / 2


@pytest.mark.django_db(transaction=True)
def test_a_running_sender_gives_the_file_and_goes_on_with_other_messages(
    acme: Cast, now: datetime, meta: RunningSimulator, sender: Sender, wait_for: Callable[..., None]
) -> None:
    upload_id = kept(acme, PDF + bytes(500_000))
    messages = [send(acme, now, **document(upload_id, caption=str(n))) for n in range(5)]
    messages.append(send(acme, now, text="Hello"))

    def all_accepted() -> bool:
        sender.work()
        sender.settle()
        statuses = {status_of(one) for one in messages}
        return statuses == {"accepted"}

    wait_for(all_accepted)
    assert len(meta.state.media) == 1


def test_a_broadcast_has_one_file_for_all(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    broadcasts.template(acme, components=[HEADER, BODY])
    shared = TemplateParameters(header=HeaderValue(media=MediaValue(id=str(kept(acme)))))
    broadcast = broadcasts.draft(acme, b"phone\n+999555000001\n+999555000002\n", shared=shared)
    broadcasts.start(broadcast, now)

    deliver()
    deliver()
    assert len(platform.files) == 1
    sent = [body["template"]["components"][0]["parameters"][0] for body in platform.bodies]
    document = {"id": "1001", "filename": "invoice.pdf"}
    assert sent == [{"type": "document", "document": document}] * 2


def test_it_is_written_down_how_much_the_platform_has(
    acme: Cast, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PROGRESS_SECONDS", 0.0)
    key = FileKey(acme.tenant.id, kept(acme, PDF + bytes(200_000)), acme.workspace.id)
    seen: list[tuple[int, bool]] = []

    class Slow(FakeChannel):
        def upload_media(self, file: OutgoingFile) -> str:
            for _ in file.pieces():
                handle = UploadHandle.objects.get()
                seen.append((handle.sent_bytes, handle.lease_until > clock.now()))
            return "1"

    made: Channel = Slow(external_id="1", account_id="", credentials=Credentials("x"))
    assert upload(FileJob(key, made), chance=None)
    assert seen == [(n * 65_536, True) for n in range(4)]


def test_a_sender_whose_lease_another_has_taken_gives_up(
    acme: Cast, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PROGRESS_SECONDS", 0.0)
    key = FileKey(acme.tenant.id, kept(acme, PDF + bytes(200_000)), acme.workspace.id)
    theirs = clock.now() + timedelta(hours=1)

    class Stalled(FakeChannel):
        def upload_media(self, file: OutgoingFile) -> str:
            for _ in file.pieces():
                UploadHandle.objects.update(lease_until=theirs)
            return "1"

    made: Channel = Stalled(external_id="1", account_id="", credentials=Credentials("x"))
    assert not upload(FileJob(key, made), chance=Random(1))
    assert UploadHandle.objects.get().lease_until == theirs
    assert not UploadHandle.objects.get().error


def test_a_process_that_ends_leaves_the_file_to_others(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    message = send(acme, now, **document(kept(acme)))
    key = FileKey(acme.tenant.id, Upload.objects.get().id, acme.workspace.id)
    closing = Event()
    closing.set()
    made: Channel = FakeChannel(external_id="1", account_id="", credentials=Credentials("x"))
    assert not upload(FileJob(key, made), chance=Random(1), closing=closing)
    look_again()

    assert deliver() + deliver() == 1
    assert status_of(message) == "accepted"


def test_a_sender_that_dies_between_file_and_message_sends_it_once(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    """Its lease ends by itself; the file may be given twice, the message is sent once."""
    message = send(acme, now, **document(kept(acme)))
    key = FileKey(acme.tenant.id, Upload.objects.get().id, acme.workspace.id)

    class Dies(FakeChannel):
        def upload_media(self, file: OutgoingFile) -> str:
            super().upload_media(file)
            raise KeyboardInterrupt

    made: Channel = Dies(external_id="1", account_id="", credentials=Credentials("x"))
    with pytest.raises(KeyboardInterrupt):
        upload(FileJob(key, made), chance=None)
    assert deliver() == 0
    assert len(platform.files) == 1
    UploadHandle.objects.update(lease_until=clock.now())
    look_again()

    assert deliver() + deliver() == 1
    assert (status_of(message), len(platform.files), len(platform.bodies)) == ("accepted", 2, 1)


def test_the_delivery_of_a_message_that_waits_for_its_file_says_so(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    platform.trouble = Unavailable("Meta cannot be reached.")
    message = send(acme, now, **document(kept(acme)))

    deliver()
    assert delivery_of(acme, message)["waiting"] == files.waiting_for(Upload.objects.get().id)
    look_again()
    UploadHandle.objects.update(due_at=clock.now() + timedelta(minutes=1))
    deliver()
    assert delivery_of(acme, message)["waiting"] == (
        "The file is not with the platform yet; it is tried again. Meta cannot be reached."
    )


LATE = {"code": 131053, "title": "Media upload error"}


def test_a_file_that_fails_late_is_given_anew_but_its_message_is_not_sent_again(
    acme: Cast, globex: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    upload_id = kept(acme)
    first, second = (send(acme, now, **document(upload_id, caption=c)) for c in "ab")
    assert deliver() + deliver() == 2
    known = UploadHandle.objects.get().platform_media_id
    report(globex, first, "failed", errors=[LATE])
    assert UploadHandle.objects.get().platform_media_id == known

    report(acme, first, "failed", errors=[LATE])
    assert UploadHandle.objects.get().platform_media_id == ""
    assert (status_of(first), len(platform.bodies)) == ("failed", 2)
    assert not PendingSend.objects.exists()
    third = send(acme, now, **document(upload_id))
    assert deliver() + deliver() == 1
    assert (status_of(third), len(platform.files), len(platform.bodies)) == ("accepted", 2, 3)

    report(acme, second, "failed", errors=[LATE])
    assert UploadHandle.objects.get().platform_media_id == "1002"  # once in an hour


@pytest.mark.parametrize(
    "errors", [[{"code": 131026}], [{"code": [131053]}], [{"code": "x"}], [{}], []]
)
def test_other_failures_say_nothing_of_files(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform, errors: list[dict]
) -> None:
    message = send(acme, now, **document(kept(acme)))
    assert deliver() + deliver() == 1
    report(acme, message, "failed", errors=errors)

    assert status_of(message) == "failed"
    assert UploadHandle.objects.get().platform_media_id == "1001"
    assert "remedy" not in delivery_of(acme, message)


def test_a_message_that_failed_for_its_file_says_what_helps(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    message = send(acme, now, media={"kind": "image", "link": "https://example.org/a.png"})
    deliver()
    report(acme, message, "failed", errors=[LATE])

    assert "In place of a link, upload the file" in delivery_of(acme, message)["remedy"]


def test_a_failure_of_a_template_forgets_the_files_of_all_its_cards(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    template(acme, components=CAROUSEL)
    message = send(acme, now, **carousel(kept(acme, PNG, "a.png"), kept(acme, PNG + b"x", "b.png")))
    assert deliver() + deliver() == 1
    assert len(message.content["files"]) == 2
    report(acme, message, "failed", errors=[LATE])

    assert {one.platform_media_id for one in UploadHandle.objects.all()} == {""}


CARD = {
    "components": [
        {"type": "HEADER", "format": "IMAGE"},
        {"type": "BODY", "text": "Hello {{1}}"},
    ]
}
CAROUSEL = [BODY, {"type": "CAROUSEL", "cards": [CARD, CARD]}]


def carousel(*upload_ids: UUID) -> dict[str, object]:
    cards = [{"header": {"media": {"id": str(one)}}, "positional": ["Ann"]} for one in upload_ids]
    return {"template_name": "welcome_message", "template_parameters": {"cards": cards}}


def test_cards_take_files_each_its_own(
    acme: Cast, globex: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    template(acme, components=CAROUSEL)
    first, second = kept(acme, PNG, "a.png"), kept(acme, PNG + b"x", "b.png")
    theirs, document_of_mine = kept(globex, PNG, "a.png"), kept(acme)

    send(acme, now, **carousel(first, second))
    assert (deliver(), len(platform.files), deliver()) == (0, 2, 1)
    cards = platform.bodies[0]["template"]["components"][-1]["cards"]
    headers = [card["components"][0]["parameters"][0] for card in cards]
    assert [header["type"] for header in headers] == ["image", "image"]
    ids = [header["image"]["id"] for header in headers]
    assert sorted(ids) == ["1001", "1002"]

    field = "template_parameters.cards[1].header.media.id"
    assert refusals(acme, now, **carousel(first, theirs)) == [("MEDIA_NOT_FOUND", field)]
    assert refusals(acme, now, **carousel(first, document_of_mine)) == [("MEDIA_KIND", field)]


def test_one_file_in_two_cards_is_given_once(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    template(acme, components=CAROUSEL)
    picture = kept(acme, PNG, "a.png")
    send(acme, now, **carousel(picture, picture))

    assert deliver() + deliver() == 1
    cards = platform.bodies[0]["template"]["components"][-1]["cards"]
    assert [c["components"][0]["parameters"][0]["image"] for c in cards] == [{"id": "1001"}] * 2
    assert len(platform.files) == 1


@pytest.mark.parametrize(
    ("format_", "content", "name", "kind"),
    [
        ("IMAGE", PNG, "a.png", "image"),
        ("VIDEO", SAMPLES["video/mp4"], "a.mp4", "video"),
        ("DOCUMENT", PDF, "a.pdf", "document"),
    ],
)
def test_headers_of_every_format_take_a_file_of_theirs(
    acme: Cast,
    now: datetime,
    deliver: Deliver,
    platform: Platform,
    format_: str,
    content: bytes,
    name: str,
    kind: str,
) -> None:
    template(acme, components=[{"type": "HEADER", "format": format_}, BODY])
    header = {"media": {"id": str(kept(acme, content, name))}}
    send(acme, now, template_name="welcome_message", template_parameters={"header": header})

    assert deliver() + deliver() == 1
    (parameter,) = platform.bodies[0]["template"]["components"][0]["parameters"]
    own_name = {"filename": name} if kind == "document" else {}
    assert parameter == {"type": kind, kind: {"id": "1001", **own_name}}


def test_a_broadcast_has_a_file_for_each_row(
    acme: Cast, now: datetime, deliver: Deliver, platform: Platform
) -> None:
    broadcasts.template(acme, components=[HEADER, BODY])
    ids = [kept(acme, PDF + bytes([n]), f"{n}.pdf") for n in range(30)]
    rows = [f"{broadcasts.phone(n)},{media_id}," for n, media_id in enumerate(ids)]
    rows += [f"{broadcasts.phone(30)},{ids[0]},bill.pdf"]
    rows += [f"{broadcasts.phone(31)},https://a.example/a.pdf?a=1&b=2,"]
    content = "\n".join(("phone,header:media,header:filename", *rows)).encode()
    broadcast = broadcasts.start(broadcasts.draft(acme, content), now)
    assert broadcast.state == "RUNNING"

    for _ in range(100):
        if len(platform.bodies) < 32:  # at the number's pace
            deliver()
            look_again()
    assert sorted(content for _, _, content in platform.files) == [
        PDF + bytes([n]) for n in range(30)
    ]
    sent = [
        body["template"]["components"][0]["parameters"][0]["document"] for body in platform.bodies
    ]
    assert len({one.get("id") for one in sent}) == 31
    assert {one["filename"] for one in sent if "filename" in one} == {
        *(f"{n}.pdf" for n in range(30)),
        "bill.pdf",
    }
    assert {"link": "https://a.example/a.pdf?a=1&b=2"} in sent


@pytest.mark.parametrize("skip_invalid", [False, True])
def test_a_row_whose_file_cannot_be_sent_is_named(
    acme: Cast, globex: Cast, now: datetime, skip_invalid: bool
) -> None:
    broadcasts.template(acme, components=[HEADER, BODY])
    ids = [kept(acme), kept(globex), uuid4(), kept(acme, PNG, "a.png")]
    rows = [f"{broadcasts.phone(n)},{media_id}" for n, media_id in enumerate(ids)]
    rows += [f"{broadcasts.phone(5)},"]
    content = "\n".join(("phone,header:media", *rows)).encode()

    broadcast = broadcasts.start(broadcasts.draft(acme, content), now, skip_invalid=skip_invalid)

    assert broadcast.state == ("RUNNING" if skip_invalid else "REFUSED")
    refused = outcomes.refused_rows(broadcast, limit=10)
    assert [(row.position, row.code) for row in refused] == [
        (3, "MEDIA_NOT_FOUND"),
        (4, "MEDIA_NOT_FOUND"),
        (6, "TEMPLATE_PARAMETERS"),
    ]
    if not skip_invalid:
        assert broadcast.reason.startswith("3 rows do not fit the template. Row 3: Your tenant has")


def test_files_of_a_broadcast_are_kept_until_it_begins(acme: Cast, now: datetime) -> None:
    broadcasts.template(acme, components=[HEADER, BODY])
    content = f"phone,header:media\n{broadcasts.phone(1)},{kept(acme)}\n".encode()
    at = now + timedelta(days=20)

    broadcasts.start(broadcasts.draft(acme, content), now, scheduled_at=at)

    assert Upload.objects.get().used_at == at
