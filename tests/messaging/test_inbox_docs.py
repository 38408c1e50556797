"""The blocks about conversations and contacts run as they are written; only ids are filled in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from messaging.models import Conversation
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_graphql_conversations import talk
from tests.messaging.test_inbox import knows
from tests.whatsapp.conftest import Web, serving, web

__all__ = ["gql", "serving", "web"]

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "conversations.md").read_text(encoding="utf-8")
# The others have tests of their own.
SECTIONS = [
    section
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)
    if section.startswith(("Conversations\n", "Contacts\n", "Opt-outs\n"))
]
BLOCKS = re.findall(r"```(graphql|sh)\n(.+?)```", "".join(SECTIONS), re.DOTALL)
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
IN_API = re.findall(r"### contact\n\n```graphql\n(.+?)```", API, re.DOTALL)


@pytest.fixture
def two(acme: Cast, globex: Cast) -> list[Conversation]:
    """Two conversations of acme's, and somebody whom both tenants know by the number."""
    for cast in (acme, globex):
        knows(cast)
    talk(globex, "Gil")
    return [talk(acme, "Ann"), talk(acme, "Bob", 3)]


def test_the_documents_run(gql: Gql, acme: Cast, two: list[Conversation]) -> None:
    documents = [block for kind, block in BLOCKS if kind == "graphql"] + IN_API
    filled = {
        "your-workspace-uuid": acme.workspace.id,
        "a-conversation-uuid": two[0].id,
        "another-conversation-uuid": two[1].id,
    }
    assert len(documents) == 5
    for document in documents:
        for placeholder, value in filled.items():
            document = document.replace(placeholder, str(value))
        (found,) = gql(acme, document).data.values()
        assert found


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl or no jq")
def test_the_shell_knows_what_the_commands_take(
    web: Web, acme: Cast, two: list[Conversation], tmp_path: Path
) -> None:
    (block,) = re.findall(r"## Commands of these pages\n.+?```sh\n(.+?)```", API, re.DOTALL)
    base_url = f"http://127.0.0.1:{web.port}"
    demo = {"base_url": base_url, "api_key": acme.api_key, "workspace_id": str(acme.workspace.id)}
    (tmp_path / ".sigma").mkdir()
    (tmp_path / ".sigma" / "demo.json").write_text(json.dumps(demo))

    told = subprocess.run(
        ["/bin/sh", "-c", f'{block}\necho "$SIGMA $KEY $W $C"'],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )

    assert told.stdout.split() == [*demo.values(), str(two[1].id)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_commands_run(web: Web, acme: Cast, two: list[Conversation]) -> None:
    commands = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
    given = {
        "SIGMA": f"http://127.0.0.1:{web.port}",
        "KEY": acme.api_key,
        "W": str(acme.workspace.id),
        "C": str(two[0].id),
        "OTHER": str(two[1].id),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }

    answers = []
    for command in commands:
        told = subprocess.run(
            ["/bin/sh", "-c", command], env=given, capture_output=True, check=True
        )
        answers.append(json.loads(told.stdout))

    page, one, some, contact, out, everybody, back = answers
    assert [node["id"] for node in page["nodes"]] == [str(two[1].id), str(two[0].id)]
    assert one["id"] == str(two[0].id)
    assert [node["id"] for node in some["nodes"]] == [str(two[0].id), str(two[1].id)]
    assert contact["contact"]["display_name"] == "Ann"
    assert (out["opted_out"], back["opted_out"]) == (True, False)
    assert [node["contact"] for node in everybody["nodes"]] == [out]
