from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import PERSON, Post, error

Graph = Callable[..., httpx.Response]
CONTENT = b"\x89PNG\r\n\r\n--not a boundary\r\n\x00"
DAY = 24 * 3600


@pytest.fixture
def upload(meta: RunningSimulator, graph: Graph) -> Callable[..., httpx.Response]:
    """Upload a file."""

    def do(content: bytes = CONTENT, mime_type: str = "image/png") -> httpx.Response:
        form = {"messaging_product": "whatsapp", "type": mime_type}
        files = {"file": ("a.png", content, mime_type)}
        return graph("POST", f"{meta.phone_number_id}/media", data=form, files=files)

    return do


def test_a_file_comes_back_as_it_was(
    meta: RunningSimulator, graph: Graph, upload: Callable[..., httpx.Response], http: httpx.Client
) -> None:
    media_id = upload().json()["id"]
    facts = graph("GET", media_id, params={"phone_number_id": meta.phone_number_id}).json()
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert (facts["sha256"], facts["file_size"], facts["mime_type"]) == (
        digest,
        len(CONTENT),
        "image/png",
    )
    assert http.get(facts["url"]).status_code == 401
    bearer = {"Authorization": f"Bearer {meta.token}"}
    assert http.get(facts["url"], headers=bearer).content == CONTENT


def test_an_address_lives_five_minutes(
    meta: RunningSimulator, graph: Graph, upload: Callable[..., httpx.Response], http: httpx.Client
) -> None:
    media_id, bearer = upload().json()["id"], {"Authorization": f"Bearer {meta.token}"}
    url = graph("GET", media_id).json()["url"]
    meta.control.advance(300)
    assert http.get(url, headers=bearer).status_code == 404
    assert http.get(graph("GET", media_id).json()["url"], headers=bearer).is_success


def test_a_file_lives_thirty_days(
    meta: RunningSimulator, graph: Graph, upload: Callable[..., httpx.Response]
) -> None:
    media_id = upload().json()["id"]
    meta.control.advance(30 * DAY - 60)
    assert graph("GET", media_id).is_success
    meta.control.advance(60)
    assert graph("GET", media_id).json()["error"]["error_subcode"] == 33


def test_a_deleted_file_is_gone(graph: Graph, upload: Callable[..., httpx.Response]) -> None:
    media_id = upload().json()["id"]
    assert graph("DELETE", media_id).json() == {"success": True}
    assert error(graph("GET", media_id))[:2] == (400, 100)


@pytest.mark.parametrize(
    ("content", "mime_type"), [(b"x", "image/tiff"), (b"x" * (5 * 1024 * 1024 + 1), "image/jpeg")]
)
def test_it_refuses_other_types_and_large_files(
    upload: Callable[..., httpx.Response], content: bytes, mime_type: str
) -> None:
    assert error(upload(content, mime_type))[:2] == (400, 131053)


def test_only_a_file_of_the_right_kind_is_sent(
    meta: RunningSimulator, post: Post, upload: Callable[..., httpx.Response]
) -> None:
    meta.control.open_window(PERSON)
    media = {"id": upload().json()["id"]}
    assert post(type="image", image=media).is_success
    assert error(post(type="video", video=media))[:2] == (400, 131053)


def test_what_people_send_can_be_fetched(
    meta: RunningSimulator, graph: Graph, http: httpx.Client
) -> None:
    meta.control.inbound(PERSON, kind="image")
    assert meta.control.state()["files"] == 1
    meta.control.inbound(PERSON, type="text", text={"body": "as Meta writes it"})
    with pytest.raises(Exception, match="Kinds: text, image"):
        meta.control.inbound(PERSON, kind="smell")
