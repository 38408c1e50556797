from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import PERSON, Post, Receiver, error

BUTTON = {"type": "reply", "reply": {"id": "a", "title": "Yes"}}
BODIES: dict[str, Any] = {
    "text": {"body": "Hello"},
    "image": {"link": "https://shop.example/a.png", "caption": "A"},
    "video": {"link": "https://shop.example/a.mp4"},
    "audio": {"link": "https://shop.example/a.ogg", "voice": True},
    "document": {"link": "https://shop.example/a.pdf", "filename": "a.pdf"},
    "sticker": {"link": "https://shop.example/a.webp"},
    "location": {"latitude": -33.9, "longitude": "18.4"},
    "contacts": [{"name": {"formatted_name": "Sam"}}],
    "reaction": {"message_id": "wamid.x", "emoji": ""},
    "interactive": {"type": "button", "body": {"text": "?"}, "action": {"buttons": [BUTTON]}},
}


@pytest.mark.parametrize("kind", BODIES)
def test_it_accepts_every_type(meta: RunningSimulator, post: Post, kind: str) -> None:
    meta.control.open_window(PERSON)
    answer = post(type=kind, **{kind: BODIES[kind]}, biz_opaque_callback_data="m-1")
    document = answer.json()
    wamid = document["messages"][0]["id"]
    assert document["contacts"] == [{"input": PERSON, "wa_id": PERSON[1:]}]
    assert re.fullmatch(
        rb"\x1c\x18\x0c447700900123\x15\x02\x00\x11\x18\x12[0-9A-F]{18}\x00",
        base64.b64decode(wamid.removeprefix("wamid.")),
    )
    (entry,) = meta.control.processed("m-1")
    assert (entry["outcome"], entry["type"], entry["wamid"]) == ("accepted", kind, wamid)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"messaging_product": "x"}, (400, 100)),
        ({"biz_opaque_callback_data": "x" * 513}, (400, 100)),
        ({"to": "not a number"}, (400, 131009)),
        ({"to": "+123"}, (400, 131009)),
        ({"type": "hologram", "hologram": {}}, (400, 131051)),
        ({"type": "text"}, (400, 131008)),
        ({"type": "text", "text": {"body": ""}}, (400, 131008)),
        ({"type": "text", "text": {"body": "x" * 4097}}, (400, 100)),
        ({"type": "image", "image": {}}, (400, 131008)),
        ({"type": "image", "image": {"id": "1"}}, (400, 100)),
        ({"type": "image", "image": {"link": "file:///etc/passwd"}}, (400, 100)),
        ({"type": "location", "location": {"latitude": "x"}}, (400, 131009)),
        ({"type": "interactive", "interactive": {"type": "x"}}, (400, 131009)),
        ({"to": "15550100123"}, (400, 131021)),
        ({"recipient_type": "group", "type": "location", "location": {}}, (400, 131051)),
    ],
)
def test_it_refuses_what_meta_refuses(
    post: Post, meta: RunningSimulator, more: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert error(post(**more))[:2] == expected
    assert meta.control.journal()[-1]["code"] == expected[1]


def test_an_error_has_the_shape_of_metas(post: Post) -> None:
    found = post(type="text").json()["error"]
    assert found.pop("fbtrace_id")
    assert found == {
        "message": "(#131008) Required parameter is missing",
        "type": "OAuthException",
        "code": 131008,
        "error_data": {
            "messaging_product": "whatsapp",
            "details": "The parameter text is required.",
        },
    }


@pytest.mark.parametrize(
    ("given", "wa_id"),
    [
        ("+55 31 9 9123-4567", "553191234567"),
        ("+5511991234567", "5511991234567"),
        ("+525512345678", "5215512345678"),
        ("+541123456789", "5491123456789"),
        ("+1 (234) 567-890", "1234567890"),
    ],
)
def test_it_spells_numbers_as_whatsapp_does(post: Post, given: str, wa_id: str) -> None:
    assert post(given).json()["contacts"] == [{"input": given, "wa_id": wa_id}]


def test_two_posts_are_two_messages(meta: RunningSimulator, post: Post) -> None:
    first, second = (post(biz_opaque_callback_data="same").json() for _ in range(2))
    assert first["messages"][0]["id"] != second["messages"][0]["id"]
    assert len(meta.control.processed("same")) == 2


def test_it_takes_user_ids_but_not_for_codes(post: Post) -> None:
    sent = post(None, recipient="US.13491208655302741918").json()
    assert sent["contacts"][0]["user_id"] == "US.13491208655302741918"
    code = {"name": "login_code", "language": {"code": "en"}, "components": []}
    refused = post(None, recipient="US.13491208655302741918", template=code)
    assert error(refused)[:2] == (400, 131062)
    assert error(post(None))[:2] == (400, 131008)


def test_a_user_id_in_the_wrong_field_is_accepted_and_lost(
    meta: RunningSimulator, post: Post
) -> None:
    assert post("US.13491208655302741918").status_code == 200
    assert meta.control.state()["scheduled"] == 0


def test_it_takes_a_group(post: Post) -> None:
    sent = post("Y2FwaV9ncm91cDox", recipient_type="group").json()
    assert sent["messages"][0]["group_id"] == "Y2FwaV9ncm91cDox"


def test_it_takes_read_marks_and_typing(
    meta: RunningSimulator, graph: Callable[..., httpx.Response]
) -> None:
    path = f"{meta.phone_number_id}/messages"
    wamid = meta.control.inbound(PERSON, "Hi")
    mark = {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
    assert graph("POST", path, json=mark).json() == {"success": True}
    assert graph("POST", path, json={**mark, "typing_indicator": {"type": "text"}}).is_success
    assert [entry["type"] for entry in meta.control.journal()] == ["read", "typing"]
    assert error(graph("POST", path, json={**mark, "message_id": "7"}))[:2] == (400, 131009)


def test_a_number_must_be_registered(meta: RunningSimulator, post: Post) -> None:
    meta.control.change("numbers", meta.phone_number_id, status="BANNED")
    assert error(post())[:2] == (400, 133010)


def test_a_test_number_has_its_list(meta: RunningSimulator, post: Post) -> None:
    meta.control.change("numbers", meta.phone_number_id, allowed_recipients=["447700900124"])
    assert error(post())[:2] == (400, 131030)
    assert post("+447700900124").is_success


@pytest.mark.parametrize("window", ["answer", "webhook", "off"])
def test_texts_need_an_open_window(
    meta: RunningSimulator, post: Post, wait_for: Callable[..., None], window: str
) -> None:
    meta.control.options(window=window)
    answer = post(type="text", text={"body": "Hi"})
    if window == "answer":
        assert error(answer)[:2] == (400, 131047)
        return
    updates = {"webhook": 1, "off": 3}[window]
    wait_for(lambda: meta.control.state()["updates"] == updates == len(meta.control.deliveries()))
    bodies = "".join(delivery["body"] for delivery in meta.control.deliveries())
    assert ('"code":131047' in bodies) is (window == "webhook")


def test_a_message_from_a_person_opens_the_window_for_a_day(
    meta: RunningSimulator, post: Post
) -> None:
    meta.control.options(window="answer")
    meta.control.inbound(PERSON, "Hello")
    assert post(type="text", text={"body": "Hi"}).is_success
    meta.control.advance(24 * 3600)
    assert error(post(type="text", text={"body": "Hi"}))[1] == 131047


def test_only_what_a_person_wrote_can_be_marked_as_read(meta: RunningSimulator, post: Post) -> None:
    read = {"to": None, "type": "text", "status": "read"}
    wamid = meta.control.inbound(PERSON, "Hi")

    assert post(**read, message_id=wamid).json() == {"success": True}
    assert error(post(**read, message_id="wamid.HBgLMTU1NTAxMDAxMjM="))[1] == 100


def test_a_callback_holds_one_update_unless_more_are_asked_for(
    meta: RunningSimulator, heard: Receiver, wait_for: Callable[..., None]
) -> None:
    for text in ("one", "two", "three"):
        meta.control.inbound(PERSON, text)

    wait_for(lambda: len(heard.items("messages")) == 3)
    assert len(heard.documents) == 3
