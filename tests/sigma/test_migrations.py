"""The migrations on a database of their own: to their end, to nothing, and to the end again; and on
data of a form that they cannot change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from pytest_django.plugin import DjangoDbBlocker

from sigma import door
from sigma.engines import postgres
from tests.sigma.commands import is_ours
from tests.sigma.test_up import free_port

ALIAS = "migrated"
MADE = """
SELECT 'relation', oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'policy', tablename || '.' || policyname FROM pg_policies
UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname FROM pg_trigger
WHERE NOT tgisinternal
"""


@pytest.fixture
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of an empty database beside the tests' own, which Django knows as ``ALIAS``."""
    name = f"migrated_{connection.settings_dict['NAME']}"
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
        connections.databases[ALIAS] = {**connection.settings_dict, "NAME": name}
        yield name
        connections[ALIAS].close()
        del connections.databases[ALIAS]
        cursor.execute(f"DROP DATABASE {name}")


def made() -> set[tuple[str, str]]:
    """Return what is in the database, by kind and name."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(MADE)
        return set(cursor.fetchall())


def test_they_go_to_their_end_and_back(database: str) -> None:
    ours = [app.label for app in apps.get_app_configs() if is_ours(app.name) and app.models_module]
    call_command("migrate", database=ALIAS, verbosity=0)
    whole = made()

    for label in ours:
        call_command("migrate", label, "zero", database=ALIAS, verbosity=0)
    left = made()
    call_command("migrate", database=ALIAS, verbosity=0)

    assert {name for _, name in left if not name.startswith(("auth_", "django_"))} == set()
    assert made() == whole


BEFORE = """
CREATE TABLE django_migrations (id serial, app text, name text, applied timestamptz);
INSERT INTO django_migrations (app, name) VALUES ('connectors', '0001_initial');
"""
SAID = "no migration leads from there"


def run(*command: str, stdin: int | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ours to its end; without a terminal unless ``stdin`` is one. It counts in a
    folder of its own: a start forgets what was counted before.
    """
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        env={**os.environ, "SIGMA_METRICS_FOLDER": "", **env},
    )


@pytest.mark.parametrize("command", [("migrate",), ("create_demo", "--migrate")])
def test_it_says_in_one_line_that_data_are_of_another_form(
    database: str, django_db_blocker: DjangoDbBlocker, command: tuple[str, ...]
) -> None:
    with django_db_blocker.unblock(), connections[ALIAS].cursor() as cursor:
        cursor.execute(BEFORE)
        had = made()
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database}").geturl()

        ended = run("manage.py", *command, DATABASE_URL=url)

        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.count("\n") == 1
        assert SAID in ended.stderr
        assert "make fresh" in ended.stderr
        assert made() == had


@pytest.fixture
def home_from_before(tmp_path: Path) -> Path:
    """A folder of ``make up`` whose database another form's migrations made."""
    home = tmp_path / "home"
    engine = postgres.prepare(home, durable=False)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(engine.command(), stdout=log, stderr=log)
    try:
        while not engine.answers():
            assert process.poll() is None
            time.sleep(0.05)
        with psycopg.connect(engine.url) as before:
            before.execute(BEFORE)
    finally:
        process.send_signal(engine.stop_signal)
        process.wait()
    (home / "sender").mkdir()
    (home / "master.key").write_text("kept")
    return home


def test_it_begins_anew_once_somebody_said_so(home_from_before: Path) -> None:
    home = home_from_before
    data = postgres.data_folder(home) / "postgres"
    embedded = {"SIGMA_HOME": str(home), "DATABASE_URL": ""}
    ports = ("--port", str(free_port()), "--sender-port", str(free_port()))

    refused = run("-m", "sigma.up", *ports, **embedded)
    unasked = run("-m", "sigma.fresh", **embedded)
    outside = run("-m", "sigma.fresh", "--yes", SIGMA_HOME=str(home))
    unsure = asked("no", **embedded)
    with door.only_one(home):
        beside = run("-m", "sigma.fresh", "--yes", **embedded)

    said = (SAID, "make fresh YES=1", "DROP SCHEMA public", "Nothing was removed.", "running on")
    for ended, words in zip((refused, unasked, outside, unsure, beside), said, strict=True):
        assert ended.returncode == 1
        assert [line for line in ended.stdout.splitlines() if "✗" in line and words in line]
    assert data.is_dir()

    assert asked("yes", **embedded).returncode == 0
    assert not data.exists()
    assert {path.name for path in home.iterdir()} & {"sender", "master.key"} == {"master.key"}
    assert run("-m", "sigma.fresh", "--yes", **embedded).stdout.startswith("There are no data in")


def asked(answer: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Answer the question of ``make fresh`` at a terminal."""
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    try:
        return run("-m", "sigma.fresh", stdin=theirs, **env)
    finally:
        os.close(theirs)
        os.close(ours)
