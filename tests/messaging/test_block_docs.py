"""What docs/conversations.md shows of blocking people works as it is printed."""

from __future__ import annotations

import json
import re
import shlex
from datetime import datetime
from pathlib import Path

import pytest

from connectors.simulator.meta.server import RunningSimulator
from messaging.block_requests import BlockErrorCode
from messaging.models import BlockState, Conversation
from messaging.tasks import perform_blocks
from tests.conftest import Cast
from tests.graphql.conftest import Gql, gql
from tests.messaging.test_blocks import at_meta, meta, writes
from tests.sending.conftest import PHONE
from tests.sending.test_rest import ask

__all__ = ["gql", "meta"]

pytestmark = pytest.mark.django_db

SECTION = (
    (Path(__file__).parents[2] / "docs/conversations.md")
    .read_text(encoding="utf-8")
    .partition("## Blocking people\n")[2]
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", SECTION, re.DOTALL)


def test_its_documents_do_what_they_say(
    meta: RunningSimulator, acme: Cast, globex: Cast, gql: Gql, now: datetime
) -> None:
    heard, _ = writes(meta, acme, now), writes(meta, globex, now)
    found = []
    for block in blocks("graphql"):
        document = block.replace("a-contact-uuid", str(heard.contact_id))
        document = document.replace("your-workspace-uuid", str(acme.workspace.id))
        (answer,) = gql(acme, document).data.values()
        assert answer.get("success", True), answer
        found.append(answer)
        strange = gql(globex, document).body
        assert strange.get("errors") or strange["data"].popitem()[1]["errors"]
        perform_blocks()
    assert len(found) == 4
    assert found[1]["nodes"][0]["block"]["state"] == "BLOCKED"
    assert found[3]["blockList"] == {"messagesAMinute": 30}


def test_its_commands_do_what_they_say(
    meta: RunningSimulator, acme: Cast, globex: Cast, now: datetime
) -> None:
    heard, _ = writes(meta, acme, now), writes(meta, globex, now)
    talk = Conversation.objects.get(tenant_id=acme.tenant.id, contact_id=heard.contact_id)
    filled = {"SIGMA": "", "C": str(talk.id), "W": str(acme.workspace.id)}
    done, listed = [], []
    for command in "".join(blocks("sh")).replace("\\\n", "").strip().splitlines():
        for name, value in filled.items():
            command = command.replace(f"'${name}'", value).replace(f"${name}", value)
        words = shlex.split(command)
        path = next(word for word in words if word.startswith("/api/v1/"))
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        method = words[words.index("-X") + 1].lower() if "-X" in words else "post"
        method = "get" if body is None and method == "post" and "-X" not in words else method
        status, answer = ask(acme, path, body, method)
        done.append((status, answer.get("nodes", answer)))
        assert ask(globex, path, body, method)[0] == 404
        perform_blocks()
        listed.append(at_meta(meta, acme))
    assert [status for status, _ in done] == [200] * 6
    assert [one["state"] for one in done[1][1]] == ["BLOCKED"]
    assert listed[:3] == [[PHONE], [PHONE], []]


@pytest.mark.parametrize("word", [*BlockErrorCode, *BlockState])
def test_it_names_every_code_and_state(word: str) -> None:
    assert f"`{word}`" in SECTION
