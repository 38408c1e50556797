"""The rules of the tree: imports point down, no cycles, no late imports, pure wire, no twins."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the bottom up: each may import the ones before it, none after it.
LAYERS = ("lib", "workspaces", "templates_wa", "messaging", "connectors", "sigma")
# Values and rules without a database: others may rely on them anywhere.
TEMPLATES = {"button_values", "definitions", "events", "header_values", "parameters", "problems"}
TEMPLATES |= {"drafts", "rendering", "validation"}
SENDING = {"content", "limits", "refusals", "requests"}
WORDS = {"messaging.events", "messaging.statuses", "lib.masking", "lib.numbering"}
WORDS |= {"messaging.states", "messaging.filetypes"}
WORDS |= {"workspaces.channel_errors", "workspaces.channel_facts"}
WORDS |= {f"templates_wa.{n}" for n in TEMPLATES} | {f"messaging.sending.{n}" for n in SENDING}


def modules() -> dict[str, Path]:
    """Return our modules by name; migrations are made by Django's rules, not by these."""
    paths = (path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
    return {name_of(path): path for path in paths if "migrations" not in path.parts}


def name_of(path: Path) -> str:
    """Return the dotted name of a module or package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = modules()
WIRE = {n for n in MODULES if n.startswith("connectors.whatsapp.wire.")}
PURE = WIRE | WORDS


def imported(path: Path) -> Iterator[str]:
    """Yield what a file imports: our modules by their full names, others by their first part."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (resolve(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (resolve(f"{node.module}.{alias.name}") for alias in node.names)


def resolve(name: str) -> str:
    """Return the module that ``name`` is or stands in."""
    if name.split(".")[0] not in LAYERS:
        return name.split(".")[0]
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


IMPORTS = {name: set(imported(path)) - {name} for name, path in MODULES.items()}


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the members of a cycle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def packages(depth: int) -> dict[str, set[str]]:
    """Return the imports between packages: the first ``depth`` parts of each name."""
    graph: dict[str, set[str]] = {}
    for name, targets in IMPORTS.items():
        own = folder(name, depth)
        graph.setdefault(own, set()).update({folder(t, depth) for t in targets} - {own})
    return graph


def folder(name: str, depth: int) -> str:
    """Return the package a module stands in; a module directly in an app is its own."""
    return ".".join(name.split(".")[:depth])


@pytest.mark.parametrize("layer", LAYERS)
def test_it_imports_only_lower_layers(layer: str) -> None:
    above = LAYERS[LAYERS.index(layer) + 1 :]

    assert [
        f"{name} imports {target}"
        for name, targets in IMPORTS.items()
        for target in targets
        if name.split(".")[0] == layer and target.split(".")[0] in above
    ] == []


def test_it_has_no_cycle_between_modules() -> None:
    assert cycle_in(IMPORTS) == []


def test_it_has_no_cycle_between_folders_of_an_app() -> None:
    assert cycle_in(packages(2)) == []


def test_production_runs_without_the_simulator() -> None:
    importers = {
        name
        for name, targets in IMPORTS.items()
        if any(target.startswith("connectors.simulator") for target in targets)
    }
    outside = {name for name in importers if not name.startswith("connectors.simulator")}

    assert outside == set()


def test_the_name_of_a_class_stands_in_one_file() -> None:
    files: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name != "Command":
                files.setdefault(node.name, []).append(module)

    assert {name: found for name, found in files.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", MODULES)
def test_it_imports_nothing_inside_functions(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))

    assert [
        f"line {node.lineno}"
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ] == []


@pytest.mark.parametrize("name", sorted(PURE))
def test_it_keeps_wire_modules_pure(name: str) -> None:
    assert everything_below(name) <= {*sys.stdlib_module_names, "msgspec"} | PURE


def everything_below(name: str) -> set[str]:
    """Return what a module imports, directly or through modules of ours."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        for target in IMPORTS[ahead.pop()] - found:
            found.add(target)
            if target in MODULES:
                ahead.append(target)
    return found


def test_the_time_is_the_databases_wherever_it_is_asked_for() -> None:
    """A host's clock may be wrong; `lib.clock` alone reads it."""
    reads = re.compile(r"timezone\.now\(|\bdatetime\.(?:now|today|utcnow)\(|\bdate\.today\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        if reads.search(path.read_text(encoding="utf-8"))
    }

    assert {f for f in found if not f.startswith("connectors/simulator/")} == {"lib/clock.py"}
