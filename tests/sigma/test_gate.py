"""What one tenant asks of the API takes nothing from the others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.db import connection

from tests.conftest import Cast
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)

MESSAGES = "query($w: ID!) { messages(workspaceId: $w) { nodes { id } } }"


@pytest.fixture
def few(settings: Any) -> None:
    """Three requests a minute."""
    settings.SIGMA_API_RATE = 3


@pytest.fixture
def held(db: None) -> Iterator[Any]:
    """Hold the messages, so that who reads them waits."""
    with connection.get_new_connection(connection.get_connection_params()) as other:
        yield other


def ask(web: Web, cast: Cast, query: str = "{ __typename }", **variables: str) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{web.port}/graphql",
        timeout=30,
        json={"query": query, "variables": variables},
        headers={"Authorization": f"Bearer {cast.api_key}"},
    )


def test_it_slows_down_a_key_in_the_words_of_each_door(
    few: None, web: Web, acme: Cast, globex: Cast
) -> None:
    answers = [ask(web, acme) for _ in range(4)]
    rest = web.client.get("/api/v1/messages/x", headers={"X-API-Key": acme.api_key})

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["errors"][0]["extensions"] == {"code": "LIMIT_EXCEEDED"}
    assert (rest.status_code, rest.json()["error"]["code"]) == (429, "LIMIT_EXCEEDED")
    for refused in (answers[3], rest):
        assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert ask(web, globex).status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "", "Token"])
def test_it_counts_the_key_that_opens_the_door_and_nothing_beside_it(
    few: None, web: Web, acme: Cast, scheme: str
) -> None:
    """Who writes something new into the other header each time is slowed down all the same."""
    key = acme.api_key
    answers = []
    for number in range(4):
        beside = "" if scheme == "Bearer" else str(number)
        headers = {"Authorization": f"{scheme} {beside}".strip(), "X-API-Key": key}
        answers.append(web.client.get("/api/v1/messages/x", headers=headers).status_code)

    assert answers == [404, 404, 404, 429]


def test_it_answers_one_tenant_while_the_documents_of_another_hang(
    web: Web, acme: Cast, globex: Cast, held: Any
) -> None:
    ask(web, acme)  # whose key it is is known from now on
    held.execute("LOCK TABLE messages")
    with ThreadPoolExecutor(16) as crowd:
        workspace = str(acme.workspace.id)
        hanging = [crowd.submit(ask, web, acme, MESSAGES, w=workspace) for _ in range(16)]
        for _ in range(3):
            assert ask(web, globex, "{ tenant { slug } }").json() == {
                "data": {"tenant": {"slug": "globex"}}
            }
        assert not any(one.done() for one in hanging)
        held.rollback()
        assert {one.result().status_code for one in hanging} == {200}
