from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connectors.simulator.meta.callbacks import MetaUpdate, encode, envelope
from connectors.simulator.meta.server import RunningSimulator
from tests.simulator.meta.conftest import PERSON, VERIFY_TOKEN, Post, Receiver, error

Wait = Callable[..., None]
Graph = Callable[..., httpx.Response]


def test_it_escapes_as_meta_does() -> None:
    assert encode({"a": "Zoë 🙏 a/b"}) == b'{"a":"Zo\\u00eb \\ud83d\\ude4f a\\/b"}'


def test_updates_of_one_number_share_a_change() -> None:
    def status(waba: str, number: str, n: int) -> MetaUpdate:
        return MetaUpdate(waba, "messages", {"id": n}, "statuses", {"phone_number_id": number})

    entries: Any = envelope([status("1", "a", 1), status("2", "b", 2), status("1", "a", 3)])[
        "entry"
    ]
    assert [entry["id"] for entry in entries] == ["1", "2"]
    assert [s["id"] for s in entries[0]["changes"][0]["value"]["statuses"]] == [1, 3]


def test_it_batches_but_no_more_than_asked(
    meta: RunningSimulator, heard: Receiver, post: Post, wait_for: Wait
) -> None:
    meta.control.options(batch=2, is_paused=True, status_delays_ms=(0, 0, 0))
    post()
    wait_for(lambda: meta.control.state()["waiting"] == 3)
    meta.control.options(is_paused=False)
    wait_for(lambda: len(heard.items()) == 3)
    assert [len(delivery["updates"]) for delivery in meta.control.deliveries()] == [2, 1]


@pytest.mark.parametrize(
    ("option", "expected"),
    [("duplicates", ["sent", "sent", "delivered", "delivered", "read", "read"]), ("loss", [])],
)
def test_updates_come_twice_or_never(
    meta: RunningSimulator,
    heard: Receiver,
    post: Post,
    wait_for: Wait,
    option: str,
    expected: list[str],
) -> None:
    meta.control.options(**{option: 100}, batch=1)
    post()
    wait_for(lambda: meta.control.state()["scheduled"] == 0 and len(heard.steps()) == len(expected))
    assert sorted(heard.steps()) == sorted(expected)
    assert meta.control.state()["lost"] == (3 if option == "loss" else 0)


def test_later_updates_overtake(
    meta: RunningSimulator, heard: Receiver, post: Post, wait_for: Wait
) -> None:
    meta.control.options(disorder=30, batch=1)
    for _ in range(6):
        post(biz_opaque_callback_data="m")
    wait_for(lambda: len(heard.steps()) == 18)
    ranks = {"sent": 0, "delivered": 1, "read": 2}
    orders: dict[str, list[int]] = {}
    for item in heard.items():
        orders.setdefault(item["id"], []).append(ranks[item["status"]])
    assert any(order != [0, 1, 2] for order in orders.values())


def test_the_same_seed_loses_the_same(meta: RunningSimulator, post: Post, wait_for: Wait) -> None:
    def survivors() -> list[str]:
        meta.control.reset()
        meta.control.options(loss=50, seed=7, batch=1, status_delays_ms=(0, 15, 30))
        for _ in range(4):
            post()
        wait_for(lambda: meta.control.state()["scheduled"] == 0)
        wait_for(lambda: meta.control.state()["waiting"] == 0)
        return sorted(update for d in meta.control.deliveries() for update in d["updates"])

    assert survivors() == survivors()


def attempted(meta: RunningSimulator) -> int:
    """Return how often callbacks were sent."""
    return sum(delivery["attempts"] for delivery in meta.control.deliveries())


def test_it_sends_again_what_was_not_answered_with_200(
    meta: RunningSimulator, heard: Receiver, wait_for: Wait
) -> None:
    heard.statuses += [500, 204, 302]
    meta.control.inbound(PERSON, "Hello")
    for attempts in (1, 2, 3):
        wait_for(lambda n=attempts: attempted(meta) == n)
        meta.control.advance(4.0**attempts)
    wait_for(lambda: len(heard.items("messages")) == 1)
    (delivery,) = meta.control.deliveries()
    assert (delivery["attempts"], delivery["state"], delivery["status"]) == (4, "delivered", 200)


def test_it_gives_up_after_seven_days(
    meta: RunningSimulator, heard: Receiver, wait_for: Wait
) -> None:
    heard.statuses += [503] * 50
    meta.control.inbound(PERSON, "Hello")
    wait_for(lambda: attempted(meta) == 1)
    meta.control.advance(6 * 24 * 3600)
    wait_for(lambda: attempted(meta) == 2)
    assert meta.control.deliveries()[0]["state"] == "waiting"
    meta.control.advance(24 * 3600)
    wait_for(lambda: meta.control.deliveries()[0]["state"] == "given_up")


def test_a_forged_signature_is_refused_and_the_next_is_good(
    meta: RunningSimulator, heard: Receiver, wait_for: Wait
) -> None:
    meta.control.options(bad_signatures=100)
    meta.control.inbound(PERSON, "Hello")
    wait_for(lambda: heard.forged == 1)
    wait_for(lambda: meta.control.deliveries()[0]["state"] == "waiting")
    meta.control.advance(1)
    wait_for(lambda: len(heard.items("messages")) == 1)


def test_callbacks_go_where_a_handshake_sent_them(
    meta: RunningSimulator, graph: Graph, receiver: Receiver, wait_for: Wait
) -> None:
    path, override = f"{meta.waba_id}/subscribed_apps", {"override_callback_uri": receiver.url}
    refused = graph("POST", path, json={**override, "verify_token": "wrong"})
    assert (error(refused)[1], refused.json()["error"]["error_subcode"]) == (100, 2200)
    assert graph("POST", path, json={**override, "verify_token": VERIFY_TOKEN}).is_success
    assert len(receiver.challenges) == 2
    (listed,) = graph("GET", path).json()["data"]
    assert listed["override_callback_uri"] == receiver.url
    meta.control.inbound(PERSON, "Hello")
    wait_for(lambda: len(receiver.items("messages")) == 1)


def test_it_sends_nothing_beyond_this_machine(meta: RunningSimulator, graph: Graph) -> None:
    elsewhere = {"override_callback_uri": "https://example.com/x", "verify_token": VERIFY_TOKEN}
    refused = graph("POST", f"{meta.waba_id}/subscribed_apps", json=elsewhere)
    assert "only talks to this machine" in error(refused)[2]


def test_unsubscribed_apps_hear_nothing(
    meta: RunningSimulator, graph: Graph, post: Post, wait_for: Wait
) -> None:
    assert graph("DELETE", f"{meta.waba_id}/subscribed_apps").is_success
    assert graph("GET", f"{meta.waba_id}/subscribed_apps").json() == {"data": []}
    assert post().is_success
    wait_for(lambda: meta.control.state()["scheduled"] == 0)
    assert meta.control.state()["updates"] == 0
