"""Structs are known to msgspec before threads read into them, in every process."""

from __future__ import annotations

import ast
import builtins
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lib import structs
from tests.test_architecture import LAYERS

ROOT = Path(__file__).resolve().parents[2]
# How each process comes to life, as far as that goes without a database.
STARTS = {
    "web": "import sigma.asgi",
    "worker": "from sigma.celery import app; app.Worker(pool='solo', queues=['ingest'])",
    "sender": "import sigma.sender",
    "session": """
import sigma.ready, uuid
from connectors.linked_device import process
process.run(uuid.uuid4())
""",
}
SPY = """
import lib.structs as structs
warmed, warm = set(), structs.warm
structs.warm = lambda: warmed.update(warm())
"""
LATE = """
from django.conf import settings
from django.utils.module_loading import import_string
for path in settings.SIGMA_CHANNELS.values():
    import_string(path)
forgotten = warm() - warmed
assert warmed and not forgotten, forgotten
"""
# The reproduction of the crash, with classes that nobody has read into before in each round.
RACE = """
import importlib, sys, threading, msgspec, uuid
import messaging.sending.requests, messaging.sending.reading, templates_wa.parameters
modules = templates_wa.parameters, messaging.sending.requests, messaging.sending.reading
card = {"name": {"formatted_name": "A"}, "phones": [{"phone": "1"}], "org": {"company": "C"}}
rows = {"button": "b", "sections": [{"rows": [{"id": "1", "title": "t"}]}]}
given = {
    "workspace_id": str(uuid.uuid4()), "contacts": [card, card],
    "interactive": {"list": rows, "header": {"media": {"kind": "image", "id": "1"}}},
    "template_parameters": {"positional": ["a"], "buttons": [], "cards": [{"positional": ["b"]}]},
}

def read(struct):
    barrier.wait()
    assert msgspec.convert(given, struct).contacts

sys.setswitchinterval(1e-6)
for _ in range(ROUNDS):
    for module in modules:
        importlib.reload(module)
    WARM
    barrier = threading.Barrier(8)
    struct = messaging.sending.reading.SendInput
    threads = [threading.Thread(target=read, args=(struct,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def run(*parts: str) -> None:
    """Run a program in a process of its own: what it may break is the process."""
    env = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(parts)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2_000:])


@pytest.mark.parametrize("process", STARTS)
def test_it_has_warmed_every_struct_that_a_process_can_read(process: str) -> None:
    run(SPY, STARTS[process], LATE)


def test_it_survives_eight_threads_that_read_into_a_warm_struct_at_once() -> None:
    run(SPY, "import sigma.ready", RACE.replace("ROUNDS", "100").replace("WARM", "warm()"))


def typed_reads() -> Iterator[tuple[str, str]]:
    """Yield (module, name of a type) of every call that reads into a type by msgspec."""
    for path in sorted(file for layer in LAYERS for file in (ROOT / layer).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("msgspec."):
                for name in _types_in(call):
                    yield module, name


def _types_in(call: ast.Call) -> Iterator[str]:
    is_typed = ast.unparse(call.func) in ("msgspec.convert", "msgspec.json.Decoder")
    given = [*call.args[-1:]] if is_typed else []
    given += [keyword.value for keyword in call.keywords if keyword.arg == "type"]
    parts = (part for argument in given for part in _alternatives(argument))
    names = (part.id for part in parts if isinstance(part, ast.Name))
    yield from (name for name in names if name != "struct")  # whatever is loaded: warm() itself


def _alternatives(argument: ast.expr) -> list[ast.expr]:
    return [argument.left, argument.right] if isinstance(argument, ast.BinOp) else [argument]


@pytest.mark.parametrize(("module", "name"), sorted(set(typed_reads())))
def test_it_reads_only_into_structs_that_are_there_when_the_module_is(
    module: str, name: str
) -> None:
    known = {**vars(builtins), **vars(importlib.import_module(module))}
    assert name in known, f"{module} reads into {name}, which it makes later than at its import"
    assert known[name] in structs.warm() or not issubclass(known[name], msgspec.Struct)
