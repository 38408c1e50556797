"""Files of the pages: whole, once in memory, and not sent again to who has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

NAME = "graphiql/page.js"


@pytest.fixture
def content() -> bytes:
    """What stands in the file."""
    return Path(str(finders.find(NAME))).read_bytes()


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-3"}])
def test_it_answers_with_the_whole_file(content: bytes, headers: dict[str, str]) -> None:
    answer = Client().get(f"/static/{NAME}", headers=headers)

    assert (answer.status_code, answer.content) == (200, content)
    assert answer["Content-Type"].startswith("text/javascript")


def test_it_sends_nothing_to_who_has_the_file_or_asks_for_its_headers(content: bytes) -> None:
    client = Client()
    known = {"If-Modified-Since": client.get(f"/static/{NAME}")["Last-Modified"]}

    again, head = client.get(f"/static/{NAME}", headers=known), client.head(f"/static/{NAME}")

    assert (again.status_code, again.getvalue()) == (304, b"")
    assert (head.status_code, head.getvalue()) == (200, b"")
    assert head["Content-Length"] == str(len(content))


def test_it_knows_no_other_file() -> None:
    assert Client().get("/static/../settings.py").status_code == 404
