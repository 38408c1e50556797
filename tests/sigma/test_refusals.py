"""A wrong setting stops the start with one line that says what to do, whichever process starts."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sigma.env import Env, InvalidSetting, database

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "contract" / "blocks" / "appsettings.json"
KEY = "0123456789abcdef" * 4
MASTER = "k1:" + "A" * 43 + "="
OUTSIDE = {
    "DATABASE_URL": "postgresql://sigma:db-password@127.0.0.1:1/sigma",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SIGMA_SECRET_KEY": KEY,
    "SIGMA_MASTER_KEYS": MASTER,
}
TOKEN = "Platforms__WhatsApp__VerifyToken"
SECRET = "Platforms__WhatsApp__AppSecrets__acme"
# What is wrong, and what the one line must name. The empty value unsets.
REFUSED = {
    "no secret key": ({"SIGMA_SECRET_KEY": ""}, "SIGMA_SECRET_KEY"),
    "short master key": ({"SIGMA_MASTER_KEYS": "k1:AAAA"}, "SIGMA_MASTER_KEYS must be"),
    "master keys of one id": ({"SIGMA_MASTER_KEYS": f"{MASTER},{MASTER}"}, "its own id"),
    "only commas": ({"SIGMA_MASTER_KEYS": ","}, "at least one key"),
    "no master key": ({"SIGMA_MASTER_KEYS": ""}, "SIGMA_MASTER_KEYS"),
    "bad database": ({"DATABASE_URL": "postgresql://u:db-password@h:port/n"}, "DATABASE_URL"),
    "bad broker": ({"REDIS_URL": "127.0.0.1:6379"}, "REDIS_URL"),
    "examples in the file": ({"SIGMA_APPSETTINGS": str(EXAMPLES)}, "example"),
    "no such file": ({"SIGMA_APPSETTINGS": "/nowhere/appsettings.json"}, "SIGMA_APPSETTINGS"),
    "short token": ({TOKEN: "only-19-characters-"}, "at least 20 characters"),
    "example secret": ({SECRET: "your-app-secret-from-meta"}, "AppSecrets[acme] is an example"),
    "tokens in plaintext": (
        {"SIGMA_GRAPH_URL": "http://graph.facebook.com/v26.0", "SIGMA_DEBUG": "true"},
        "SIGMA_GRAPH_URL must be an https address",
    ),
    "tokens in plaintext for trying out": (
        {"SIGMA_GRAPH_URL": "http://graph.facebook.com/v26.0", "SIGMA_EMBEDDED": "true"},
        "SIGMA_GRAPH_URL must be an https address",
    ),
    "no host of Meta's": ({"SIGMA_GRAPH_URL": "https:///v26.0"}, "SIGMA_GRAPH_URL must be"),
    "not a URL of Meta's": ({"SIGMA_GRAPH_URL": "https://[::1"}, "SIGMA_GRAPH_URL must be"),
    "a simulator": ({"SIGMA_GRAPH_URL": "http://127.0.0.1:9/v26.0"}, "SIGMA_GRAPH_URL is http"),
    "a simulated device": ({"SIGMA_SENDER_DEVICE": "simulated"}, "is for trying out"),
    "an unknown device": ({"SIGMA_SENDER_DEVICE": "fax"}, "one of whatsapp, simulated, not 'fax'"),
    "every origin": ({"SIGMA_SENDER_ORIGINS": "https://a.example, *"}, "'*' is not an origin"),
    "a page": ({"SIGMA_SENDER_ORIGINS": "https://a.example/page"}, "is not an origin"),
    "a name of a workspace": ({"SIGMA_SENDER_OPEN_WORKSPACE": "acme"}, "a workspace's UUID"),
    "a token to be guessed": ({"SIGMA_METRICS_TOKEN": "x" * 19}, "at least 20 characters"),
    "wrong boolean": ({"SIGMA_DEBUG": "maybe"}, "SIGMA_DEBUG must be true or false"),
}

GOOD: list[dict[str, str]] = [
    {},
    {"SIGMA_GRAPH_URL": "http://127.0.0.1:9/v26.0", "SIGMA_DEBUG": "true"},
    {"SIGMA_SENDER_DEVICE": "simulated", "SIGMA_DEBUG": "true"},
    {"SIGMA_SENDER_ORIGINS": "https://a.example, http://127.0.0.1:3000"},
    {"SIGMA_METRICS_TOKEN": "x" * 20},
]


def refusal(monkeypatch: pytest.MonkeyPatch, home: Path, **changed: str) -> str:
    """Read the settings of an installation on outside engines, but for ``changed``."""
    for name in [name for name in os.environ if name.startswith(("SIGMA_", "Platforms__"))]:
        monkeypatch.delenv(name)
    for name, value in {"SIGMA_HOME": str(home), **OUTSIDE, **changed}.items():
        monkeypatch.setenv(name, value)
    try:
        runpy.run_path(str(ROOT / "sigma" / "settings.py"))
    except SystemExit as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_with_one_line_that_names_the_setting(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong, expected = REFUSED[name]

    [line] = refusal(monkeypatch, tmp_path, **wrong).splitlines()

    assert line.startswith("sigma: ")
    assert expected in line
    assert not any(secret in line for secret in ("db-password", KEY, MASTER))


@pytest.mark.parametrize("more", GOOD)
def test_it_accepts_good_settings_without_asking_an_engine(
    more: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert refusal(monkeypatch, tmp_path, **more) == ""
    assert list(tmp_path.iterdir()) == []  # and makes no keys where engines are given


@pytest.mark.parametrize("program", ["manage.py check", "-m uvicorn sigma.asgi:application"])
def test_it_refuses_to_start(program: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "SIGMA_HOME": str(tmp_path), **OUTSIDE, TOKEN: "too-short"}

    ended = subprocess.run(
        [sys.executable, *program.split()], cwd=ROOT, env=env, text=True, capture_output=True
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "sigma: Platforms.WhatsApp.VerifyToken must have at least 20 characters.\n"
    )


@pytest.mark.parametrize("sink", ["connectors.events.outbox.recrod", "connectors.events.outbox"])
@pytest.mark.parametrize("process", ["sigma.asgi", "sigma.sender", "sigma.ready"])
def test_it_refuses_to_start_where_events_would_be_lost(process: str, sink: str) -> None:
    wrong = f"from sigma import settings; settings.SIGMA_EVENT_SINK = {sink!r}; import {process}"

    ended = subprocess.run([sys.executable, "-c", wrong], cwd=ROOT, text=True, capture_output=True)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"sigma: SIGMA_EVENT_SINK is {sink!r}, which is no function that can be imported. "
        "Name the one that writes events down: connectors.events.outbox.record\n"
    )


@pytest.mark.parametrize("value", ["many", "1.5", "0", "129"])
def test_it_refuses_an_integer_out_of_bounds(value: str) -> None:
    with pytest.raises(InvalidSetting, match="SIGMA_WEB_THREADS must be"):
        Env({"SIGMA_WEB_THREADS": value}).integer("SIGMA_WEB_THREADS", 8, low=1, high=128)


@pytest.mark.parametrize(
    "url", ["", "mysql://h/n", "postgresql://h", "postgresql://[::1/n", "postgresql://h:99999/n"]
)
def test_it_refuses_a_database_url_that_leads_nowhere(url: str) -> None:
    with pytest.raises(InvalidSetting, match="DATABASE_URL must be"):
        database(url)


def test_it_keeps_the_options_of_a_database_url() -> None:
    parsed = database("postgresql://u%40x:p%2F@[::1]:5433/n?sslmode=verify-full&sslcert=/c")
    assert (parsed["USER"], parsed["PASSWORD"], parsed["HOST"]) == ("u@x", "p/", "::1")
    assert parsed["OPTIONS"]["sslmode"] == "verify-full"
    assert parsed["OPTIONS"]["sslcert"] == "/c"


def test_it_reads_a_secret_from_a_file_and_never_from_two_places(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("of the file\n")
    assert Env({"X_FILE": str(file)}).secret("X", least=11) == "of the file"
    for short in ({"X_FILE": str(file)}, {"X": "of the text"}):
        with pytest.raises(InvalidSetting, match="X must have at least 12 characters"):
            Env(short).secret("X", least=12)
    assert Env({}).secret("X", least=12) == ""
    with pytest.raises(InvalidSetting, match="not both"):
        Env({"X": "1", "X_FILE": str(file)}).secret("X")
    with pytest.raises(InvalidSetting, match="X_FILE"):
        Env({"X_FILE": str(tmp_path / "absent")}).secret("X")
