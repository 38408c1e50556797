"""The migrations on a database of their own: to their end, to nothing, and to the end again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections
from pytest_django.plugin import DjangoDbBlocker

from tests.sigma.commands import is_ours

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
