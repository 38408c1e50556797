"""Settings that cannot work together."""

from __future__ import annotations

import pytest
from django.test import override_settings

from workspaces.checks import check_database_role, check_deployment, check_settings

GOOD = {
    "DEBUG": False,
    "EMBEDDED": False,
    "SIGMA_PUBLIC_URL": "https://sigma.example.org",
    "ALLOWED_HOSTS": ["sigma.example.org"],
    "SIGMA_MASTER_KEYS": (("k1", bytes(32)),),
}


def found(**changed: object) -> list[str]:
    with override_settings(**(GOOD | changed)):
        return [str(message.id) for message in (*check_settings(), *check_deployment())]


def test_it_accepts_a_production_set_up() -> None:
    assert found() == []


def test_it_refuses_debug_pages_on_a_public_address() -> None:
    assert found(DEBUG=True) == ["sigma.E001"]


@pytest.mark.parametrize(
    "url",
    [
        "sigma.example.org",
        "https://",
        "ftp://sigma.example.org",
        "https://sigma.example.org/sub",
        "https://sigma.example.org?x=1",
        "https://someone@sigma.example.org",
    ],
)
def test_it_refuses_an_unusable_public_address(url: str) -> None:
    assert "sigma.E002" in found(SIGMA_PUBLIC_URL=url)


def test_it_misses_the_public_host_among_the_allowed() -> None:
    assert found(ALLOWED_HOSTS=["other.example.org"]) == ["sigma.E003"]
    assert found(ALLOWED_HOSTS=[".example.org"]) == []


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        (
            {"SIGMA_PUBLIC_URL": "http://[::1]:8000", "ALLOWED_HOSTS": ["[::1]"]},
            "sigma.W001",
        ),
        ({"SIGMA_MASTER_KEYS": (("local", bytes(32)),)}, "sigma.W002"),
        ({"ALLOWED_HOSTS": ["*"]}, "sigma.W003"),
    ],
)
def test_it_warns_of_what_is_for_trying_things_only(
    changed: dict[str, object], warning: str
) -> None:
    assert found(**changed) == [warning]


@pytest.mark.django_db
def test_it_says_that_one_role_does_everything() -> None:
    assert [message.id for message in check_database_role(databases=["default"])] == ["sigma.W004"]
    assert check_database_role(databases=None) == []
