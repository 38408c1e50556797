from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command

from connectors.simulator.client import Load, LoadPlan
from connectors.simulator.meta.seeds import business, sample
from connectors.simulator.meta.server import RunningSimulator, UnableToControl, listen
from connectors.simulator.meta.world import UnreadableWorld, joined, read, single, written
from connectors.simulator.wire import CallbackTarget, NotLoopback
from tests.simulator.meta.conftest import PERSON, Post, Receiver


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", ""])  # noqa: S104
def test_it_serves_this_machine_only(host: str) -> None:
    with pytest.raises(NotLoopback):
        listen(host, 0)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_a_page_of_somebody_else_cannot_use_it(
    meta: RunningSimulator, http: httpx.Client, headers: dict[str, str]
) -> None:
    assert http.post(f"{meta.origin}/sim/reset", headers=headers).status_code == 403


def test_it_says_what_it_is(meta: RunningSimulator, http: httpx.Client) -> None:
    front = http.get(meta.origin).text
    assert front.startswith("A SIMULATOR of Meta's WhatsApp Cloud API.")
    assert meta.url in front
    assert "…9999" in front


def test_many_answers_are_delayed_at_once() -> None:
    world = sample()
    world.options.answer_delay_ms = 150
    world.accounts[0].numbers[0].messages_per_second = 1e6
    with RunningSimulator(world) as meta:
        wamid = meta.control.inbound("+447700900123", "Hi")
        body = json.dumps(
            {"messaging_product": "whatsapp", "status": "read", "message_id": wamid}
        ).encode()
        head = (
            f"POST /v26.0/{meta.phone_number_id}/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {meta.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        there = CallbackTarget("127.0.0.1", int(meta.origin.rpartition(":")[2]), "/", b"")
        requests = iter([head.encode() + body] * 200)
        report = asyncio.run(Load(there, requests, LoadPlan(connections=200)).run())
    assert report.codes == {200: 200}
    one_after_the_other = 200 * 0.15
    assert 0.15 <= report.seconds < one_after_the_other


def test_it_stops_at_once_whatever_hangs() -> None:
    with RunningSimulator() as meta:
        path = f"{meta.url}/{meta.phone_number_id}"
        meta.control.rule("hang", edge="")
        with httpx.Client(trust_env=False, timeout=0.1) as client, pytest.raises(httpx.ReadTimeout):
            client.get(path, headers={"Authorization": f"Bearer {meta.token}"})
        started = time.monotonic()
    assert time.monotonic() - started < 60  # the hang itself would never end


def test_a_world_is_exported_and_imported(
    meta: RunningSimulator, http: httpx.Client, post: Post
) -> None:
    meta.control.change("templates", "welcome_message", status="PAUSED")
    exported = http.get(f"{meta.origin}/sim/export").content
    meta.control.reset()
    assert post().is_success
    assert http.post(f"{meta.origin}/sim/import", content=exported).is_success
    assert post().json()["error"]["code"] == 132015
    meta.state.reset(meta.world)


def test_a_reset_forgets_everything(meta: RunningSimulator, post: Post) -> None:
    post()
    meta.control.rule("error")
    meta.control.inbound(PERSON, "Hi")
    meta.control.advance(1000)
    meta.control.reset()
    state = meta.control.state()
    seen = [state[name] for name in ("requests", "updates", "callbacks", "rules", "open_windows")]
    assert (seen, state["advanced"]) == ([0, 0, 0, [], 0], 0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda meta: meta.control.rule("smell"),
        lambda meta: meta.control.rule("silent", edge="media"),
        lambda meta: meta.control.options(colour=1),
        lambda meta: meta.control.options(loss="much"),
        lambda meta: meta.control.change("numbers", "1", status="X"),
        lambda meta: meta.control.inbound("nobody", "Hi"),
    ],
)
def test_the_control_api_explains_what_it_does_not_take(
    meta: RunningSimulator, ask: Callable[[RunningSimulator], object]
) -> None:
    with pytest.raises(UnableToControl, match="message"):
        ask(meta)


def test_the_control_api_takes_json_whatever_it_is_called(
    meta: RunningSimulator, http: httpx.Client
) -> None:
    written = {"content": b'{"from": "+447700900123", "text": "Hi"}'}
    curl = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post(f"{meta.origin}/sim/inbound", headers=curl, **written)
    assert answer.json()["id"].startswith("wamid.")


def test_people_may_answer_by_themselves(
    meta: RunningSimulator, heard: Receiver, post: Post, wait_for: Callable[..., None]
) -> None:
    meta.control.options(auto_reply="Thanks!")
    post()
    wait_for(lambda: [m["text"]["body"] for m in heard.items("messages")] == ["Thanks!"])
    assert meta.control.state()["open_windows"] == 1


def test_a_world_is_a_document() -> None:
    two = joined(
        *(
            single(app_secret="s", access_token=f"t{n}", waba_id=f"9{n}", phone_number_id=f"1{n}")
            for n in "ab"
        )
    )
    assert read(written(two)) == two
    with pytest.raises(UnreadableWorld, match="unknown field `apples`"):
        read(b'{"apples": []}')


class Terminal(StringIO):
    """Ends the process's wait as soon as the app is subscribed."""

    def write(self, text: str) -> int:
        if "verified and subscribed" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path, receiver: Receiver) -> None:
    world = sample()
    world.apps[0].callback_url = receiver.url
    config = tmp_path / "world.json"
    config.write_bytes(written(world))
    terminal = Terminal()
    call_command("simulate", "meta", "--port", "0", "--config", str(config), stdout=terminal)
    shown = terminal.getvalue()
    assert shown.startswith("A SIMULATOR")
    assert shown.rstrip().endswith("The simulator of Meta has stopped.")
    assert len(receiver.challenges) == 1
    assert "simulated-access-token" not in shown


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "0.0.0.0"], "this machine only"),  # noqa: S104
        (["--config", "/nowhere.json"], "No such file"),
        (["--loss", "101"], "a number from 0 to 100"),
        (["--status-delays", "1,2"], "three numbers"),
    ],
)
def test_the_command_explains_what_it_does_not_take(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        call_command("simulate", "meta", *arguments)


def test_two_businesses_do_not_see_each_other(http: httpx.Client) -> None:
    worlds = [
        business(app_secret=n, access_token=f"token-{n}", waba_id=f"9{n}", phone_number_id=f"1{n}")
        for n in ("01", "02")
    ]
    with RunningSimulator(joined(*worlds)) as meta:
        for own, other in (("01", "02"), ("02", "01")):
            bearer = {"Authorization": f"Bearer token-{own}"}
            listed = http.get(f"{meta.url}/9{own}/message_templates", headers=bearer).json()["data"]
            first = http.get(f"{meta.url}/{listed[0]['id']}", headers=bearer)
            assert (len(listed), first.json()["name"]) == (12, "welcome_message")
            assert http.get(f"{meta.url}/9{other}", headers=bearer).status_code == 400
            assert http.get(f"{meta.url}/1{other}", headers=bearer).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "journal?since=yesterday"),
        ("GET", "journal?limit=-1"),
        ("GET", "webhooks?since=1.5"),
        ("DELETE", "rules/first"),
    ],
)
def test_the_control_api_explains_a_number_that_is_none(
    meta: RunningSimulator, method: str, path: str
) -> None:
    answer = httpx.request(method, f"{meta.origin}/sim/{path}")

    assert answer.status_code == 400
    assert "is not a whole number" in answer.json()["error"]["message"]


@pytest.mark.parametrize("seconds", [-1, 1e300])
def test_time_moves_on_only_and_not_for_ever(meta: RunningSimulator, seconds: float) -> None:
    asked = httpx.post(f"{meta.origin}/sim/clock", json={"advance_seconds": seconds})

    assert asked.status_code == 400
    assert "advance_seconds" in asked.json()["error"]["message"]
