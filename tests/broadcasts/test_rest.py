"""Lists in and outcomes out, over HTTP."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import AsyncClient, Client

from messaging.models import Broadcast, BroadcastRecipient, Message
from messaging.sealed_values import NEEDS_RAW_READ, PURGED
from tests.broadcasts.conftest import deliver_all, draft, fill, people, phone, start, template
from tests.conftest import Cast
from tests.graphql.conftest import key_with
from tests.messaging.test_receipts import receive
from tests.messaging.test_sealed_values import purge
from tests.whatsapp.conftest import Web, web
from tests.whatsapp.deliveries import status
from workspaces.access import Scope
from workspaces.identity import digester

__all__ = ["web"]


def ask(caller: Cast | str, broadcast: Broadcast, what: str, **more: Any) -> HttpResponse:
    """Ask with a key, a cast's own unless given."""
    key = caller if isinstance(caller, str) else caller.api_key
    use = Client().post if more else Client().get
    path = f"/api/v1/broadcasts/{broadcast.id}/{what}"
    return use(path, headers={"Authorization": f"Bearer {key}"}, **more)


def upload(caller: Cast | str, broadcast: Broadcast, content: bytes, query: str = "") -> Any:
    return ask(
        caller,
        broadcast,
        f"recipients{query}",
        data=content,
        content_type="text/csv; charset=utf-8",
    )


def outcomes(caller: Cast | str, broadcast: Broadcast) -> list[dict[str, str]]:
    response = ask(caller, broadcast, "outcomes.csv")
    assert response["Content-Type"] == "text/csv"
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))


@pytest.fixture
def broadcast(acme: Cast) -> Broadcast:
    template(acme)
    return draft(acme)


def test_it_takes_a_list_and_replaces_it(acme: Cast, broadcast: Broadcast) -> None:
    for count in (3, 2):
        answer = upload(acme, broadcast, people(count) + people(1).split(b"\n")[1])

        assert answer.status_code == 200
        assert (answer.json()["added"], answer.json()["total"]) == (count, count)
        assert answer.json()["duplicates"] == [{"position": count + 2, "first": 2}]
    assert BroadcastRecipient.objects.count() == 2


def test_it_says_which_lines_cannot_be_taken(acme: Cast, broadcast: Broadcast) -> None:
    content = people(1) + b"082,r,x\n"

    refused = upload(acme, broadcast, content)

    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "INVALID_ROWS")
    assert refused.json()["report"]["problems"][0]["position"] == 3
    assert upload(acme, broadcast, content, "?skip_invalid=true").json()["problem_count"] == 1


def test_it_takes_a_form_of_any_size_without_writing_it_to_a_file(
    acme: Cast, broadcast: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("numbers were written to a file")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    content = b"phone,reference,1\n" + b"\n".join(
        f"{phone(n)},{'r' * 100},{'x' * 1_000}".encode() for n in range(3_000)
    )

    file = SimpleUploadedFile("list.csv", content, "text/csv")
    answer = ask(acme, broadcast, "recipients", data={"file": file})

    assert (len(content) > 3_200_000, answer.json()["added"]) == (True, 3_000)
    assert ask(acme, broadcast, "recipients", data={"x": "y"}).status_code == 422


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"state": "RUNNING"}, 409, "WRONG_STATE"),
        ({"tenant_id": "0198c0de-0000-7000-8000-000000000000"}, 404, "NOT_FOUND"),
    ],
)
def test_it_refuses_with_a_status_that_says_why(
    acme: Cast, broadcast: Broadcast, change: dict, status: int, code: str
) -> None:
    Broadcast.objects.update(**change)

    answer = upload(acme, broadcast, people(1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_it_needs_a_header_a_length_and_a_type(acme: Cast, broadcast: Broadcast, settings) -> None:
    assert upload(acme, broadcast, b"name\nx\n").json()["error"]["code"] == "UNUSABLE_LIST"
    json = ask(acme, broadcast, "recipients", data="{}", content_type="application/xml")
    assert json.status_code == 415
    assert "text/csv" in json.json()["error"]["message"]
    settings.SIGMA_BROADCAST_MAX_BYTES = 100
    assert upload(acme, broadcast, people(50)).status_code == 413


def test_it_needs_permission_and_the_right_tenant(
    acme: Cast, globex: Cast, broadcast: Broadcast
) -> None:
    read, write = (
        key_with(acme.tenant, s) for s in (Scope.BROADCASTS_READ, Scope.BROADCASTS_WRITE)
    )

    assert upload("wrong", broadcast, people(1)).status_code == 401
    assert upload(read, broadcast, people(1)).status_code == 403
    assert ask(write, broadcast, "outcomes.csv").status_code == 403
    assert upload(globex, broadcast, people(1)).status_code == 404
    assert ask(globex, broadcast, "outcomes.csv").status_code == 404


def test_it_tells_what_became_of_every_row(acme: Cast, broadcast: Broadcast, now: datetime) -> None:
    content = people(2) + f"{phone(9)},=cmd(),\nx".encode()[:-1]
    fill(broadcast, content.replace(b"ref-0", b"@SUM(A1)"))
    start(broadcast, now, skip_invalid=True)
    error = {"code": 131026, "message": "Message undeliverable"}
    Message.objects.filter(text__contains="Person 0").update(
        status="failed", delivery={"failed_at": "2026-03-01T12:00:00+00:00", "errors": [error]}
    )

    first, second, third = outcomes(acme, broadcast)

    assert (first["line"], first["reference"], first["phone"]) == ("2", "'@SUM(A1)", phone(0))
    assert (first["status"], first["error_code"]) == ("failed", "131026")
    assert first["failed_at"] == "2026-03-01T12:00:00+00:00"
    assert (second["state"], second["status"]) == ("QUEUED", "queued")
    assert second["message_id"] == str(Message.objects.get(status="queued").id)
    assert (third["state"], third["code"]) == ("REFUSED", "TEMPLATE_PARAMETERS")
    assert third["reference"] == "'=cmd()"


def test_it_masks_numbers_unless_the_key_may_read_originals(
    acme: Cast, broadcast: Broadcast
) -> None:
    fill(broadcast, people(1))

    (row,) = outcomes(key_with(acme.tenant, Scope.BROADCASTS_READ), broadcast)

    assert row["phone"] == "+99XXXXXXXXXX"


def test_it_says_what_went_wrong_to_those_who_may_see_the_number_in_it(
    acme: Cast, broadcast: Broadcast, now: datetime
) -> None:
    fill(broadcast, people(1))
    start(broadcast, now)
    deliver_all(broadcast)
    wamid = digester(acme.tenant.id).wamid("wamid.E")
    Message.objects.update(platform_message_id=wamid, status="sent", delivery={})
    said = "Not to +1 555-012-3456"
    error = {"code": 131026, "title": "No", "error_data": {"details": said}}
    receive(acme, status("wamid.E", "failed", errors=[error]))
    reader = key_with(acme.tenant, Scope.BROADCASTS_READ)

    (full,), (narrow,) = outcomes(acme, broadcast), outcomes(reader, broadcast)

    assert (full["error_code"], full["error"]) == ("131026", said)
    assert (narrow["error_code"], narrow["error"]) == ("131026", NEEDS_RAW_READ)
    purge(acme)
    assert outcomes(acme, broadcast)[0]["error"] == PURGED


def test_only_lists_may_be_large(web: Web) -> None:
    content = b"x" * 4_000_000

    large = [
        web.client.post(path, content=content).status_code
        for path in (f"/api/v1/broadcasts/{uuid4()}/recipients", "/api/v1/messages")
    ]

    assert large == [401, 413]


def test_it_streams_page_after_page(acme: Cast, broadcast: Broadcast) -> None:
    fill(broadcast, people(2_000))

    assert [row["line"] for row in outcomes(acme, broadcast)] == [str(n + 2) for n in range(2_000)]


def test_a_server_holds_one_page_of_it_at_a_time(acme: Cast, broadcast: Broadcast) -> None:
    fill(broadcast, people(1_500))

    async def sizes() -> list[int]:
        headers = {"Authorization": f"Bearer {acme.api_key}"}
        path = f"/api/v1/broadcasts/{broadcast.id}/outcomes.csv"
        return [
            len(page.splitlines()) async for page in await AsyncClient().get(path, headers=headers)
        ]

    assert async_to_sync(sizes)() == [1, 1_000, 500]


def add(caller: Cast | str, broadcast: Broadcast, body: object) -> tuple[int, dict[str, Any]]:
    content = json.dumps(body)
    answer = ask(caller, broadcast, "recipients", data=content, content_type="application/json")
    return answer.status_code, answer.json()


def test_people_are_added_as_json_with_values_of_their_own(
    acme: Cast, globex: Cast, broadcast: Broadcast, now: datetime
) -> None:
    values = {"positional": ["Ada"]}
    people_ = [{"phone": phone(n), "template_parameters": values} for n in range(2)]

    assert add(globex, broadcast, {"recipients": people_})[0] == 404
    status_, report = add(acme, broadcast, {"recipients": people_})
    assert (status_, report["added"], report["total"]) == (200, 2, 2)
    _, report = add(acme, broadcast, {"recipients": people_[1:]})
    assert (report["added"], report["duplicate_count"]) == (0, 1)

    start(broadcast, now)
    texts = Message.objects.filter(tenant_id=acme.tenant.id).values_list("text", flat=True)
    assert set(texts) == {"Hello Ada!"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "INVALID_INPUT"),
        ({"recipients": []}, "INVALID_INPUT"),
        ({"recipients": [{"phone": 27}]}, "INVALID_INPUT"),
        ({"recipients": [{"phone": "+27820001000", "colour": "red"}]}, "INVALID_INPUT"),
        ({"recipients": [{"phone": "+27820001000"}, {"phone": "12"}]}, "INVALID_ROWS"),
        ({"recipients": [{"phone": "+27820001000"}] * 1_001}, "INVALID_INPUT"),
    ],
)
def test_json_that_is_no_list_is_refused(
    acme: Cast, broadcast: Broadcast, body: object, code: str
) -> None:
    status_, answer = add(acme, broadcast, body)

    assert (status_, answer["error"]["code"]) == (422, code)
    assert not BroadcastRecipient.objects.exists()
    assert "27820001000" not in str(answer)
