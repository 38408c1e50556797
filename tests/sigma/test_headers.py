"""What browsers are told about our pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from django.test import Client

from tests.conftest import Cast
from tests.people import LISTS, list_of, superuser

pytestmark = pytest.mark.django_db
INLINE = re.compile(
    r"<script(?![^>]*(?: src=|application/json))|<[^>]* on[a-z]+=|javascript:", re.I
)


def policy(client: Client, url: str) -> dict[str, str]:
    """Return the directives of a page's policy."""
    found = client.get(url).headers["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in found.split(";"))


def test_it_lets_the_admin_run_scripts_of_ours_alone(acme: Cast, globex: Cast) -> None:
    boss = superuser()

    for url in ("/admin/", "/admin/login/", "/admin/second-factor/", *map(list_of, LISTS)):
        assert policy(boss, url)["script-src"] == "'self' 'unsafe-eval'"
        assert not INLINE.search(boss.get(url).content.decode()), url
    told = policy(boss, "/admin/")
    assert told["default-src"] == told["base-uri"] == told["frame-ancestors"] == "'none'"
    assert told["connect-src"] == told["form-action"] == "'self'"


@pytest.mark.parametrize("url", ["/healthz", "/api/v1/messages/x", "/api/schema", "/nowhere"])
def test_it_lets_answers_for_programs_do_nothing(url: str) -> None:
    told = policy(Client(), url)

    assert set(told.values()) == {"'none'"}


@pytest.mark.parametrize("url", ["/graphql", "/api/docs"])
def test_it_lets_the_pages_of_the_api_run_scripts_of_ours_alone(url: str) -> None:
    page = Client().get(url, headers={"Accept": "text/html"})

    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "camera=()" in page.headers["Permissions-Policy"]


def test_it_names_cookies_so_that_only_this_host_sets_them_over_https() -> None:
    code = (
        "import json; from sigma import settings as s; "
        "print(json.dumps([s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE]))"
    )
    for url, expected in (
        ("https://sigma.example.org", ["__Host-sessionid", "__Host-csrftoken", True]),
        ("http://127.0.0.1:8000", ["sessionid", "csrftoken", False]),
    ):
        env = {"SIGMA_PUBLIC_URL": url, "SIGMA_EMBEDDED": "true", "SIGMA_HOME": "/nonexistent"}
        env |= {"SIGMA_SECRET_KEY": "k" * 50, "SIGMA_MASTER_KEYS": "k1:" + "A" * 43 + "="}
        ended = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert json.loads(ended.stdout) == expected
