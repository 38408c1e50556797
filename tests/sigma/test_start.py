"""``make up`` as a whole: what it promises when it says that it is up, and a start after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sigma.engines import postgres

# What the installation under test must not inherit: it has engines, keys and settings of its own.
OURS = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "SIGMA_", "Platforms__", "PYTEST_")
CATALOGUE = (
    '{ messageTemplates(workspaceId: "WORKSPACE" first: 1) { nodes { name } } '
    'businessNumber(workspaceId: "WORKSPACE") { syncedAt } '
    'messages(workspaceId: "WORKSPACE" first: 1) { nodes { id } } }'
)
# Patience, not expectation: a start takes seconds on a quiet machine.
SECONDS = 600


class Installation:
    """``make up`` in a folder of its own."""

    def __init__(self, home: Path) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        self.home, self.env = home, {**inherited, "SIGMA_HOME": str(home)}
        self.port, self.sender_port = free_port(), free_port()
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, or start it again."""
        ports = ("--port", str(self.port), "--sender-port", str(self.sender_port))
        ports += ("--simulator-port", str(free_port()))
        with (self.home / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sigma.up", *ports], env=self.env, stdout=log, stderr=log
            )
        return self.process

    def health(self) -> tuple[int, Any]:
        """Return the status and body of ``/healthz``; 0: nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz") as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except (OSError, ValueError):
            return 0, None

    def until_healthy(self) -> list[str]:
        """Wait for the first 200 of the present start; return the states on the way."""
        deadline, states = time.monotonic() + SECONDS, []
        while (answer := self.health() if self.has_web() else (0, None))[0] != 200:
            assert self.process.poll() is None, (self.home / "up.log").read_text()
            assert time.monotonic() < deadline, "it is not up"
            states += [answer[1]["status"]] if answer[1] else []
            time.sleep(0.1)  # to ask takes from the processor that the start needs
        return states

    def has_web(self) -> bool:
        """Whether web was started by the present process, and is not one that a kill left."""
        try:
            pids = json.loads((self.home / "pids.json").read_text())
        except OSError:
            return False
        return pids["supervisor"] == self.process.pid and "web" in pids

    def ask(self, document: str) -> Any:
        """Return the data of a GraphQL answer."""
        demo = json.loads((self.home / "demo.json").read_text())
        body = {"query": document.replace("WORKSPACE", demo["workspace_id"])}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {demo['api_key']}"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - of this machine
            return json.loads(answer.read())["data"]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run one of the product's programs beside it."""
        command = [sys.executable, *argv]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)

    def kill(self, *roles: str) -> None:
        """Kill processes by their roles, all at once."""
        pids = json.loads((self.home / "pids.json").read_text())
        for role in roles:
            os.kill(pids[role], signal.SIGKILL)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that has just been started, stopped after the tests of this file."""
    home = tmp_path_factory.mktemp("up")
    made = Installation(home)
    try:
        yield made
    finally:
        made.process.send_signal(signal.SIGTERM)
        made.process.wait()
        shutil.rmtree(postgres.data_folder(home), ignore_errors=True)


def test_it_is_healthy_once_everything_is_up(installation: Installation) -> None:
    states = installation.until_healthy()

    catalogue = installation.ask(CATALOGUE)
    assert set(states) <= {"starting"}
    assert catalogue["messageTemplates"]["nodes"]
    assert catalogue["businessNumber"]["syncedAt"]
    assert catalogue["messages"]["nodes"]


def test_its_commands_show_the_address_at_which_it_serves(installation: Installation) -> None:
    installation.until_healthy()
    here = f"http://127.0.0.1:{installation.port}"

    made = installation.run("manage.py", "create_tenant", "--slug", "acme", "--name", "Acme")

    assert f"{here}/webhooks/whatsapp/acme" in made.stdout
    assert f"{here};" in installation.run("manage.py", "check_tenant", "acme").stdout


def test_completing_the_demo_beside_it_keeps_its_addresses(installation: Installation) -> None:
    installation.until_healthy()
    before = (installation.home / "demo.json").read_text()

    installation.run("manage.py", "create_demo")

    assert (installation.home / "demo.json").read_text() == before


def test_it_refuses_a_second_start_on_the_same_folder(installation: Installation) -> None:
    installation.until_healthy()

    second = installation.run("-m", "sigma.up", "--port", str(installation.port))

    assert second.returncode == 1
    assert "already running" in second.stdout


def test_it_starts_again_right_after_it_was_killed(installation: Installation) -> None:
    installation.until_healthy()
    written = installation.ask(CATALOGUE)["messages"]["nodes"]
    installation.kill("supervisor", "postgres", "valkey")
    installation.process.wait()

    installation.start()

    installation.until_healthy()
    assert "already running" not in (installation.home / "up.log").read_text()
    assert "shared memory" not in (installation.home / "postgres.log").read_text()
    assert written and installation.ask(CATALOGUE)["messages"]["nodes"]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
