"""The documentation shows what was promised, word for word, and no secret that would work."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigma import appsettings
from sigma.env import InvalidSetting
from tests.contract.conftest import BLOCKS

DOCS = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def documentation() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCS)


@pytest.mark.parametrize(
    "name",
    [
        "appsettings.json",
        "create_workspace.graphql",
        "create_workspace.sql",
        "messages.graphql",
        "messages.sql",
        "send_template.graphql",
        "sender.txt",
    ],
)
def test_it_shows_the_contract_word_for_word(name: str, documentation: str) -> None:
    assert (BLOCKS / name).read_text(encoding="utf-8").strip() in documentation


def test_it_refuses_the_file_as_it_is_printed() -> None:
    with pytest.raises(InvalidSetting, match="example from the documentation"):
        appsettings.load(BLOCKS / "appsettings.json", {})
