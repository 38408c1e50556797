"""What callers read of their files, and how they remove them, over REST and GraphQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from lib import clock
from messaging.models import Upload, UploadHandle
from tests.conftest import Cast
from tests.files.conftest import stored
from tests.files.kept import kept
from tests.files.samples import PDF, PNG
from tests.files.test_uploading import refused, upload
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)
QUERY = """query File($id: ID!) { fileToSend(mediaId: $id) {
  mediaId mimeType size filename state keptUntil
  numbers { workspaceId state bytesGiven nextAttemptAt expiresAt error { code message remedy } } } }
"""
DELETE = """mutation Delete($id: ID!) { deleteFileToSend(input: { mediaId: $id }) {
  success errors { code field message } } }"""


def ask(client: Client, cast: Cast, media_id: UUID, method: str = "get") -> Any:
    headers = {"Authorization": f"Bearer {cast.api_key}"}
    return getattr(client, method)(f"/api/v1/media/{media_id}", headers=headers)


def graphql(client: Client, cast: Cast, document: str, media_id: UUID) -> Any:
    headers = {"Authorization": f"Bearer {cast.api_key}"}
    body = {"query": document, "variables": {"id": str(media_id)}}
    answer = client.post("/graphql", body, content_type="application/json", headers=headers)
    assert "errors" not in answer.json()
    return answer.json()["data"]


def on_its_way(cast: Cast, media_id: UUID, **known: Any) -> UploadHandle:
    fields = {"upload_id": media_id, "workspace_id": cast.workspace.id, **known}
    return UploadHandle.objects.create(tenant_id=cast.tenant.id, **fields)


def test_it_says_what_is_kept(client: Client, acme: Cast, globex: Cast) -> None:
    media_id = kept(acme)

    found = ask(client, acme, media_id).json()
    assert (found["media_id"], found["mime_type"]) == (str(media_id), "application/pdf")
    assert (found["size"], found["filename"], found["state"]) == (len(PDF), "invoice.pdf", "READY")
    assert found["numbers"] == []
    shown = graphql(client, acme, QUERY, media_id)["fileToSend"]
    assert (shown["filename"], shown["size"]) == ("invoice.pdf", len(PDF))
    for cast, other in ((globex, media_id), (acme, uuid4())):
        assert ask(client, cast, other).status_code == 404
        assert graphql(client, cast, QUERY, other) == {"fileToSend": None}


SOON = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("known", "state", "given", "code", "words"),
    [
        ({"platform_media_id": "1", "expires_at": SOON}, "GIVEN", len(PDF), None, ""),
        ({"lease_until": SOON, "sent_bytes": 40}, "UPLOADING", 40, None, ""),
        ({"lease_until": -SOON, "sent_bytes": 40}, "WAITING", 0, None, ""),
        ({"platform_media_id": "1", "expires_at": -SOON}, "WAITING", 0, None, ""),
        (
            {"due_at": SOON, "error": "Meta cannot be reached."},
            "WAITING",
            0,
            None,
            "tried again by itself",
        ),
        (
            {"due_at": SOON, "error": "Not taken.", "error_code": 131053},
            "REFUSED",
            0,
            131053,
            "Send another file",
        ),
    ],
)
def test_it_says_how_far_a_file_is(
    client: Client,
    acme: Cast,
    known: dict[str, Any],
    state: str,
    given: int,
    code: int | None,
    words: str,
) -> None:
    media_id, now = kept(acme), clock.now()
    times = {name: now + one if isinstance(one, timedelta) else one for name, one in known.items()}
    on_its_way(acme, media_id, **times)

    (number,) = ask(client, acme, media_id).json()["numbers"]
    (shown,) = graphql(client, acme, QUERY, media_id)["fileToSend"]["numbers"]

    assert number["workspace_id"] == shown["workspaceId"] == str(acme.workspace.id)
    assert (number["state"], number["bytes_given"]) == (state, given)
    assert (shown["state"], shown["bytesGiven"]) == (state, given)
    assert bool(number["error"]) == bool(shown["error"]) == bool(words)
    if words:
        assert number["error"] == shown["error"]
        assert number["error"]["code"] == code
        assert words in number["error"]["remedy"]


def test_a_file_is_removed_by_whose_it_is(
    client: Client, acme: Cast, globex: Cast, folder: Any
) -> None:
    media_id = kept(acme)
    on_its_way(acme, media_id)

    assert ask(client, globex, media_id, "delete").status_code == 404
    assert ask(client, acme, media_id, "delete").status_code == 204
    assert ask(client, acme, media_id, "delete").status_code == 404
    assert (stored(folder), UploadHandle.objects.count()) == ([], 0)
    media_id = kept(acme)
    errors = graphql(client, globex, DELETE, media_id)["deleteFileToSend"]["errors"]
    assert errors[0]["code"] == "MEDIA_NOT_FOUND"
    assert graphql(client, acme, DELETE, media_id)["deleteFileToSend"]["success"]


def test_a_file_that_a_message_may_need_stays(client: Client, acme: Cast) -> None:
    media_id = kept(acme)
    Upload.objects.update(used_at=clock.now() + timedelta(hours=1))

    answer = ask(client, acme, media_id, "delete")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "MEDIA_IN_USE")
    assert "Cancel" not in answer.json()["error"]["message"]  # the file is kept even so
    assert not graphql(client, acme, DELETE, media_id)["deleteFileToSend"]["success"]


def test_a_tenant_keeps_no_more_than_its_share(
    web: Web, client: Client, acme: Cast, globex: Cast, settings: Any, folder: Any
) -> None:
    settings.SIGMA_FILES_QUOTA_BYTES = len(PDF) + 1
    media_id = upload(web, acme).json()["media_id"]

    answer = upload(web, acme, PNG, name="a.png")
    assert refused(answer) == (422, "QUOTA_EXCEEDED")
    assert "SIGMA_FILES_QUOTA_BYTES" in answer.json()["error"]["message"]
    assert len(stored(folder)) == Upload.objects.count() == 1
    assert upload(web, acme).json()["media_id"] == media_id
    assert upload(web, globex, PNG, name="a.png").status_code == 201
    assert ask(client, acme, UUID(media_id), "delete").status_code == 204
    assert upload(web, acme, PNG, name="a.png").status_code == 201
