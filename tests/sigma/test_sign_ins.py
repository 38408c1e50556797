"""Strangers who sign in at once hold none of the threads that serve everybody else."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import httpx
import pytest

from sigma.threads import (
    HASHES_PER_ADDRESS,
    HASHES_WAITING,
    HASHING_NICENESS,
    HASHING_THREADS,
)
from tests.conftest import Cast
from tests.sigma import hashing
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def strangers(settings: object) -> Iterator[ThreadPoolExecutor]:
    """People whose passwords are hashed for as long as the test lasts."""
    settings.PASSWORD_HASHERS = ["tests.sigma.hashing.WaitingHasher"]  # type: ignore[attr-defined]
    hashing.let_go.clear()
    with ThreadPoolExecutor(HASHES_WAITING + 1) as crowd:
        yield crowd
        hashing.let_go.set()


def sign_in(web: Web, number: int, address: str = "127.0.0.1") -> httpx.Response:
    headers = {"X-Forwarded-For": f"198.51.100.{number}, {address}"}
    where = f"http://127.0.0.1:{web.port}"
    with httpx.Client(base_url=where, timeout=120, headers=headers) as browser:
        browser.get("/admin/login/")
        token = browser.cookies["csrftoken"]
        form = {"username": f"nobody-{number}", "password": "wrong", "csrfmiddlewaretoken": token}
        return browser.post("/admin/login/", data=form)


def test_it_answers_the_api_while_strangers_sign_in(
    web: Web, acme: Cast, strangers: ThreadPoolExecutor
) -> None:
    waiting = [strangers.submit(sign_in, web, number) for number in range(16)]
    for _ in range(HASHING_THREADS):
        assert hashing.begun.acquire(timeout=120)

    for _ in range(3):
        answer = web.client.post(
            "/graphql",
            json={"query": "{ __typename }"},
            headers={"Authorization": f"Bearer {acme.api_key}"},
        )
        assert answer.json() == {"data": {"__typename": "Query"}}
    assert not any(one.done() for one in waiting)
    hashing.let_go.set()
    assert {one.result().status_code for one in waiting} == {200}


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_it_hashes_when_nobody_else_needs_the_processor(
    web: Web, strangers: ThreadPoolExecutor
) -> None:
    hashing.let_go.set()
    hashing.niceness.clear()
    assert sign_in(web, 1).status_code == 200
    assert set(hashing.niceness) == {HASHING_NICENESS}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < HASHING_NICENESS


def test_it_signs_in_where_threads_may_not_step_back(
    web: Web, strangers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    hashing.let_go.set()
    assert sign_in(web, 1).status_code == 200


def test_it_lets_no_more_wait_than_it_has_room_for(web: Web, strangers: ThreadPoolExecutor) -> None:
    crowd = [strangers.submit(sign_in, web, number) for number in range(HASHES_WAITING + 1)]
    refused = next(as_completed(crowd, timeout=120)).result()

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    hashing.let_go.set()


def test_it_lets_nobody_take_the_places_of_others(
    web: Web, strangers: ThreadPoolExecutor, settings: Any
) -> None:
    settings.SIGMA_PROXIES = 1
    crowd = [
        strangers.submit(sign_in, web, number, "203.0.113.5")
        for number in range(HASHES_PER_ADDRESS + 1)
    ]
    assert next(as_completed(crowd, timeout=120)).result().status_code == 429

    other = strangers.submit(sign_in, web, 99, "203.0.113.6")
    hashing.let_go.set()

    assert other.result().status_code == 200
    assert sorted(one.result().status_code for one in crowd) == [200] * HASHES_PER_ADDRESS + [429]
