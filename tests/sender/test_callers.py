"""Who may call, and what a key is good for."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from django.utils import timezone

from messaging.models import Message
from tests.conftest import Cast
from tests.sender.conftest import PHONE, WANTED, Served, key_for, queued
from workspaces.access import Scope
from workspaces.models import ApiKey, Tenant

NOW = {"Prefer": "respond-async"}


def code_in(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


def test_it_takes_the_key_wherever_people_put_it(
    acme: Cast, heard: Message, sender: Served
) -> None:
    key = key_for(acme)
    places = [
        ("Authorization", f"Bearer {key}"),
        ("Authorization", f"bearer  {key}"),
        ("Authorization", key),
        ("X-API-Key", key),
    ]
    answers = [
        sender.client.post("/send", json=WANTED, headers={name: value, **NOW})
        for name, value in places
    ]

    assert [one.status_code for one in answers] == [202] * 4
    assert set(Message.objects.filter(pk__in=queued()).values_list("workspace_id", flat=True)) == {
        acme.workspace.id
    }


def test_every_bad_key_gets_the_same_answer(acme: Cast, heard: Message, sender: Served) -> None:
    gone, late = key_for(acme), key_for(acme, expires_at=timezone.now() - timedelta(seconds=1))
    ApiKey.objects.filter(prefix=gone[:10]).update(revoked_at=timezone.now())
    answers = [sender.send(one, **NOW) for one in (gone, late, "sigma_" + "x" * 43, "no key")]

    assert {(*code_in(one), one.text) for one in answers} == {
        (401, "UNAUTHENTICATED", answers[0].text)
    }
    assert {one.headers["www-authenticate"] for one in answers} == {"Bearer"}
    assert not queued()


def test_it_wants_a_key(acme: Cast, sender: Served) -> None:
    paths = [("POST", "/send"), ("GET", "/status"), ("GET", f"/messages/{acme.workspace.id}")]
    answers = [sender.client.request(*one) for one in paths]

    assert {code_in(one) for one in answers} == {(401, "UNAUTHENTICATED")}
    assert all("X-API-Key" in one.json()["error"]["message"] for one in answers)


def test_a_revoked_key_ends_at_once(acme: Cast, heard: Message, sender: Served) -> None:
    key = key_for(acme)
    assert sender.send(key, **NOW).status_code == 202
    ApiKey.objects.filter(prefix=key[:10]).update(revoked_at=timezone.now())

    assert sender.send(key, **NOW).status_code == 401


def test_a_suspended_tenant_sends_nothing(acme: Cast, heard: Message, sender: Served) -> None:
    Tenant.objects.filter(pk=acme.tenant.pk).update(status="SUSPENDED")

    assert sender.send(key_for(acme), **NOW).status_code == 401


def test_a_key_for_everything_is_not_for_this(acme: Cast, sender: Served) -> None:
    answer = sender.send(acme.api_key)

    assert code_in(answer) == (403, "FORBIDDEN")
    assert "--workspace" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        ([Scope.MESSAGES_SEND], [202, 200]),
        ([Scope.MESSAGES_READ], [403, 200]),
        ([Scope.NUMBERS_READ, Scope.SENDER_MANAGE], [403, 403]),
    ],
)
def test_a_key_does_what_it_may(
    acme: Cast, heard: Message, sender: Served, scopes: list[Scope], statuses: list[int]
) -> None:
    key = key_for(acme, *scopes)
    answers = [sender.send(key, **NOW), sender.get("/status", key)]

    assert [one.status_code for one in answers] == statuses


def test_a_key_sends_from_its_own_workspace_only(
    acme: Cast, globex: Cast, heard: Message, sender: Served
) -> None:
    """The person wrote to acme, so globex's window is closed."""
    assert code_in(sender.send(key_for(globex))) == (422, "WINDOW_CLOSED")
    assert sender.send(key_for(acme), **NOW).status_code == 202
    assert Message.objects.get(source="API").tenant_id == acme.tenant.id


def test_it_has_four_routes(acme: Cast, sender: Served) -> None:
    absent = [("GET", "/"), ("GET", "/messages"), ("POST", "/send/x"), ("GET", "/admin/")]
    wrong = [("GET", "/send"), ("POST", "/health"), ("PUT", "/status"), ("DELETE", "/messages/1")]
    answers = [sender.client.request(*one) for one in (*absent, *wrong)]

    assert {code_in(one) for one in answers[:4]} == {(404, "NOT_FOUND")}
    assert {code_in(one) for one in answers[4:]} == {(405, "METHOD_NOT_ALLOWED")}
    allowed = [one.headers.get("allow", "") for one in answers]
    assert allowed == [""] * 4 + ["POST, OPTIONS"] + ["GET, HEAD, OPTIONS"] * 3


def test_a_monitor_may_ask_for_the_head_alone(acme: Cast, sender: Served) -> None:
    answer = sender.client.head("/health")

    assert (answer.status_code, answer.content) == (200, b"")


def test_no_answer_is_cached_or_guessed_at(acme: Cast, sender: Served) -> None:
    answer = sender.get("/health", key_for(acme))

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_no_number_is_in_the_log(
    acme: Cast, heard: Message, sender: Served, caplog: pytest.LogCaptureFixture
) -> None:
    sender.send(key_for(acme), **NOW)
    sender.send(key_for(acme), {"phone": PHONE, "message": ""})

    assert PHONE[1:] not in caplog.text
