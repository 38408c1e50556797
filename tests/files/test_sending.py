"""``POST /api/v1/messages`` with the file itself, at a real web process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from lib import clock
from messaging.delivery.queues import SENDS
from messaging.models import Conversation, Message, Upload
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.samples import PDF, PNG, SAMPLES
from tests.sending.conftest import hear, wire_of
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def conversation(acme: Cast, monkeypatch: pytest.MonkeyPatch) -> Conversation:
    """Of a person who wrote to acme an hour ago."""
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: True)
    hear(acme, clock.now() - timedelta(hours=1))
    return Conversation.objects.get(tenant_id=acme.tenant.id)


def send(web: Web, cast: Cast, content: bytes = PDF, **more: Any) -> httpx.Response:
    """Send a file as a form, to the one conversation unless told otherwise."""
    name = more.pop("name", "invoice.pdf")
    headers = {"Authorization": f"Bearer {cast.api_key}", **more.pop("headers", {})}
    fields = {"workspace_id": str(cast.workspace.id), **more}
    if not {"recipient_phone", "contact_id", "conversation_id"} & fields.keys():
        fields["conversation_id"] = str(Conversation.objects.get().id)
    return web.client.post(
        "/api/v1/messages", headers=headers, data=fields, files={"file": (name, content)}
    )


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["field"]


def test_a_file_is_sent_in_one_call(web: Web, acme: Cast, folder: Path) -> None:
    answer = send(web, acme, caption="Your invoice")

    assert (answer.status_code, answer.json()["status"]) == (201, "queued")
    message = Message.objects.get(pk=answer.json()["message_id"])
    upload = Upload.objects.get()
    assert (message.type, message.text) == ("document", "Your invoice")
    assert wire_of(message.id)["document"] == {
        "id": f"sigma-file:{upload.id}",
        "caption": "Your invoice",
        "filename": "invoice.pdf",
    }
    assert len(stored(folder)) == 1


@pytest.mark.parametrize(
    ("mime_type", "name", "more", "kind", "part"),
    [
        ("image/png", "a.png", {"caption": "A"}, "image", {"caption": "A"}),
        ("image/png", "a.png", {"kind": "document"}, "document", {"filename": "a.png"}),
        ("image/webp", "a.webp", {"caption": ""}, "sticker", {}),
        ("audio/ogg", "a.ogg", {"voice": "true"}, "audio", {"voice": True}),
        ("audio/ogg", "a.ogg", {"voice": "false"}, "audio", {}),
        ("application/pdf", "a.pdf", {"filename": "b.pdf"}, "document", {"filename": "b.pdf"}),
    ],
)
def test_its_kind_is_that_of_its_type_unless_told_otherwise(
    web: Web,
    acme: Cast,
    mime_type: str,
    name: str,
    more: dict[str, str],
    kind: str,
    part: dict[str, Any],
) -> None:
    answer = send(web, acme, SAMPLES[mime_type], name=name, **more)

    assert answer.status_code == 201
    found = wire_of(answer.json()["message_id"])
    assert found["type"] == kind
    assert found[kind] == {"id": f"sigma-file:{Upload.objects.get().id}", **part}


def test_the_same_key_sends_it_once(web: Web, acme: Cast, folder: Path) -> None:
    key = {"headers": {"Idempotency-Key": "invoice-4711"}}

    first, again = send(web, acme, **key), send(web, acme, idempotency_key="invoice-4711")
    other = send(web, acme, PDF + b"another", **key)

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["message_id"] == again.json()["message_id"]
    assert len(stored(folder)) == Upload.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        (PDF, {"recipient_phone": "+15550199999"}, (422, "WINDOW_CLOSED", "media")),
        (PDF, {"recipient_phone": "0155"}, (422, "INVALID_PHONE", "recipient_phone")),
        (PDF, {"text": "Hello"}, (400, "INVALID_INPUT", "media")),
        (PDF, {"colour": "red"}, (400, "INVALID_INPUT", "colour")),
        (PDF, {"kind": "image"}, (422, "MEDIA_KIND", "media.id")),
        (PDF, {"kind": "film"}, (400, "INVALID_INPUT", "media.kind")),
        (PDF, {"workspace_id": "x"}, (400, "INVALID_INPUT", "workspace_id")),
        (PDF, {"name": "a.png"}, (422, "TYPE_MISMATCH", "file")),
        (b"", {}, (422, "EMPTY_FILE", "file")),
        (SAMPLES["audio/aac"], {"name": "a.aac", "caption": "A"}, None),
    ],
)
def test_what_is_refused_leaves_no_file(
    web: Web,
    acme: Cast,
    folder: Path,
    content: bytes,
    more: dict[str, str],
    expected: tuple[int, str, str] | None,
) -> None:
    answer = send(web, acme, content, **more)

    assert refused(answer) == (expected or (422, "INVALID_INPUT", "media.caption"))
    assert stored(folder) == []
    assert not Upload.objects.exists()


def test_a_file_that_was_kept_before_outlives_a_refusal(web: Web, acme: Cast, folder: Path) -> None:
    send(web, acme)

    assert send(web, acme, kind="image").status_code == 422
    assert len(stored(folder)) == Upload.objects.count() == 1


def test_another_tenants_conversation_does_not_exist(
    web: Web, acme: Cast, globex: Cast, folder: Path
) -> None:
    assert refused(send(web, globex, PNG, name="a.png")) == (
        422,
        "CONVERSATION_NOT_FOUND",
        "conversation_id",
    )
    assert stored(folder) == []


def test_json_is_taken_as_before(web: Web, acme: Cast, conversation: Conversation) -> None:
    wanted = {
        "workspace_id": str(acme.workspace.id),
        "conversation_id": str(conversation.id),
        "text": "Hello",
    }
    headers = {"Authorization": f"Bearer {acme.api_key}"}

    assert web.client.post("/api/v1/messages", headers=headers, json=wanted).status_code == 201
