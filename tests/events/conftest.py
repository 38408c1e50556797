"""A tenant's app that receives events over real HTTP, and subscriptions to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from connectors.events import signing_secrets, worker
from connectors.events.models import EventSubscription
from connectors.events.signing_secrets import SigningSecret
from lib.wakeups import WakeUp
from tests.conftest import Cast
from tests.whatsapp.conftest import web
from workspaces import events
from workspaces.events import Event

__all__ = ["web"]

NOTIFY = WakeUp.notify


@dataclass(frozen=True)
class Got:
    """One request that an endpoint received."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Endpoint:
    """What an endpoint answers (by path), and what it got."""

    port: int = 0
    got: list[Got] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    slow: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"http://{host}:{self.port}{path}"

    def ids(self, path: str) -> list[str]:
        """Return the webhook-ids that arrived at a path."""
        return [got.headers["webhook-id"] for got in self.got if got.path == path]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Serve on a free port; ``/slow`` answers when ``slow`` is set, the others at once."""
    mine = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            mine.got.append(Got(self.path, headers, body))
            if self.path == "/slow":
                mine.slow.wait(120)
            self.send_response(mine.answers.get(self.path, 200))
            for name, value in {"content-length": "0", **mine.headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mine.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield mine
    mine.slow.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep tests that run no worker from filling the broker; lists the wake-ups."""
    names: list[str] = []

    def notify(wake_up: WakeUp, slot: int = 0) -> bool:
        names.append(wake_up.name)
        return True

    monkeypatch.setattr(WakeUp, "notify", notify)
    return names


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deliverer looks twice before it leaves, and waits a while each time."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.005)


Subscribe = Callable[..., EventSubscription]


@pytest.fixture
def subscribe(endpoint: Endpoint) -> Subscribe:
    """Subscribe a cast's app at a path to types, with a secret for each given end of life."""

    def make(
        cast: Cast,
        *types: str,
        path: str = "/",
        url: str = "",
        ends: tuple[datetime | None, ...] = (None,),
    ) -> EventSubscription:
        row = EventSubscription(
            tenant_id=cast.tenant.id, url=url or endpoint.url(path), types=list(types)
        )
        secrets = [SigningSecret(signing_secrets.new().value, end) for end in ends]
        row.sealed_secrets = signing_secrets.seal(
            secrets, tenant_id=cast.tenant.id, subscription_id=row.id
        )
        row.save(force_insert=True)
        row.secrets = [secret.value for secret in secrets]
        return row

    return make


@pytest.fixture
def emit(now: datetime) -> Callable[..., None]:
    """Emit a number of events of a cast."""

    def many(cast: Cast, count: int = 1, type: str = "message.received") -> None:
        events.emit(
            [Event(cast.tenant.id, type, {"message_id": str(uuid4())}, now) for _ in range(count)]
        )

    return many
