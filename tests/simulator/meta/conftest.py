"""A running simulator for all tests of a module, and somebody who receives what it sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from connectors.simulator.meta.seeds import sample
from connectors.simulator.meta.server import RunningSimulator
from connectors.whatsapp.wire.signature import InvalidSignature, verify

PERSON = "+447700900123"
VERIFY_TOKEN = "simulated-verify-token"
Post = Callable[..., httpx.Response]


class Receiver(ThreadingHTTPServer):
    """A callback address: keeps what is signed well, answers with the next of ``statuses``."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        self.documents: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.forged = 0
        self.challenges: list[str] = []

    def items(self, section: str = "statuses") -> list[dict[str, Any]]:
        """Return the statuses or messages received so far, in order."""
        changes = [c for d in self.documents for e in d["entry"] for c in e["changes"]]
        return [item for change in changes for item in change["value"].get(section, [])]

    def steps(self) -> list[str]:
        """Return the statuses received so far, in order."""
        return [item["status"] for item in self.items()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.server.challenges.append(query["hub.challenge"][0])
        good = query["hub.verify_token"] == [VERIFY_TOKEN]
        self._answer(200 if good else 403, query["hub.challenge"][0].encode() if good else b"no")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        try:
            verify(body, self.headers["X-Hub-Signature-256"], [b"simulated-app-secret"])
        except InvalidSignature:
            self.server.forged += 1
            status = 401
        if status == 200:
            self.server.documents.append(json.loads(body))
        self._answer(status, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def _meta() -> Iterator[RunningSimulator]:
    with RunningSimulator(sample()) as running:
        yield running


@pytest.fixture
def meta(_meta: RunningSimulator) -> RunningSimulator:
    """A simulator to which nothing has happened yet."""
    _meta.control.reset()
    _meta.control.options(status_delays_ms=(5, 10, 15), review_delay_ms=5)
    return _meta


@pytest.fixture
def heard(meta: RunningSimulator, receiver: Receiver) -> Receiver:
    """The address that the app's callbacks go to."""
    meta.control.change("apps", meta.world.apps[0].id, callback_url=receiver.url)
    return receiver


@pytest.fixture
def graph(meta: RunningSimulator, http: httpx.Client) -> Callable[..., httpx.Response]:
    """Ask the Graph API, as the bearer of the token."""

    def ask(method: str, path: str, **more: Any) -> httpx.Response:
        token = more.pop("token", meta.token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http.request(method, f"{meta.url}/{path}", headers=headers, **more)

    return ask


@pytest.fixture
def post(meta: RunningSimulator, graph: Callable[..., httpx.Response]) -> Post:
    """Post a message to a person, by default the welcome."""

    def message(to: str | None = PERSON, **more: Any) -> httpx.Response:
        body = {"messaging_product": "whatsapp", **({"to": to} if to else {}), **more}
        body.setdefault("type", "template")
        if body["type"] == "template" and "template" not in body:
            body["template"] = template("welcome_message", [text_parameters("John")])
        return graph("POST", f"{meta.phone_number_id}/messages", json=body)

    return message


def template(name: str, components: list[dict[str, Any]], language: str = "en") -> dict[str, Any]:
    """Return the ``template`` object of a request."""
    return {"name": name, "language": {"code": language}, "components": components}


def text_parameters(*texts: str, where: str = "body") -> dict[str, Any]:
    """Return a component with positional texts."""
    return {"type": where, "parameters": [{"type": "text", "text": text} for text in texts]}


def error(response: httpx.Response) -> tuple[int, int, str]:
    """Return the status, code and details of a refusal."""
    found = response.json()["error"]
    details = found.get("error_data", {}).get("details", found["message"])
    return response.status_code, found["code"], details
