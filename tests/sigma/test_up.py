"""What ``make up`` refuses, and whether what it prints works when it is pasted."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from connectors.cloud_api.signature import verify
from sigma import door, welcome
from sigma.console import Terminal

DEMO = {
    "callback_url": "http://127.0.0.1:8000/webhooks/whatsapp/demo",
    "workspace_id": "0190a1b2-0000-7000-8000-000000000001",
    "phone_number_id": "106540352242922",
    "waba_id": "102290129340398",
    "app_secret": "an-app-secret-for-this-test",
    "verify_token": "a-verify-token-for-this-test",
    "api_key": "sigma_key",
    "admin_url": "http://127.0.0.1:8000/admin/",
    "admin_user": "admin",
    "admin_password": "password",
}
# Stands in for curl: one argument a line.
CURL = "curl() { printf '%s\\n' \"$@\"; }\n"


def test_it_says_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        said = pytest.raises(door.PortTaken, match=rf"Port {port} .*make up PORT={port + 1}")
        with said, door.listening("127.0.0.1", port):
            pass


def test_it_runs_once_on_the_same_data(tmp_path: Path) -> None:
    said = pytest.raises(door.AlreadyRunning, match="stop it first")

    with door.only_one(tmp_path), said, door.only_one(tmp_path):
        pass


def test_it_gives_up_on_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "WEB_SECONDS", 0.2)

    with door.listening("127.0.0.1", 0) as listener, pytest.raises(door.NotHealthy):
        asyncio.run(door.until_healthy(listener.getsockname()[1]))


def test_it_sends_small_answers_at_once() -> None:
    with door.listening("127.0.0.1", 0) as listener:
        caller = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with caller, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.fixture
def commands(tmp_path: Path) -> list[str]:
    """The two commands that are printed, sending and reading back."""
    (tmp_path / "demo.json").write_text(json.dumps(DEMO))
    screen = io.StringIO()
    console = Console(file=screen, width=80, highlight=False)
    welcome.show(Terminal(console), folder=tmp_path, base_url="http://127.0.0.1:8000")
    return ["curl" + part.partition("\n\n")[0] for part in screen.getvalue().split("\ncurl")[1:]]


def pasted(command: str) -> list[str]:
    """Paste a command into a shell and return the arguments that curl was given."""
    shell = subprocess.run(
        ["/bin/sh", "-c", CURL + command], capture_output=True, text=True, check=True
    )
    return shell.stdout.splitlines()


def test_it_prints_a_command_that_sends_a_signed_callback(commands: list[str]) -> None:
    arguments = pasted(commands[0])
    signature = next(a for a in arguments if a.startswith("X-Hub")).partition(": ")[2]
    body = Path(arguments[-1].removeprefix("@")).read_bytes()

    verify(body, signature, [DEMO["app_secret"].encode()])
    assert DEMO["callback_url"] in arguments
    assert json.loads(body)["entry"][0]["id"] == DEMO["waba_id"]


def test_it_prints_a_command_that_reads_it_back(commands: list[str]) -> None:
    arguments = pasted(commands[1])

    assert f"Authorization: Bearer {DEMO['api_key']}" in arguments
    assert f'messages(workspaceId: "{DEMO["workspace_id"]}"' in json.loads(arguments[-1])["query"]
