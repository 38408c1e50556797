"""What ``make up`` refuses, and whether what it prints works when it is pasted."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from graphql import parse, validate
from rich.console import Console

from connectors.simulator.meta.inbound import content_of
from connectors.whatsapp.wire.signature import verify
from sigma import door, simulated, welcome
from sigma.console import Terminal
from sigma.engines import state
from sigma.options import EVERYBODY, Options, read_options
from sigma.schema import schema
from sigma.up import environment_of_sender, forget_counts

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
    "access_token": "EAA0123456789",
    "graph_url": "http://127.0.0.1:8090/v26.0",
    "simulator_url": "http://127.0.0.1:8090",
    "sender_url": "http://127.0.0.1:8081",
    "sender_key": "sigma_sender_key",
}
# A start forgets the counts of the one before; those of this process are not its.
OWN_COUNTS = {"SIGMA_METRICS_FOLDER": ""}
# Stands in for curl: one argument a line.
CURL = "curl() { printf '%s\\n' \"$@\"; }\n"


def test_it_says_that_a_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        said = pytest.raises(door.PortTaken, match=rf"Port {port} .*make up PORT={port + 1}")
        with said, door.listening("127.0.0.1", port):
            pass


def test_it_says_that_an_address_is_not_this_machines() -> None:
    said = pytest.raises(door.HostUnusable, match=r"HOST=192\.0\.2\.1: .* for everybody")

    with said, door.listening("192.0.2.1", 0):
        pass


def test_it_listens_and_calls_at_the_same_address() -> None:
    everywhere, here = options("--host", "::"), options("--host", "127.0.0.2")

    assert everywhere.base_url == "http://127.0.0.1:8000"
    assert here.base_url == "http://127.0.0.2:8000"


def options(*arguments: str) -> Options:
    """Return the options of a command line."""
    return read_options(arguments)


def up(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``make up``'s program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sigma.up", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **OWN_COUNTS, "SIGMA_HOME": str(folder), **env},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["--port", "99999"], {}, "'99999' is no port; use one from 1 to 65535"),
        (["--port", "http"], {}, "'http' is no port"),
        (["--sender-port", "0"], {}, "'0' is no port"),
        (["--simulator-port", "-1"], {}, "'-1' is no port"),
        (["--host", "no.such.host.invalid"], {}, "HOST=no.such.host.invalid"),
        ([], {"SIGMA_HOME": "/dev/null/x"}, "/dev/null/x: Not a directory. Make it writable"),
        ([], {"DATABASE_URL": "postgresql://x:secret@127.0.0.1:1/x"}, "Connection refused"),
        ([], {"DATABASE_URL": "mysql://x:secret@127.0.0.1:1/x"}, "DATABASE_URL must be"),
        ([], {"REDIS_URL": "redis://:secret@127.0.0.1:1/0"}, "correct REDIS_URL"),
    ],
)
def test_it_says_in_one_line_what_prevents_the_start(
    arguments: list[str], env: dict[str, str], said: str, tmp_path: Path
) -> None:
    ports = ("--port", str(free_port()), "--sender-port", str(free_port()))

    ended = up(tmp_path / "new", *ports, *arguments, **env)

    assert ended.returncode == 1
    assert said in ended.stdout
    assert ended.stdout.count("✗") == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "secret" not in ended.stdout + ended.stderr


def test_it_says_that_it_is_already_running_whatever_ports_it_is_given(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, door.only_one(tmp_path):
        taken = str(other.getsockname()[1])

        ended = up(tmp_path, "--port", taken, "--simulator-port", taken)

    assert ended.returncode == 1
    assert f"already running on {tmp_path}" in ended.stdout
    assert taken not in ended.stdout


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DATABASE_URL": "postgresql://x:secret@127.0.0.1:1/x"}, "correct DATABASE_URL"),
        ({"DATABASE_URL": os.environ["DATABASE_URL"].rpartition("/")[0] + "/postgres"}, "migrate"),
        ({"SIGMA_HOME": "/dev/null/x", "SIGMA_SECRET_KEY": ""}, "Make it writable"),
    ],
)
def test_its_commands_say_in_one_line_what_is_away(env: dict[str, str], said: str) -> None:
    command = [sys.executable, "manage.py", "check_tenant", "acme"]

    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_it_sends_small_answers_at_once() -> None:
    with door.listening("127.0.0.1", 0) as listener:
        caller = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with caller, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_simulates_meta_on_a_port_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(simulated, "USUAL_PORT", taken)

        assert simulated.choose_port(None) != taken
        with pytest.raises(door.PortTaken, match=f"make up SIMULATOR_PORT={taken + 1}"):
            simulated.choose_port(taken)
    assert simulated.choose_port(taken) == simulated.choose_port(None) == taken


def test_it_tells_commands_beside_it_where_meta_is_simulated(tmp_path: Path) -> None:
    env = {"SIGMA_HOME": str(tmp_path)}
    state.remember(tmp_path, database_url="postgresql://here/sigma")
    for url in ("http://127.0.0.1:8090/v26.0", ""):
        state.remember(tmp_path, graph_url=url)

        assert state.resolve(env).graph_url == url
        assert state.resolve(env).database_url == "postgresql://here/sigma"


def printed(tmp_path: Path, **changes: str) -> list[str]:
    """Return the commands that are printed."""
    (tmp_path / "demo.json").write_text(json.dumps(DEMO | changes))
    screen = io.StringIO()
    console = Console(file=screen, width=80, highlight=False)
    welcome.show(Terminal(console), folder=tmp_path, base_url="http://127.0.0.1:8000")
    return ["curl" + part.partition("\n\n")[0] for part in screen.getvalue().split("\ncurl")[1:]]


@pytest.fixture
def commands(tmp_path: Path) -> list[str]:
    """The commands that are printed: taking in, reading back, sending, answering."""
    return printed(tmp_path)


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


def test_it_prints_a_command_that_sends_as_the_contract_says(commands: list[str]) -> None:
    arguments = pasted(commands[2])
    document = json.loads(arguments[-1])["query"]

    assert f"Authorization: Bearer {DEMO['api_key']}" in arguments
    assert validate(schema.graphql_schema, parse(document)) == []
    for part in (DEMO["workspace_id"], "+1234567890", "welcome_message", '["John"]'):
        assert part in document


def test_it_prints_a_command_that_has_the_person_answer(commands: list[str]) -> None:
    arguments = pasted(commands[3])
    asked = json.loads(arguments[-1])

    assert f"{DEMO['simulator_url']}/sim/inbound" in arguments
    assert asked["phone_number_id"] == DEMO["phone_number_id"]
    assert content_of(Random(0), asked)["text"] == {"body": "Thank you!"}


def test_it_prints_a_command_that_sends_a_text(commands: list[str]) -> None:
    arguments = pasted(commands[4])

    assert arguments[1] == f"{DEMO['sender_url']}/send"
    assert json.loads(arguments[-1])["phone"] == simulated.PERSON
    assert f"X-API-Key: {DEMO['sender_key']}" in arguments


def test_it_has_nobody_answer_where_meta_is_real(tmp_path: Path) -> None:
    url = "https://graph.facebook.com/v26.0"

    assert len(printed(tmp_path, simulator_url="", access_token="", graph_url=url)) == 2


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_shows_secrets_to_a_person_and_to_no_file(tmp_path: Path, is_terminal: bool) -> None:
    demo = DEMO | {"admin_password": "Pw-0123456789"}
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, no_color=True, highlight=False)

    welcome.show(Terminal(console), folder=tmp_path, base_url="http://127.0.0.1:8000")

    text = screen.getvalue()
    secrets = [demo[name] for name in ("api_key", "admin_password", "verify_token", "sender_key")]
    assert [secret in text for secret in secrets] == [is_terminal] * 4
    assert str(tmp_path / "demo.json") in text


def test_it_begins_the_counts_of_metrics_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SIGMA_METRICS_FOLDER", str(tmp_path))
    others = {"customers.db", "up.lock", "counter_of.db", "somebody-elses.txt"}
    for name in ("counter_0.db", "gauge_livesum_12.new", "0.lock", *others):
        (tmp_path / name).touch()

    forget_counts(tmp_path / "home")

    assert {file.name for file in tmp_path.iterdir()} == others


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        *((everybody, False) for everybody in sorted(EVERYBODY)),
        ("192.168.1.5", False),
        ("sigma.example.org", False),
    ],
)
def test_it_lets_callers_do_without_a_key_on_this_machine_alone(
    tmp_path: Path, host: str, is_open: bool
) -> None:
    (tmp_path / "demo.json").write_text(json.dumps(DEMO))
    options = Options(host, 8000, 8081, None)

    made = environment_of_sender(options, tmp_path, {"A": "1"})

    opened = {"SIGMA_SENDER_OPEN_WORKSPACE": DEMO["workspace_id"]} if is_open else {}
    assert made == {"A": "1", "SIGMA_SENDER_DEVICE": "simulated", **opened}


def test_it_links_and_opens_what_the_user_said(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(json.dumps(DEMO))
    said = {"SIGMA_SENDER_DEVICE": "whatsapp", "SIGMA_SENDER_OPEN_WORKSPACE": ""}

    assert environment_of_sender(Options("::1", 8000, 8081, None), tmp_path, said) == said
