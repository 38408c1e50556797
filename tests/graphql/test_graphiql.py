"""GraphiQL comes from this server alone."""

from __future__ import annotations

import re

from django.contrib.staticfiles import finders
from django.test import Client

FILES = {
    "graphiql.min.css",
    "graphiql.min.js",
    "page.css",
    "page.js",
    "react.production.min.js",
    "react-dom.production.min.js",
}


def test_it_needs_no_other_server() -> None:
    page = Client().get("/graphql", headers={"Accept": "text/html,*/*;q=0.8"})
    text = page.content.decode()

    assert page.status_code == 200
    assert "//" not in re.sub(r"^<!.*", "", text)
    found = set(re.findall(r"/static/graphiql/([\w.-]+)", text))
    assert found == FILES
    assert all(finders.find(f"graphiql/{name}") for name in found)


def test_it_runs_no_inline_script() -> None:
    page = Client().get("/graphql", headers={"Accept": "text/html"})

    assert "script-src 'self';" in page["Content-Security-Policy"]
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert not re.search(r"<script>|\son\w+=", page.content.decode())


def test_it_hands_out_the_csrf_token_its_requests_need() -> None:
    client = Client()

    client.get("/graphql", headers={"Accept": "text/html"})

    assert client.cookies["csrftoken"].value
