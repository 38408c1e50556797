"""What docs/conversations.md shows of handling conversations works as it is printed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from messaging.desk import DeskErrorCode
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_desk import label, talk
from tests.sending.test_rest import ask

__all__ = ["gql"]

pytestmark = pytest.mark.django_db

SECTION = (
    (Path(__file__).parents[2] / "docs/conversations.md")
    .read_text(encoding="utf-8")
    .partition("## Handling conversations\n")[2]
    .partition("\n## ")[0]
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", SECTION, re.DOTALL)


def test_its_mutations_do_what_they_say(acme: Cast, globex: Cast, gql: Gql) -> None:
    ours, mine = talk(acme), label(acme)
    talk(globex)
    for block in blocks("graphql"):
        document = block.replace("your-conversation-uuid", str(ours.id))
        document = document.replace("your-label-uuid", mine)
        document = document.replace("your-workspace-uuid", str(acme.workspace.id))
        (answer,) = gql(acme, document).data.values()
        assert answer["success"], answer
        assert gql(globex, document).data.popitem()[1]["errors"]


def test_its_commands_do_what_they_say(acme: Cast, globex: Cast) -> None:
    ours = talk(acme)
    talk(globex)
    filled = {"SIGMA": "", "C": str(ours.id), "W": str(acme.workspace.id)}
    done = []
    for command in "".join(blocks("sh")).replace("\\\n", "").strip().splitlines():
        for name, value in filled.items():
            command = command.replace(f"${name}", value)
        words = shlex.split(command)
        path = next(word for word in words if word.startswith("/api/v1/"))
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        method = "patch" if "PATCH" in words else "get" if body is None else "post"
        done.append(ask(acme, path, body, method)[0])
        if str(ours.id) in path:
            assert ask(globex, path, body, method)[0] == 404
    assert done == [201, 200, 201, 200, 201, 200]


@pytest.mark.parametrize("code", DeskErrorCode)
def test_it_names_every_code(code: DeskErrorCode) -> None:
    assert f"`{code}`" in SECTION
