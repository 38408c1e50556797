"""Each JSON door refuses in its own shape whatever comes, and takes bodies in chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from uuid import uuid4

import httpx
import pytest

from tests.conftest import Cast
from tests.whatsapp.conftest import Web

pytestmark = pytest.mark.django_db(transaction=True)

SOME_ID = uuid4()
PATHS = {
    "graphql": "/graphql",
    "rest": "/api/v1/messages",
    "media": f"/media/{SOME_ID}",
}
DOCUMENT = json.dumps({"query": "{ __typename }"}).encode()


def error_of(door: str, answer: httpx.Response) -> dict:
    """Return a refusal as each door writes it: code and message."""
    assert answer.headers["content-type"] == "application/json", answer.text
    document = answer.json()
    if door == "graphql":
        (error,) = document["errors"]
        return {"code": error["extensions"]["code"], "message": error["message"]}
    return document["error"]


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield a body in two chunks: its length is not announced."""
    yield body[:5]
    yield body[5:]


STRANGE = {
    "a path that is not there": ("GET", "{path}/x/y", {}, b""),
    "a method that is not there": ("PATCH", "{path}", {}, b""),
    "another method": ("TRACE", "{path}", {}, b""),
    "a format that is not there": ("POST", "{path}?format=x", {}, b"{}"),
    "a query that is no text": ("POST", "{path}?a=%ff%00&format=%ff", {}, b"{}"),
    "another form of answer": ("POST", "{path}", {"Accept": "application/xml"}, b"{}"),
    "an Accept without sense": ("POST", "{path}", {"Accept": ";;,q=x/"}, b"{}"),
    "a host that is not ours": ("POST", "{path}", {"Host": "evil.example"}, b"{}"),
    "a body that is too large": ("POST", "{path}", {}, b" " * 300_000),
    "one that nobody takes": ("POST", "{path}", {}, b" " * 3_300_000),
    "an encoded body": ("POST", "{path}", {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08"),
    "bytes that are no text": ("POST", "{path}", {}, b'{"query": "\xff\xfe"}'),
    "half a character": ("POST", "{path}", {}, b'{"query": "\\ud800"}'),
    "another encoding": ("POST", "{path}", {}, '{"query": "{ a }"}'.encode("utf-16")),
    "brackets without end": ("POST", "{path}", {}, b"[" * 100_000),
    "a number without end": ("POST", "{path}", {}, b'{"query": 1e999999999}'),
    "no JSON": ("POST", "{path}", {}, b"{"),
    "a form": ("POST", "{path}", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b"),
    "a broken form": ("POST", "{path}", {"Content-Type": "multipart/form-data"}, b"a=b"),
} | {
    f"charset {charset}": (
        "POST",
        "{path}?a=b",
        {"Content-Type": f"application/json; charset={charset}"},
        b"{}",
    )
    for charset in ("base64", "zlib", "undefined", "idna", "utf-16", "nonsense", '"', "")
}


@pytest.mark.parametrize("what", STRANGE)
def test_it_refuses_what_is_strange_in_the_shape_of_its_door(
    acme: Cast, one_web: Web, what: str
) -> None:
    method, path, headers, body = STRANGE[what]
    key = {"Authorization": f"Bearer {acme.api_key}"}
    for door, known in product(PATHS, ({}, key)):
        answer = one_web.client.request(
            method,
            path.format(path=PATHS[door]),
            content=body,
            headers={"Content-Type": "application/json", **known, **headers},
        )
        assert 400 <= answer.status_code < 500, (door, known)
        assert set(error_of(door, answer)) >= {"code", "message"}


@pytest.fixture
def one_web(acme: Cast, request: pytest.FixtureRequest) -> Web:
    """The web process, started when the tenant is there."""
    return request.getfixturevalue("web")


@pytest.mark.parametrize("door", ["graphql", "rest"])
def test_it_takes_a_body_whose_length_is_not_announced(
    acme: Cast, globex: Cast, one_web: Web, door: str
) -> None:
    documents = {
        "graphql": DOCUMENT,
        "rest": json.dumps({"workspace_id": str(globex.workspace.id), "text": "Hello"}).encode(),
    }
    answer = one_web.client.post(
        PATHS[door],
        content=pieces(documents[door]),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {acme.api_key}"},
    )
    if door == "graphql":
        assert answer.json() == {"data": {"__typename": "Query"}}
    else:  # read, and refused for what it says
        assert answer.json()["error"]["field"] == "workspace_id"


@pytest.mark.parametrize(("door", "size"), [("graphql", 300_000), ("rest", 300_000)])
def test_it_bounds_a_body_whose_length_is_not_announced(
    acme: Cast, one_web: Web, door: str, size: int
) -> None:
    answer = one_web.client.post(
        PATHS[door],
        content=pieces(b" " * size),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {acme.api_key}"},
    )
    assert answer.status_code == 413
    assert error_of(door, answer)["code"] == "BAD_REQUEST"


@pytest.mark.parametrize("door", PATHS)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_it_knows_every_ordinary_method(one_web: Web, acme: Cast, door: str, method: str) -> None:
    answer = one_web.client.request(
        method, PATHS[door], headers={"Authorization": f"Bearer {acme.api_key}"}
    )
    assert answer.status_code in (200, 405)
    assert answer.headers["content-type"] == "application/json" or not answer.content


def test_it_says_in_the_shape_of_its_door_that_it_broke(
    one_web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    for module in ("messaging.views", "sigma.graphql.view"):
        monkeypatch.setattr(f"{module}.actor_of", breaks)
    for door in ("media", "graphql"):
        method = "GET" if door == "media" else "POST"
        answer = one_web.client.request(method, PATHS[door], json={})
        assert answer.status_code == 500
        assert error_of(door, answer)["code"] == "INTERNAL"
        assert "a bug" not in answer.text


def test_it_leaves_pages_to_people(one_web: Web) -> None:
    assert "text/html" in one_web.client.get("/nowhere").headers["content-type"]
