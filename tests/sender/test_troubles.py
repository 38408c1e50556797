"""Too many at once, and engines that are away: nothing is sent twice, and everything is told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest
from django.db import OperationalError

from connectors.sender import accounts, messages, outcomes, service
from lib import rates, wakeups
from messaging.models import Message
from tests.conftest import Cast
from tests.sender.conftest import Served, key_for, queued, settle
from tests.sender.test_callers import code_in
from tests.whatsapp.conftest import hang_up

NOW = {"Prefer": "respond-async"}
WaitFor = Callable[..., None]


@pytest.fixture
def no_broker(settings) -> Iterator[None]:
    """The broker is away."""
    known = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    wakeups.broker.cache_clear()
    yield
    settings.REDIS_URL = known
    wakeups.broker.cache_clear()


def test_a_key_has_so_many_a_minute(
    acme: Cast, globex: Cast, heard: Message, sender: Served, settings
) -> None:
    settings.SIGMA_SENDER_RATE = 2
    key, other = key_for(acme), key_for(acme)
    answers = [sender.send(key, **NOW) for _ in range(3)]

    assert [one.status_code for one in answers] == [202, 202, 429]
    assert code_in(answers[2]) == (429, "RATE_LIMITED")
    assert answers[2].json()["error"]["retryable"] is True
    assert 25 < int(answers[2].headers["retry-after"]) <= 31
    assert sender.send(other, **NOW).status_code == 202
    assert code_in(sender.send(key_for(globex), **NOW)) == (422, "WINDOW_CLOSED")
    assert len(queued()) == 3


def test_calls_without_a_key_share_one_rate(
    acme: Cast, heard: Message, sender: Served, settings
) -> None:
    settings.SIGMA_SENDER_RATE = 1
    settings.SIGMA_SENDER_OPEN_WORKSPACE = acme.workspace.id
    body = {"phone": "+27711558396", "message": "Hi"}
    answers = [sender.client.post("/send", json=body, headers=NOW) for _ in range(2)]

    assert [one.status_code for one in answers] == [202, 429]


def test_what_cannot_be_read_costs_nothing(
    acme: Cast, heard: Message, sender: Served, settings
) -> None:
    settings.SIGMA_SENDER_RATE = 1
    key = key_for(acme)
    assert sender.send(key, {"phone": 1}).status_code == 400

    assert sender.send(key, **NOW).status_code == 202


def test_the_rate_comes_back_evenly() -> None:
    """A minute's worth at once, then one after the other."""
    for _ in range(6):
        rates.charge("test-of-the-rate", rate=6, message="No more")

    with pytest.raises(rates.RateExceeded, match="No more; try again in") as limited:
        rates.charge("test-of-the-rate", rate=6, message="No more")

    assert 5 < limited.value.seconds <= 11
    wakeups.broker().delete("sigma:test-of-the-rate")


def test_nothing_is_accepted_while_the_rate_cannot_be_counted(
    acme: Cast, heard: Message, sender: Served, no_broker: None
) -> None:
    answer = sender.send(key_for(acme), **NOW)

    assert code_in(answer) == (503, "UNAVAILABLE")
    assert answer.json()["error"]["retryable"] is True
    assert int(answer.headers["retry-after"]) > 0
    assert not queued()
    assert sender.get("/health").status_code == 200


def test_it_finds_the_database_again_and_the_outcome_with_it(
    acme: Cast, heard: Message, sender: Served, wait_for: WaitFor
) -> None:
    asked = sender.begin(key_for(acme))
    wait_for(queued)
    hang_up()
    settle("accepted")

    assert asked.result().status_code == 200
    assert sender.get("/status", key_for(acme)).status_code == 200


def test_it_says_that_the_database_is_away(
    acme: Cast, sender: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_for(acme)

    def away(*_: object, **__: object) -> None:
        raise OperationalError

    for place in (messages.queries, accounts):
        monkeypatch.setattr(place, "find" if place is messages.queries else "look", away)
    monkeypatch.setattr(accounts, "ask_database", away)
    health = [sender.get("/health"), sender.get("/health", key)]
    others = [sender.get("/status", key), sender.get(f"/messages/{UUID(int=1)}", key)]

    assert [one.status_code for one in (*health, *others)] == [503] * 4
    for one in health:
        assert one.json() == {
            "status": "unhealthy",
            "connected": False,
            "phone": None,
            "reason": "The database cannot be reached, or took too long; try again.",
        }
    assert {code_in(one) for one in others} == {(503, "UNAVAILABLE")}


def test_it_does_not_wait_for_bodies_that_do_not_come(
    acme: Cast, sender: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BODY_SECONDS", 0.05)
    url = httpx.URL(sender.url)
    head = f"POST /send HTTP/1.1\r\nHost: x\r\nX-API-Key: {key_for(acme)}\r\n"
    with socket.create_connection((url.host, url.port or 0), timeout=120) as caller:
        caller.sendall(f'{head}Content-Length: 70\r\n\r\n{{"phone"'.encode())
        answer = b"".join(iter(lambda: caller.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"retryable":true' in answer


def test_it_goes_on_when_too_many_wait(
    acme: Cast, heard: Message, sender: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "MOST_WAITING", 0)
    assert sender.send(key_for(acme)).status_code == 202
    monkeypatch.setattr(service, "MOST_CALLS", 0)
    refused = sender.send(key_for(acme))

    assert code_in(refused) == (503, "UNAVAILABLE")
    assert len(queued()) == 1


def test_it_hides_what_went_wrong_inside(
    acme: Cast, sender: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a secret detail")

    monkeypatch.setattr(accounts, "look", broken)
    answer = sender.get("/status", key_for(acme))

    assert code_in(answer) == (500, "INTERNAL")
    assert "secret" not in answer.text
    error_id = answer.json()["error"]["message"].rstrip(".").rsplit(" ", 1)[1]
    assert f"whatsapp sender request failed, error id {error_id}" in caplog.text
