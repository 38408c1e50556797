"""Web pages: those of configured origins may call; the others learn nothing and change nothing."""

from __future__ import annotations

import httpx
import pytest

from messaging.models import Message
from tests.conftest import Cast
from tests.sender.conftest import WANTED, Served, key_for, queued

PAGE, EVIL = "https://app.example.com", "https://evil.example"


@pytest.fixture(autouse=True)
def _one_origin(settings) -> None:
    settings.SIGMA_SENDER_ORIGINS = [PAGE]


@pytest.fixture
def unlocked(acme: Cast, settings) -> Cast:
    """Acme's workspace may be used without a key."""
    settings.SIGMA_SENDER_OPEN_WORKSPACE = acme.workspace.id
    return acme


def post(sender: Served, **headers: str) -> httpx.Response:
    """Post a message without a key, as a page would."""
    given = {"Content-Type": "application/json", "Prefer": "respond-async", **headers}
    body = '{"phone": "+27711558396", "message": "Hi"}'
    return sender.client.post("/send", content=body, headers=given)


def test_a_page_of_ours_is_told_what_it_may_send(acme: Cast, sender: Served) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = sender.client.options("/send", headers=asks)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert "x-api-key" in answer.headers["access-control-allow-headers"]
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_page_of_ours_reads_answers_and_errors(
    acme: Cast, heard: Message, sender: Served
) -> None:
    key = key_for(acme)
    answers = [
        sender.send(key, WANTED, Origin=PAGE, Prefer="respond-async"),
        sender.send("wrong", Origin=PAGE),
    ]

    assert [one.status_code for one in answers] == [202, 401]
    assert {one.headers["access-control-allow-origin"] for one in answers} == {PAGE}
    assert "retry-after" in answers[0].headers["access-control-expose-headers"]


def test_a_page_of_somebody_else_is_told_nothing(acme: Cast, sender: Served) -> None:
    key, answers = key_for(acme), []
    for origin in (EVIL, "null", PAGE + ".evil.example", "http://app.example.com"):
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answers.append(sender.client.options("/send", headers=asks))
        answers.append(sender.get("/status", key, Origin=origin))

    assert [one.status_code for one in answers] == [204, 200] * 4
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_without_origins_no_page_is_let_in(acme: Cast, sender: Served, settings) -> None:
    settings.SIGMA_SENDER_ORIGINS = []
    answer = sender.client.options("/send", headers={"Origin": PAGE})

    assert "access-control-allow-origin" not in answer.headers
    assert "vary" not in answer.headers


def test_calls_without_a_key_send_where_that_is_wanted(
    unlocked: Cast, heard: Message, sender: Served
) -> None:
    answer = post(sender)
    (message_id,) = queued()

    assert (answer.status_code, answer.json()["message_id"]) == (202, str(message_id))
    assert Message.objects.get(pk=message_id).workspace_id == unlocked.workspace.id
    assert sender.get(f"/messages/{message_id}").json()["status"] == "queued"


ATTEMPTS = [
    ({"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded", "Referer": EVIL}, 415),
    ({"Origin": EVIL}, 403),
    ({"Origin": "null"}, 403),
    ({"Host": "evil.example"}, 400),
    ({"Host": "evil.example:8081", "Origin": "http://evil.example:8081"}, 400),
    ({"Authorization": "Bearer sigma_wrong"}, 401),
    ({"Authorization": "Basic dTpw"}, 401),
    ({"X-API-Key": "sigma_wrong"}, 401),
]


def test_no_page_can_make_a_browser_send_without_a_key(
    unlocked: Cast, heard: Message, sender: Served
) -> None:
    answers = [post(sender, **headers) for headers, _ in ATTEMPTS]

    assert [one.status_code for one in answers] == [status for _, status in ATTEMPTS]
    assert not queued()


def test_a_program_needs_no_content_type(unlocked: Cast, heard: Message, sender: Served) -> None:
    answer = post(sender, **{"Content-Type": "application/x-www-form-urlencoded"})  # curl -d

    assert (answer.status_code, len(queued())) == (202, 1)


def test_a_foreign_page_cannot_ask_without_a_key(unlocked: Cast, sender: Served) -> None:
    answers = [
        sender.get(path, **headers)
        for path in ("/health", "/status")
        for headers in ({"Host": "evil.example"}, {"Origin": EVIL})
    ]

    assert [one.status_code for one in answers] == [400, 403, 400, 403]


def test_hosts_that_nobody_named_are_not_ours(unlocked: Cast, sender: Served, settings) -> None:
    settings.ALLOWED_HOSTS = ["*", "sender.example"]
    answers = [sender.get("/status", Host=name) for name in ("evil.example", "sender.example")]

    assert [one.status_code for one in answers] == [400, 200]


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"])
def test_a_proxy_needs_a_key_unless_others_may_call(
    unlocked: Cast, sender: Served, settings, name: str
) -> None:
    first = sender.get("/status", **{name: "for=203.0.113.7"})
    settings.SIGMA_SENDER_OPEN_PUBLIC = True
    second = sender.get("/status", **{name: "for=203.0.113.7"})

    assert [first.status_code, second.status_code] == [403, 200]


def test_a_page_of_ours_sends_without_a_key(unlocked: Cast, heard: Message, sender: Served) -> None:
    assert post(sender, Origin=PAGE).status_code == 202


def test_keyed_calls_do_not_depend_on_host_or_type(
    unlocked: Cast, heard: Message, sender: Served
) -> None:
    key = key_for(unlocked)
    headers = {"Host": "sender.example", "Content-Type": "text/plain", "X-API-Key": key}

    assert post(sender, **headers).status_code == 202


def test_a_workspace_that_was_closed_since_is_closed(
    unlocked: Cast, heard: Message, sender: Served
) -> None:
    unlocked.workspace.is_active = False
    unlocked.workspace.save()

    assert post(sender).status_code == 401
