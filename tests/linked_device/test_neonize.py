"""The real library, as far as it goes without WhatsApp: each time in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_wheel = pytest.mark.skipif(
    find_spec("neonize") is None, reason="neonize has no wheel for this platform"
)
_IMPORTS = (ast.Import, ast.ImportFrom)
BEGIN = """
import json, logging, os, sys, threading, time
os.umask(0o077)
from pathlib import Path
from connectors.linked_device import neonize_device, neonize_library as library
from connectors.linked_device.neonize_device import NeonizeDevice
device, events, came = NeonizeDevice(), [], threading.Event()
def listen(event):
    events.append(event)
    came.set()
def error_of(call, *args):
    try:
        return call(*args)
    except Exception as error:
        return type(error).__name__
store = Path(sys.argv[1])
"""
UNREACHABLE = """
facts = {"before": device.account(), "sends": error_of(device.send_text, "447700900001", "Hi")}
device.stop()
device = NeonizeDevice()
device.start(store, listen)
came.wait(60)
print("a number that the library prints")
facts |= {"events": [type(e).__name__ for e in events], "after": device.account()}
other = store.with_name("other.db")
other.write_text("no database")
facts["no database"] = error_of(NeonizeDevice().start, other, listen)
facts["codes"] = error_of(device.pair_code, "447700900001")
neonize_device.STOP_SECONDS = 600.0  # longer than anybody waits for this program
device.stop()
facts |= {"handlers": len(logging.getLogger().handlers)}
sys.stderr.write(json.dumps(facts))
"""
DRIVEN = """
pb = library.pb
class Scripted:  # what stands behind the library's client
    me = pb.Device(JID=pb.JID(User="447700900123", Server="s.whatsapp.net", RawAgent=0, Device=1,
        Integrator=0), Platform="android", BussinessName="", PushName="Shop", Initialized=True)
    asked, named = 0, None
    def is_on_whatsapp(self, number):
        self.asked += 1
        there = number != "+447700900002"
        jid = pb.JID(User=number[1:], Server="s.whatsapp.net", RawAgent=0, Device=0, Integrator=0)
        return [pb.IsOnWhatsAppResponse(Query=number, JID=jid, IsIn=there)]
    def send_message(self, jid, content):
        if content.conversation == "late":
            raise library.client.SendMessageError("timed out waiting for message send response")
        return pb.SendResponse(ID="3EB0" + jid.User)
    def PairPhone(self, number, push, client_name, client_type):
        self.named = f"{client_type.name} ({client_name.name})"
        return "ABCD-1234"
device._client, device._listen = Scripted(), listen
for _ in range(2):
    device._guarded(device._show, b"2@code")
facts = {"code": device.pair_code("447700900123"), "name": device._client.named}
device._guarded(device._handle, pb.Connected(status=True))
facts["account"] = [device.account().number, device.account().platform]
facts["sent"] = [device.send_text("447700900001", "Hi").message_id for _ in range(2)][0]
facts["asked"] = device._client.asked
facts["late"] = error_of(device.send_text, "447700900001", "late")
neonize_device.LOOK_UP_SECONDS = -1  # whatever it takes is too long
facts["slow"] = error_of(device.send_text, "447700900003", "Hi")
neonize_device.LOOK_UP_SECONDS = 20
facts["then"] = device.send_text("447700900003", "Hi").message_id
facts["nobody"] = error_of(device.send_text, "447700900002", "Hi")
quiet = library.Quiet()
quiet.on_limit = lambda: device._report(library_limit())
def library_limit():
    from connectors.linked_device.events import RateLimited
    return RateLimited()
library.take_logs(quiet)
logging.getLogger("whatsmeow.Client").warning(
    "Unknown connect failure: <failure reason=\\"429\\" to=\\"447700900123@s.whatsapp.net\\"/>")
device._guarded(device._handle, pb.Disconnected(status=True))
facts["gone"] = error_of(device.send_text, "447700900001", "Hi")
facts["seconds"] = [e.seconds for e in events[:2]]
facts["events"] = [type(e).__name__ for e in events]
import magic
facts["magic"] = error_of(magic.from_buffer, b"")
sys.stderr.write("\\n" + json.dumps(facts))
"""


def environment(proxy: str) -> dict[str, str]:
    """Return one in which nothing leaves the machine."""
    mine = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return {**mine, "HTTPS_PROXY": proxy, "https_proxy": proxy, "PYTHONPATH": str(ROOT)}


def run(script: str, *args: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with nothing to connect to."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, args)],
        env={**environment("http://127.0.0.1:9"), **extra},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def facts_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what a script found out."""
    assert done.returncode == 0, done.stderr[-600:]
    assert done.stdout == ""
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    return found


@pytest.fixture
def black_hole() -> Iterator[socket.socket]:
    """A proxy that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@needs_wheel
def test_it_says_that_whatsapp_cannot_be_reached_lives_on_and_stops_by_itself(
    tmp_path: Path,
) -> None:
    store = tmp_path / "whatsapp.db"
    facts = facts_of(run(BEGIN + UNREACHABLE, store))

    assert facts["events"] == ["ConnectFailed"]
    assert (facts["before"], facts["after"], facts["handlers"]) == (None, None, 0)
    assert (facts["sends"], facts["codes"]) == ("Unavailable", "Unavailable")
    assert facts["no database"] == "OSError"
    assert store.stat().st_mode & 0o777 == 0o600
    assert tables(store) >= {"whatsmeow_device", "whatsmeow_sessions"}


@needs_wheel
def test_it_drives_the_library_with_care_and_without_libmagic(tmp_path: Path) -> None:
    (tmp_path / "magic.py").write_text("raise ImportError('failed to find libmagic')")
    done = run(BEGIN + DRIVEN, tmp_path / "whatsapp.db", PYTHONPATH=f"{tmp_path}:{ROOT}")
    facts = facts_of(done)

    assert facts == {
        "code": "ABCD-1234",
        "name": "Chrome (Linux)",
        "account": ["447700900123", "android"],
        "sent": "3EB0447700900001",
        "asked": 1,
        "late": "OutcomeUnknown",
        "nobody": "Rejected",
        "slow": "Unavailable",
        "then": "3EB0447700900003",
        "gone": "Unavailable",
        "seconds": [60.0, 20.0],
        "magic": "NoLibmagic",
        "events": ["QrShown", "QrShown", "Connected", "RateLimited", "Disconnected"],
    }
    assert "447700900123@" not in done.stderr


@needs_wheel
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_it_leaves_a_usable_store_when_it_is_killed_while_it_connects(
    tmp_path: Path, black_hole: socket.socket, ending: signal.Signals
) -> None:
    store = tmp_path / "whatsapp.db"
    proxy = f"http://127.0.0.1:{black_hole.getsockname()[1]}"
    child = subprocess.Popen(
        [sys.executable, "-c", BEGIN + "device.start(store, listen); time.sleep(30)", str(store)],
        env=environment(proxy),
        start_new_session=True,
    )
    dialled, _ = black_hole.accept()

    child.send_signal(ending)

    assert child.wait(120) == -ending
    dialled.close()
    assert running_in(child.pid) == []
    assert "whatsmeow_device" in tables(store)


def test_it_says_what_to_install_where_the_extra_is_missing(tmp_path: Path) -> None:
    (tmp_path / "neonize.py").write_text("raise ModuleNotFoundError(\"No module named 'neonize'\")")

    done = run("import connectors.linked_device.neonize_device", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "ImportError: Linked devices need requirements-linked.txt: No module" in done.stderr


def test_it_stays_out_of_every_other_process() -> None:
    modules = ["sigma.asgi", "sigma.celery", "sigma.sender", "connectors.linked_device.supervisor"]
    modules += ["connectors.linked_device.process", "connectors.simulator.device", "sigma.urls"]
    script = f"""
import importlib, sys
import django; django.setup()
for name in {modules}: importlib.import_module(name)
sys.exit(", ".join(n for n in sys.modules if n.startswith(("neonize", "magic", "google.proto"))))
"""
    done = run(script, DJANGO_SETTINGS_MODULE="sigma.settings")

    assert done.stderr[-400:] == "\n"


def test_nothing_but_its_own_modules_names_it() -> None:
    ours = [
        p
        for app in ("sigma", "connectors", "messaging", "workspaces")
        for p in (ROOT / app).rglob("*.py")
    ]
    naming = {path.name for path in ours if "neonize" in path.read_text() and imports_it(path)}

    assert naming == {"neonize_device.py"}


def imports_it(path: Path) -> bool:
    """Tell whether a module imports the library, or one of those around it."""
    nodes = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, _IMPORTS))
    return any("neonize" in ast.unparse(node) for node in nodes)


def running_in(group: int) -> list[str]:
    """Return the states of what still runs in a group of processes, where the system is Linux."""
    facts = (
        path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")
    )
    return [fields[0] for fields in facts if int(fields[2]) == group and fields[0] != "Z"]


def tables(store: Path) -> set[str]:
    """Return the tables of a store that can be read."""
    with sqlite3.connect(store) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
