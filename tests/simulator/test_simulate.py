"""The command, against a small server of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from connectors.whatsapp.wire.signature import verify
from workspaces.demo_facts import DemoFacts, write

SECRET = "app secret of the simulator's tests"


class Meta(ThreadingHTTPServer):
    """Collects what it gets; answers with the next of ``statuses``, then 200."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Meta

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        verify(body, self.headers["X-Hub-Signature-256"], [SECRET.encode()])
        self.server.bodies.append(body)
        self.send_response(self.server.statuses.pop() if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def meta() -> Iterator[Meta]:
    with Meta() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def demo(meta: Meta, tmp_path: Path, settings: Settings) -> str:
    """Facts of a demo tenant whose receiver is ``meta``; returns its base URL."""
    settings.SIGMA_HOME = tmp_path
    return facts(tmp_path, f"http://127.0.0.1:{meta.server_port}")


def facts(home: Path, base_url: str) -> str:
    write(
        home,
        DemoFacts(
            base_url=base_url,
            callback_url=f"{base_url}/webhooks/whatsapp/demo",
            tenant_id=str(uuid4()),
            tenant_slug="demo",
            workspace_id=str(uuid4()),
            phone_number_id="106540352242922",
            waba_id="102290129340398",
            app_secret=SECRET,
            verify_token="",
            api_key="",
            admin_url="",
            admin_user="",
            admin_password="",
            sender_url="",
        ),
    )
    return base_url


def simulate(*arguments: str) -> str:
    out = StringIO()
    call_command("simulate", "inbound", *arguments, "--rate", "0", stdout=out)
    return " ".join(out.getvalue().split())


@pytest.mark.usefixtures("demo")
def test_it_sends_signed_callbacks_and_says_what_became_of_them(meta: Meta) -> None:
    shown = simulate("--count", "20", "--batch", "3", "--duplicates", "0")
    assert len(meta.bodies) == 20
    assert "answered 200 │ 20" in shown
    assert "updates accepted │ 60" in shown


@pytest.mark.usefixtures("demo")
def test_it_sends_the_types_that_were_asked_for(meta: Meta) -> None:
    simulate("--count", "5", "--types", "sticker")
    values = [json.loads(b)["entry"][0]["changes"][0]["value"] for b in meta.bodies]
    assert {message["type"] for value in values for message in value["messages"]} == {"sticker"}


@pytest.mark.usefixtures("demo")
def test_it_sends_other_messages_every_time_unless_given_a_seed(meta: Meta) -> None:
    for seed in ((), (), ("--seed", "5"), ("--seed", "5")):
        simulate("--count", "1", "--types", "text", *seed)
    ids = [
        json.loads(b)["entry"][0]["changes"][0]["value"]["messages"][0]["id"] for b in meta.bodies
    ]
    assert len(set(ids)) == 3


@pytest.mark.usefixtures("demo")
def test_it_sends_again_what_was_refused_when_asked(meta: Meta) -> None:
    meta.statuses = [503, 500]
    shown = simulate("--count", "4", "--retry")
    assert "answered 200 │ 4" in shown
    assert "other answers │ 500: 1, 503: 1" in shown


@pytest.mark.django_db
def test_it_says_that_there_is_no_such_tenant(demo: str) -> None:
    with pytest.raises(CommandError, match="no tenant 'nobody'"):
        simulate("--tenant", "nobody", "--url", demo)


def test_it_says_how_to_start_when_there_is_no_demo(tmp_path: Path, settings: Settings) -> None:
    settings.SIGMA_HOME = tmp_path
    with pytest.raises(CommandError, match="make up"):
        simulate()


def test_it_says_that_nothing_listens(tmp_path: Path, settings: Settings) -> None:
    settings.SIGMA_HOME = tmp_path
    facts(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(CommandError, match=r"Nothing listens at 127\.0\.0\.1:9"):
        simulate()


def test_it_never_talks_to_another_machine(tmp_path: Path, settings: Settings) -> None:
    settings.SIGMA_HOME = tmp_path
    facts(tmp_path, "http://192.0.2.1:8000")
    with pytest.raises(CommandError, match="only talks to this machine"):
        simulate()


@pytest.mark.usefixtures("demo")
def test_it_names_the_types_when_one_is_unknown() -> None:
    with pytest.raises(CommandError, match="Choose from: all"):
        simulate("--types", "fax")
