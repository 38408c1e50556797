"""The real sender service behind a real HTTP server, and people whom acme may write to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
import pytest
import uvicorn
from django.utils import timezone

from connectors.linked_device import logs
from connectors.sender import outcomes
from lib import wakeups
from lib.heartbeat import ProcessHeartbeat
from messaging.delivery.queues import SENDS
from messaging.models import Message
from sigma.sender import SenderApplication, config
from tests.conftest import Cast
from tests.delivery.outgoing import become
from tests.sending.conftest import hear
from workspaces import access
from workspaces.access import Scope
from workspaces.models import Workspace

PHONE, TEXT = "+27711558396", "Your DR evaluation is ready"
WANTED = {"phone": PHONE, "message": TEXT}
OF_OURS = (Scope.MESSAGES_SEND, Scope.MESSAGES_READ)


def key_for(
    cast: Cast, *scopes: Scope, workspace: Workspace | None = None, **more: datetime
) -> str:
    """Return a key for the cast's workspace; it may send and read unless told otherwise."""
    return access.issue_api_key(
        tenant=cast.tenant,
        name="app",
        scopes=scopes or OF_OURS,
        workspace=workspace or cast.workspace,
        **more,
    )[1]


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


@dataclass(frozen=True)
class Served:
    """A running sender service, and how to ask it."""

    url: str
    client: httpx.Client
    pool: ThreadPoolExecutor

    def send(self, key: str, body: object = WANTED, **headers: str) -> httpx.Response:
        """Post a message with a key."""
        return self.client.post("/send", json=body, headers={**bearer(key), **headers})

    def begin(self, key: str, body: object = WANTED, **headers: str) -> Future[httpx.Response]:
        """Post a message with a key, and do not wait for the answer."""
        return self.pool.submit(self.send, key, body, **headers)

    def get(self, path: str, key: str = "", **headers: str) -> httpx.Response:
        """Get something, with a key if one is given."""
        return self.client.get(path, headers={**(bearer(key) if key else {}), **headers})


@contextmanager
def serving(address: str | None = "127.0.0.1") -> Iterator[Served]:
    """Serve on a free port; settings count from moment to moment."""
    server = uvicorn.Server(config(SenderApplication(address), host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "it did not start"
        time.sleep(0.005)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=120) as client, ThreadPoolExecutor(16) as pool:
        yield Served(url, client, pool)
    server.should_exit = True
    thread.join(120)


@pytest.fixture(scope="module")
def one_for_all(django_db_setup: None) -> Iterator[Served]:
    """One service for the tests of a file: to stop a server takes longer than most of them. It has
    no heartbeat: the database is closed to it between two tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessHeartbeat, "start", lambda heartbeat: None)
        with serving() as served:
            yield served


@pytest.fixture
def sender(transactional_db: None, one_for_all: Served) -> Served:
    """The sender service."""
    return one_for_all


@pytest.fixture(autouse=True)
def _apart(settings, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log into the test's own folder, wake no worker, look for outcomes often, wait little."""
    settings.SIGMA_SENDER_STORE = tmp_path / "sender"
    settings.SIGMA_SENDER_WAIT_SECONDS = 5
    monkeypatch.setattr(type(SENDS), "notify", lambda wake_up, slot=0: True)
    monkeypatch.setattr(outcomes, "PAUSE_SECONDS", 0.01)
    yield
    for handler in list(logs.logger.handlers):
        logs.logger.removeHandler(handler)
        handler.close()
    broker = wakeups.broker()
    for key in broker.scan_iter("sigma:sender:*"):
        broker.delete(key)


@pytest.fixture
def heard(acme: Cast) -> Message:
    """The person with the contract's number wrote to acme: texts may be sent to him."""
    return hear(acme, timezone.now(), phone=PHONE.removeprefix("+"))


def queued() -> list[UUID]:
    """Return the ids of the messages that wait to be sent."""
    return list(Message.objects.filter(source="API", status="queued").values_list("id", flat=True))


def settle(status: str, **delivery: object) -> None:
    """Let every message that waits have an outcome."""
    waiting = Message.objects.filter(source="API", status="queued")
    become(waiting, status, delivery={"queued_at": "2026-01-01T00:00:00+00:00", **delivery})
