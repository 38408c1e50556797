"""The documents users hold in their hands, word for word, with only ids and hosts filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cast
from tests.whatsapp.conftest import Web, web

__all__ = ("web",)

BLOCKS = Path(__file__).parent / "blocks"


def block(name: str, **filled: str) -> str:
    """Return a block of the contract with its placeholders replaced; each must be in it."""
    text = (BLOCKS / name).read_text(encoding="utf-8")
    for placeholder, value in filled.items():
        spelled = placeholder.replace("_", "-")
        assert spelled in text, f"{name} has no {spelled}"
        text = text.replace(spelled, value)
    return text


@pytest.fixture
def ask(web: Web):
    """Send a GraphQL document to the running server with the cast's API key."""

    def send(cast: Cast, document: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {cast.api_key}"}
        answer = web.client.post("/graphql", json={"query": document}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    return send
