"""``POST /send``: what is accepted, what it waits for, and how every outcome is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from connectors.sender.outcomes import DeliveryStatus, failure_of
from messaging.models import Message
from tests.conftest import Cast
from tests.sender.conftest import PHONE, TEXT, WANTED, Served, key_for, queued, settle
from tests.sending.conftest import hear, wire_of
from workspaces.models import Workspace

WaitFor = Callable[..., None]


def error_in(answer: httpx.Response) -> dict:
    """Return the error of an answer that has the one shape of errors."""
    body = answer.json()
    assert body["success"] is False
    assert set(body["error"]) == {"code", "message", "retryable"}
    return body["error"]


@pytest.mark.parametrize("status", ["accepted", "held", "delivered"])
def test_it_answers_once_the_platform_took_the_message(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor, status: str
) -> None:
    asked = sender.begin(key_for(acme))
    wait_for(queued)
    message = Message.objects.get(source="API")
    assert wire_of(message.id)["text"]["body"] == TEXT
    settle(status)
    answer = asked.result()

    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "message_id": str(message.id)},
    )
    assert "idempotency-replayed" not in answer.headers


def test_it_says_that_the_platform_refused_without_a_number(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor
) -> None:
    asked = sender.begin(key_for(acme))
    wait_for(queued)
    error = {"code": 131026, "title": "It cannot be delivered.", "details": f"Not {PHONE}"}
    settle("failed", errors=[error])
    answer = asked.result()

    assert answer.status_code == 502
    assert error_in(answer) == {
        "code": "NOT_ON_WHATSAPP",
        "message": "It cannot be delivered. Not ••• (code 131026)",
        "retryable": False,
    }
    assert UUID(answer.json()["message_id"])


def test_it_leaves_out_what_is_sealed_for_the_number_in_it() -> None:
    error = {"code": 131026, "title": "It cannot be delivered.", "details": "[sealed:0]"}
    refused = failure_of(DeliveryStatus("failed", {"errors": [error]}), uuid4())
    assert refused is not None
    assert refused.message == "It cannot be delivered. (code 131026)"


@pytest.mark.parametrize(
    ("status", "errors", "expected"),
    [
        ("failed", [{"code": 131000, "title": "Meta could not."}], (502, "REJECTED")),
        ("failed", [{"code": 131047, "title": "Send a template."}], (502, "WINDOW_CLOSED")),
        ("failed", [{"code": "EXPIRED", "title": "It expired."}], (502, "EXPIRED")),
        ("failed", [], (502, "REJECTED")),
        ("unknown", None, (504, "OUTCOME_UNKNOWN")),
        ("cancelled", None, (409, "CANCELLED")),
    ],
)
def test_it_tells_each_bad_outcome_apart(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor, status: str, errors, expected
) -> None:
    asked = sender.begin(key_for(acme))
    wait_for(queued)
    settle(status, **({} if errors is None else {"errors": errors}))
    answer = asked.result()

    assert (answer.status_code, error_in(answer)["code"]) == expected
    assert error_in(answer)["retryable"] is False
    assert answer.json()["message_id"] == str(Message.objects.get(source="API").id)


@pytest.mark.parametrize(
    ("headers", "applied"), [({"Prefer": "respond-async"}, 5), ({"Prefer": "wait=0"}, 5), ({}, 0)]
)
def test_it_does_not_wait_when_it_need_not(
    acme: Cast, heard: Message, sender: Served, settings, headers: dict[str, str], applied: int
) -> None:
    settings.SIGMA_SENDER_WAIT_SECONDS = applied
    answer = sender.send(key_for(acme), **headers)
    (message_id,) = queued()

    assert (answer.status_code, answer.json()) == (
        202,
        {"success": True, "message_id": str(message_id), "status": "queued"},
    )


def test_it_says_how_far_a_message_is_when_the_wait_is_over(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor, settings
) -> None:
    settings.SIGMA_SENDER_WAIT_SECONDS = 0.3
    asked = sender.begin(key_for(acme), Prefer="wait=9")
    wait_for(queued)
    Message.objects.filter(source="API").update(status="sending")
    answer = asked.result()

    assert (answer.status_code, answer.json()["status"]) == (202, "sending")


def test_many_wait_at_once(acme: Cast, heard: Message, sender: Served, wait_for: WaitFor) -> None:
    key = key_for(acme)
    asked = [sender.begin(key) for _ in range(12)]
    wait_for(lambda: len(queued()) == 12)
    assert not any(one.done() for one in asked)
    settle("accepted")

    assert [one.result().status_code for one in asked] == [200] * 12


def test_it_repeats_its_answer_under_the_same_key(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor
) -> None:
    key = key_for(acme)
    both = [sender.begin(key, **{"Idempotency-Key": "order-7"}) for _ in range(2)]
    wait_for(queued)
    settle("accepted")
    answers = [one.result() for one in both]
    late = sender.send(
        key, {**WANTED, "phone": "+27 71 155 8396"}, **{"Idempotency-Key": "order-7"}
    )

    assert [one.status_code for one in (*answers, late)] == [200] * 3
    assert answers[0].json() == answers[1].json() == late.json()
    assert sorted(one.headers.get("idempotency-replayed", "") for one in answers) == ["", "true"]
    assert Message.objects.filter(source="API").count() == 1


def test_it_repeats_a_failure_too(acme: Cast, heard: Message, sender: Served) -> None:
    key, headers = key_for(acme), {"Idempotency-Key": "k", "Prefer": "respond-async"}
    assert sender.send(key, **headers).status_code == 202
    settle("failed", errors=[{"code": 131026, "title": "No."}])

    assert sender.send(key, **headers).status_code == 502


def test_a_key_is_for_one_request(acme: Cast, heard: Message, sender: Served) -> None:
    key, headers = key_for(acme), {"Idempotency-Key": "k", "Prefer": "respond-async"}
    sender.send(key, **headers)
    answer = sender.send(key, {**WANTED, "message": "Another"}, **headers)

    assert (answer.status_code, error_in(answer)["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert len(queued()) == 1


def test_keys_of_two_tenants_are_not_the_same(
    acme: Cast, globex: Cast, heard: Message, sender: Served, now
) -> None:
    hear(globex, now, phone=PHONE.removeprefix("+"))
    headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
    answers = [sender.send(key_for(cast), **headers) for cast in (acme, globex)]

    assert [one.status_code for one in answers] == [202, 202]
    assert len({one.json()["message_id"] for one in answers}) == 2


def test_nothing_is_lost_when_the_caller_hangs_up(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor
) -> None:
    key = key_for(acme)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{sender.url}/send",
            json=WANTED,
            timeout=0.3,
            headers={"X-API-Key": key, "Idempotency-Key": "k"},
        )
    (message_id,) = queued()
    settle("accepted")

    again = sender.send(key, **{"Idempotency-Key": "k"})
    assert again.json() == {"success": True, "message_id": str(message_id)}


def test_it_names_the_way_out_of_a_closed_window(acme: Cast, sender: Served) -> None:
    answer = sender.send(key_for(acme))
    error = error_in(answer)

    assert (answer.status_code, error["code"], error["retryable"]) == (422, "WINDOW_CLOSED", False)
    assert "sendWhatsAppMessage" in error["message"]
    assert "/api/v1/messages" in error["message"]
    assert not queued()


BAD_BODIES = [
    ({"phone": "0711558396", "message": "Hi"}, "INVALID_PHONE", "phone: "),
    ({"phone": "27711558396", "message": "Hi"}, "INVALID_PHONE", "country code"),
    ({"phone": PHONE, "message": " "}, "INVALID_INPUT", "message: This must not be blank"),
    ({"phone": PHONE, "message": "x" * 4097}, "INVALID_INPUT", "4096"),
    ({"phone": PHONE, "message": "a\0b"}, "INVALID_INPUT", "NUL"),
    ({"phone": PHONE, "message": 7}, "INVALID_INPUT", "message: This must be a text in quotes"),
    ({"phone": PHONE}, "INVALID_INPUT", "message: This is missing"),
    ({**WANTED, "to": "me"}, "INVALID_INPUT", "'to'"),
    ([WANTED], "BAD_REQUEST", "JSON object"),
]
NO_JSON = [
    b"",
    b"{",
    b'{"phone": "\xff"}',
    b'{"phone": "\\ud800"}',
    b"[" * 50_000,
    b'{"phone": NaN}',
]


def test_it_says_what_is_wrong_with_a_body(acme: Cast, sender: Served) -> None:
    key = key_for(acme)
    for body, code, words in BAD_BODIES:
        answer = sender.send(key, body)

        assert (answer.status_code, error_in(answer)["code"]) == (400, code)
        assert words in error_in(answer)["message"]
        assert "711558396" not in answer.text


def test_it_refuses_what_is_no_json(acme: Cast, sender: Served) -> None:
    headers = {"X-API-Key": key_for(acme)}
    answers = [sender.client.post("/send", content=one, headers=headers) for one in NO_JSON]
    large = sender.client.post("/send", content=b" " * 64_001, headers=headers)

    assert [one.status_code for one in (*answers, large)] == [400] * len(NO_JSON) + [413]
    assert {error_in(one)["code"] for one in (*answers, large)} == {"BAD_REQUEST"}


def test_it_refuses_keys_and_encodings_that_it_cannot_take(acme: Cast, sender: Served) -> None:
    key = key_for(acme)
    long = sender.send(key, **{"Idempotency-Key": "k" * 129})
    encoded = sender.send(key, **{"Content-Encoding": "gzip"})

    assert (long.status_code, encoded.status_code) == (400, 415)
    assert error_in(long)["message"].startswith("Idempotency-Key: ")


def test_an_inactive_workspace_sends_nothing(acme: Cast, heard: Message, sender: Served) -> None:
    Workspace.objects.update(is_active=False)
    answer = sender.send(key_for(acme))

    assert (answer.status_code, error_in(answer)["code"]) == (422, "WORKSPACE_INACTIVE")


def test_a_linked_device_that_is_not_connected_is_told_at_once(acme: Cast, sender: Served) -> None:
    Workspace.objects.filter(pk=acme.workspace.pk).update(transport="LINKED_DEVICE")
    answer = sender.send(key_for(acme))

    assert (answer.status_code, error_in(answer)["code"]) == (503, "NOT_CONNECTED")
    assert error_in(answer)["retryable"] is True
    assert int(answer.headers["retry-after"]) > 0


def test_a_message_is_shown_to_its_workspace_only(
    acme: Cast, globex: Cast, heard: Message, sender: Served, now
) -> None:
    key = key_for(acme)
    message_id = sender.send(key, Prefer="respond-async").json()["message_id"]
    other = Workspace.objects.create(tenant=acme.tenant, name="Other", external_id="55555")

    assert sender.get(f"/messages/{message_id}", key).json() == {
        "success": True,
        "message_id": message_id,
        "status": "queued",
        "queued_at": Message.objects.get(pk=message_id).delivery["queued_at"],
        "updated_at": Message.objects.get(pk=message_id).delivery["queued_at"],
        "error": None,
    }
    strangers = [key_for(globex), key_for(acme, workspace=other)]
    asked = [sender.get(f"/messages/{message_id}", one) for one in strangers]
    asked += [sender.get(f"/messages/{one}", key) for one in (uuid4(), "x", heard.id)]
    assert {(one.status_code, error_in(one)["code"]) for one in asked} == {
        (404, "MESSAGE_NOT_FOUND")
    }


def test_a_message_shows_how_it_ended(acme: Cast, heard: Message, sender: Served, now) -> None:
    key = key_for(acme)
    message_id = sender.send(key, Prefer="respond-async").json()["message_id"]
    later = (now + timedelta(seconds=9)).isoformat()
    settle("failed", failed_at=later, errors=[{"code": 131026, "title": "No."}])
    shown = sender.get(f"/messages/{message_id}", key).json()

    assert (shown["status"], shown["updated_at"]) == ("failed", later)
    assert shown["error"] == {
        "code": "NOT_ON_WHATSAPP",
        "message": "No. (code 131026)",
        "retryable": False,
    }
