"""The service as a process: when it refuses to start, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from connectors.sender import callers
from connectors.sender.callers import UnsafeToStart
from connectors.sender.service import Service
from lib.heartbeat import ProcessHeartbeat
from messaging.models import Message
from sigma.sender import SenderApplication
from tests.conftest import Cast
from tests.sender.conftest import WANTED, Served, bearer, key_for, queued
from tests.sender.test_callers import code_in
from workspaces.access import by_api_key

WaitFor = Callable[..., None]


@contextmanager
def started(listener: socket.socket, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run the service on the test's engines."""
    known = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    environment = {
        **os.environ,
        **env,
        "DATABASE_URL": "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**known),
    }
    argv = [sys.executable, "-m", "sigma.sender", "--fd", str(listener.fileno())]
    process = subprocess.Popen(
        argv, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_lets_those_who_wait_go_when_it_is_stopped(
    acme: Cast, heard: Message, tmp_path, wait_for: WaitFor, transactional_db: None
) -> None:
    own = {
        "SIGMA_SENDER_STORE": str(tmp_path),
        "SIGMA_SENDER_WAIT_SECONDS": "60",
        "SIGMA_SENDER_OPEN_WORKSPACE": str(acme.workspace.id),
    }
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        started(listener, **own) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/send"
        asked = pool.submit(httpx.post, url, json=WANTED, timeout=120)
        wait_for(queued)
        process.send_signal(signal.SIGTERM)
        answer = asked.result()
        _, said = process.communicate(timeout=120)

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert said.count("without an API key") == 1
    assert "without an API key" in (tmp_path / "logs" / "service.log").read_text()
    assert "Traceback" not in said


def test_it_does_not_start_open_to_others(tmp_path, transactional_db: None) -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as listener,  # noqa: S104 - what is refused
        started(listener, SIGMA_SENDER_OPEN_WORKSPACE=str(uuid4())) as process,
    ):
        _, said = process.communicate(timeout=120)

    assert process.returncode == 1
    assert said.startswith("sigma: SIGMA_SENDER_OPEN_WORKSPACE lets whoever reaches this service")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "is_public", "words"),
    [
        ("0.0.0.0", False, "others reach 0.0.0.0"),  # noqa: S104 - never listened on
        ("::", False, "others reach"),
        ("192.168.1.7", False, "others reach"),
        ("nobody.invalid", False, "others reach"),
        (None, False, "not known"),
        ("127.0.0.1", False, ""),
        ("::1", False, ""),
        ("localhost", False, ""),
        ("0.0.0.0", True, ""),  # noqa: S104 - never listened on
        (None, True, ""),
    ],
)
def test_calls_without_a_key_are_for_this_machine(
    acme: Cast, settings, address: str | None, is_public: bool, words: str
) -> None:
    callers.check(address)
    settings.SIGMA_SENDER_OPEN_WORKSPACE = acme.workspace.id
    settings.SIGMA_SENDER_OPEN_PUBLIC = is_public
    try:
        callers.check(address)
        said = ""
    except UnsafeToStart as error:
        said = str(error)

    assert words in said
    assert bool(words) == bool(said)


@pytest.mark.parametrize("is_safe", [True, False])
def test_it_is_heard_of_only_where_it_started(
    monkeypatch: pytest.MonkeyPatch, is_safe: bool
) -> None:
    heard: list[str] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def check(service: Service, address: str | None) -> None:
        if not is_safe:
            raise UnsafeToStart("others reach it")

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(answer: dict[str, str]) -> None:
        """Nobody reads it."""

    monkeypatch.setattr(Service, "check", check)
    monkeypatch.setattr(ProcessHeartbeat, "start", lambda heartbeat: heard.append(heartbeat.role))
    asyncio.run(SenderApplication()({"type": "lifespan"}, receive, send))

    assert heard == ["sender"] * is_safe


def test_a_server_that_tells_nobody_of_its_start_opens_nothing(
    acme: Cast, settings, db: None
) -> None:
    settings.SIGMA_SENDER_OPEN_WORKSPACE = acme.workspace.id
    transport = httpx.ASGITransport(app=SenderApplication())

    async def call() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.get("/status")

    with pytest.raises(UnsafeToStart, match="its address is not known"):
        asyncio.run(call())


def test_it_does_not_start_for_a_workspace_that_is_not_there(
    acme: Cast, globex: Cast, settings
) -> None:
    globex.workspace.is_active = False
    globex.workspace.save()
    for workspace_id in (uuid4(), globex.workspace.id):
        settings.SIGMA_SENDER_OPEN_WORKSPACE = workspace_id
        with pytest.raises(UnsafeToStart, match="no active workspace"):
            callers.check("127.0.0.1")


def test_a_key_is_bound_from_the_shell(acme: Cast, globex: Cast, now, capsys) -> None:
    call_command("issue_api_key", "acme", name="app", workspace=acme.workspace.id)
    actor = by_api_key(capsys.readouterr().out.strip(), now=now)

    assert (actor.workspace_id, actor.tenant_id) == (acme.workspace.id, acme.tenant.id)
    assert actor.scopes == {"messages:send", "messages:read"}
    with pytest.raises(CommandError, match="acme has no workspace"):
        call_command("issue_api_key", "acme", name="app", workspace=globex.workspace.id)


def test_it_refuses_a_head_without_an_end(sender: Served, acme: Cast) -> None:
    port = int(sender.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as line:
        with suppress(ConnectionError):
            line.sendall(b"POST /send HTTP/1.1\r\n")
            for _ in range(100):
                line.sendall(b"a: b\r\n" * 1_000)
        with suppress(ConnectionError):
            assert line.recv(1_000)[:13] in (b"", b"HTTP/1.1 431 ")
    assert sender.get("/health").status_code in (200, 503)


def test_it_takes_a_body_whose_length_is_not_announced_and_bounds_it(
    sender: Served, acme: Cast
) -> None:
    def pieces(body: bytes) -> Iterator[bytes]:
        yield body[:5]
        yield body[5:]

    key = bearer(key_for(acme))
    read = sender.client.post("/send", content=pieces(b'{"phone": 1, "message": "a"}'), headers=key)
    assert code_in(read) == (400, "INVALID_INPUT")
    large = sender.client.post("/send", content=pieces(b" " * 100_000), headers=key)
    assert code_in(large) == (413, "BAD_REQUEST")
