"""The real receiver behind a real HTTP server, for tests that knock at the door."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from django.db import connection

from connectors.whatsapp.wire.signature import sign
from sigma.asgi import Application
from sigma.heads import Bounded
from tests.conftest import Cast


class Web:
    """A running web process of ours and a client that talks to it as Meta does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)

    def post(self, cast: Cast, body: bytes, *, path: str = "", **headers: str) -> httpx.Response:
        """Post a callback, signed with the cast's secret unless a signature is given."""
        signed = {"X-Hub-Signature-256": sign(body, cast.app_secret.encode()), **headers}
        return self.client.post(path or cast.path, content=body, headers=signed)

    def verify_url(self, path: str, token: str, challenge: str = "test123") -> httpx.Response:
        """Ask as Meta does when a callback URL is configured."""
        query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": challenge}
        return self.client.get(path, params=query)


@contextmanager
def serving(application: object, *, http: type[Bounded] = Bounded) -> Iterator[int]:
    """Serve an application on a free port, as web does, and yield the port."""
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]
        port=0,
        lifespan="auto",
        log_level="warning",
        http=http,
        ws="none",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "it did not start"
        time.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(120)


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    """Serve the whole application on a free port for one test."""
    with serving(Application()) as port:
        served = Web(port)
        yield served
        served.client.close()
    hang_up()


def hang_up() -> None:
    """End the connections that the server's threads kept open: the database must be droppable."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
