"""The documents say all that there is: settings, commands, fields, and no link leads astray."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from graphql import build_schema

from sigma import appsettings
from sigma.graphql.failures import Code
from tests.sigma.commands import names
from workspaces.access import Scope
from workspaces.tokens import EXAMPLES

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TICKS = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.*/-]+\.(?:py|md|yml|toml|sh|in|txt|graphql|example)|[\w.-]+(?:/[\w.-]+)*/")
# Made while the system runs, so not in the repository.
MADE = re.compile(r"\.sigma/.*|postgres/|valkey/|\.venv/")
SECRET = re.compile(r"PASSWORD|SECRET|MASTER|TOKEN|Secret|Token|DATABASE_URL|REDIS_URL")
MACHINE_PATH = re.compile(r"(?<![\w.~)>])/(?:work|home|Users|root)/\w")
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|npmjs|jfrog|crates)\.(?:org|com|io)\b")


def text(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def shown(path: Path) -> str:
    """Return a path as a test's name shows it."""
    return str(path.relative_to(ROOT))


@cache
def tracked() -> tuple[str, ...]:
    """Return the files that git keeps."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a clone")
    found = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return tuple(name for name in found.stdout.decode().split("\0") if name)


def settings_read() -> Iterator[str]:
    """Yield what ``sigma`` reads from the environment: calls like ``env.text("NAME")``."""
    for path in (ROOT / "sigma").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="env"), attr=reader),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    yield name
                    if reader == "secret":
                        yield f"{name}_FILE"
    yield from (appsettings.PREFIX + key for key in sorted(appsettings.KNOWN_KEYS))


def composed() -> set[str]:
    """Return the variables that ``docker-compose.yml`` takes from ``.env``."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text("docker-compose.yml")))


SETTINGS = sorted({*settings_read(), *composed()})


def targets() -> list[str]:
    """Return make's targets."""
    return re.findall(r"^([a-z][a-z-]*):(?!=)", text("Makefile"), re.MULTILINE)


def root_fields() -> list[str]:
    """Return the queries and mutations of the committed schema."""
    schema = build_schema(text("schema.graphql"))
    roots = (schema.query_type, schema.mutation_type)
    return [name for root in roots if root is not None for name in root.fields]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    prose = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def is_there(name: str) -> bool:
    """Tell whether a file or folder that a document names is in the repository, wherever it is."""
    pattern = re.escape(name).replace(r"\*", "[^/]*")
    wanted = re.compile(rf"(?:.*/)?{pattern}" + (".*" if name.endswith("/") else ""))
    return any(wanted.fullmatch(path) for path in tracked())


@pytest.mark.parametrize("name", SETTINGS)
def test_it_explains_every_setting(name: str) -> None:
    assert f"`{name}" in text("docs/configuration.md")


@pytest.mark.parametrize("name", SETTINGS)
def test_it_lists_every_setting_in_the_example(name: str) -> None:
    assert re.search(rf"^#?{name}(?:__<tenant>)?=", text(".env.example"), re.MULTILINE)


def test_it_prints_no_secret_in_the_example() -> None:
    lines = re.findall(r"^#?(\w+)=(.*)$", text(".env.example"), re.MULTILINE)

    assert [name for name, value in lines if value and SECRET.search(name)] == []


def test_it_prints_no_secret_that_would_be_accepted() -> None:
    (block,) = re.findall(r"```json\n(.+?)```", text("docs/configuration.md"), re.DOTALL)
    section = json.loads(block)["Platforms"]["WhatsApp"]

    assert {*section.pop("AppSecrets").values(), *section.values()} <= EXAMPLES


@pytest.mark.parametrize("name", sorted(names()))
def test_it_explains_every_command(name: str) -> None:
    section = text("docs/commands.md").partition(f"### {name}\n")[2]

    assert f"manage.py {name}" in section.partition("\n### ")[0]


@pytest.mark.parametrize("name", targets())
def test_it_explains_every_target(name: str) -> None:
    assert re.search(rf"`make {name}[` ]", text("docs/commands.md"))


@pytest.mark.parametrize("name", root_fields())
def test_it_explains_every_root_field(name: str) -> None:
    assert re.search(rf"`{name}[`(]", text("docs/api.md"))


@pytest.mark.parametrize("word", [*Code, *Scope])
def test_it_explains_every_error_and_scope(word: str) -> None:
    assert f"`{word}`" in text("docs/api.md")


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_its_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=shown)
def test_it_names_only_files_that_exist(path: Path) -> None:
    prose = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    named = {name for name in TICKS.findall(prose) if FILE.fullmatch(name)}

    assert [n for n in sorted(named) if not MADE.fullmatch(n) and not is_there(n)] == []


def test_its_readme_stays_short() -> None:
    assert len(text("README.md").splitlines()) <= 150


@pytest.mark.parametrize("path", DECISIONS, ids=shown)
def test_its_decisions_stay_short(path: Path) -> None:
    said = path.read_text(encoding="utf-8")

    assert len(said.splitlines()) <= 40
    assert re.findall(r"^## (.+)$", said, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_it_mentions_no_machine_and_no_registry() -> None:
    found = []
    for name in tracked():
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" in content:
            continue
        prose = content.decode("utf-8", "replace")
        found += [
            (name, hit[0]) for rule in (MACHINE_PATH, REGISTRY) for hit in rule.finditer(prose)
        ]

    assert found == []
