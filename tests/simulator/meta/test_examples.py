"""Files that templates take their examples from: sessions that go on, and their handles."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import PERSON, Post, error, template

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 1000
Graph = Callable[..., httpx.Response]
ASKED = {"file_name": "a.png", "file_length": str(len(PNG)), "file_type": "image/png"}
BODY = {"type": "BODY", "text": "Have a look at this."}


@pytest.fixture
def session(meta: RunningSimulator, graph: Graph) -> str:
    return str(graph("POST", f"{meta.world.apps[0].id}/uploads", params=ASKED).json()["id"])


@pytest.fixture
def give(meta: RunningSimulator, http: httpx.Client, session: str) -> Callable[..., httpx.Response]:
    """Give bytes from a place on, as Meta wants it."""

    def take(content: bytes, offset: int = 0, name: str = session) -> httpx.Response:
        headers = {"Authorization": f"OAuth {meta.token}", "file_offset": str(offset)}
        return http.post(f"{meta.url}/{name}", headers=headers, content=content)

    return take


def create(
    graph: Graph, meta: RunningSimulator, *components: dict[str, Any], name: str = "look"
) -> httpx.Response:
    given = {"name": name, "language": "en", "category": "MARKETING"}
    path = f"{meta.waba_id}/message_templates"
    return graph("POST", path, json={**given, "components": [*components, BODY]})


def header(handle: str, format_: str = "IMAGE") -> dict[str, Any]:
    return {"type": "HEADER", "format": format_, "example": {"header_handle": [handle]}}


def test_a_whole_file_becomes_a_handle(graph: Graph, give: Any, session: str) -> None:
    assert "?sig=" in session
    assert graph("GET", session).json() == {"id": session, "file_offset": 0}

    assert give(PNG).json()["h"].startswith("4::")


def test_a_file_that_was_cut_off_goes_on_from_its_offset(
    meta: RunningSimulator, graph: Graph, give: Any, session: str
) -> None:
    url = urlsplit(meta.url)
    head = (
        f"POST {url.path}/{session} HTTP/1.1\r\nHost: {url.netloc}\r\nfile_offset: 0\r\n"
        f"Authorization: OAuth {meta.token}\r\nContent-Length: {len(PNG)}\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port)) as cut:
        cut.sendall(head.encode() + PNG[:400])
    for _ in range(200):
        if (offset := graph("GET", session).json()["file_offset"]) == 400:
            break

    assert offset == 400
    assert error(give(PNG, 0))[1] == 100
    assert "h" in give(PNG[400:], 400).json()


def test_a_rule_loses_the_second_half(
    meta: RunningSimulator, graph: Graph, give: Any, session: str
) -> None:
    meta.control.rule("half", edge="upload", count=1)

    with pytest.raises(httpx.HTTPError):
        give(PNG)

    assert graph("GET", session).json()["file_offset"] == len(PNG) // 2


@pytest.mark.parametrize(
    "given",
    [
        {"file_name": ""},
        {"file_length": ""},
        {"file_length": "0"},
        {"file_length": "much"},
        {"file_type": ""},
        {"file_type": "image/webp"},
    ],
)
def test_a_session_is_of_a_known_type_and_length(
    meta: RunningSimulator, graph: Graph, given: dict[str, str]
) -> None:
    path = f"{meta.world.apps[0].id}/uploads"

    assert error(graph("POST", path, params=ASKED | given))[:2] == (400, 100)


def test_bytes_have_to_be_what_was_said(give: Any) -> None:
    assert error(give(PNG + b"more"))[1] == 100
    assert error(give(b"<html>" + PNG[6:]))[1] == 100


def test_a_session_ends(meta: RunningSimulator, graph: Graph, session: str) -> None:
    assert graph("GET", session.partition("?")[0]).status_code == 400
    assert graph("GET", "upload:nothing?sig=1").status_code == 400
    meta.control.advance(25 * 3600)
    assert error(graph("GET", session))[1] == 100


def test_a_template_is_made_of_a_handle_only(
    meta: RunningSimulator, graph: Graph, give: Any
) -> None:
    handle = give(PNG).json()["h"]

    for other in ("https://a.example/a.png", "1037543291543636", handle[:-1]):
        refused = create(graph, meta, header(other)).json()["error"]
        assert (refused["code"], refused["error_subcode"]) == (100, 2388273)
    assert create(graph, meta, header(handle, "VIDEO")).status_code == 400
    assert create(graph, meta, {"type": "HEADER", "format": "IMAGE"}).status_code == 400

    made = create(graph, meta, header(handle)).json()
    (listed,) = graph("GET", made["id"]).json()["components"][0]["example"]["header_handle"]
    assert listed.startswith("https://") and "oe=" in listed


def test_each_card_needs_its_handle(meta: RunningSimulator, graph: Graph, give: Any) -> None:
    handle = give(PNG).json()["h"]
    cards = [{"components": [header(one), BODY]} for one in (handle, "4::no")]

    assert create(graph, meta, {"type": "CAROUSEL", "cards": cards}).status_code == 400
    cards[1] = cards[0]
    made = create(graph, meta, {"type": "CAROUSEL", "cards": cards})
    found = graph("GET", made.json()["id"]).json()["components"][0]["cards"][1]["components"][0]
    assert found["example"]["header_handle"][0].startswith("https://")


def test_the_journal_says_which_file_a_message_had(
    meta: RunningSimulator, graph: Graph, post: Post, give: Any
) -> None:
    assert create(graph, meta, header(give(PNG).json()["h"])).is_success
    meta.control.change("templates", "look", status="APPROVED")
    form = {"messaging_product": "whatsapp", "type": "image/png"}
    files = {"file": ("a.png", PNG, "image/png")}
    path = f"{meta.phone_number_id}/media"
    media_id = graph("POST", path, data=form, files=files).json()["id"]

    def send(part: dict[str, str]) -> httpx.Response:
        parameters = [{"type": "image", "image": part}]
        return post(template=template("look", [{"type": "header", "parameters": parameters}]))

    assert send({"id": media_id}).is_success
    assert send({"link": "https://a.example/a.png"}).is_success
    assert error(send({"id": "1234567"}))[1] == 100
    found = [entry["files"] for entry in meta.control.journal(to=PERSON)]
    assert found == [
        [f"image:{media_id}"],
        ["image:https://a.example/a.png"],
        ["image:1234567"],
    ]
