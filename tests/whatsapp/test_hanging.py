"""A database connection that hangs under a busy loop ends neither the process nor the service."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from django.db import connection

from benchmarks import hanging
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def env(acme: Cast) -> dict[str, str]:
    """What a process of its own needs to reach this test's database."""
    connection.ensure_connection()
    settings, info = connection.settings_dict, connection.connection.info
    user, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    url = f"postgresql://{user}:{password}@{info.host}:{info.port}/{settings['NAME']}"
    return {**os.environ, "DATABASE_URL": url}


def test_it_survives_timers_that_fall_due_together(env: dict[str, str], acme: Cast) -> None:
    arguments = ("--tenant", str(acme.tenant.id), "--coincide", "8")
    assert hanging.rounds(range(1), *arguments, env=env)["ended well"] == 1


def test_it_survives_a_database_that_hangs_delays_and_drops(
    env: dict[str, str], acme: Cast
) -> None:
    arguments = ("--tenant", str(acme.tenant.id), "--seconds", "3")
    seen = hanging.rounds(range(1), *arguments, env=env)
    assert seen["ended well"] == 1
    assert seen["stored"]
