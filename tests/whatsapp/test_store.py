"""The receiver's statement, also where connections of the server change under it, or hang."""

from __future__ import annotations

import asyncio
import os
import resource
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from psycopg import OperationalError
from psycopg.conninfo import make_conninfo

from benchmarks import hanging
from connectors.whatsapp.inbox import DeliveryRow
from connectors.whatsapp.models import WebhookDelivery
from connectors.whatsapp.store import PostgresStore
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)

# Unlike DEALLOCATE itself, the driver does not notice: as behind a pooler in transaction mode.
VANISH = "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"
COUNT = "SELECT count(*) FROM pg_prepared_statements"
HANG = "SELECT pg_sleep(600)"


class Direct(PostgresStore):
    """A store that also runs statements of a test on its connection."""

    async def run(self, statement: str) -> Any:
        line = await self._connected()
        return await line.execute(statement)


def store(*, prepares: bool = True) -> Direct:
    known = connection.get_connection_params()
    texts = {name: value for name, value in known.items() if isinstance(value, str) and value}
    return Direct(conninfo=make_conninfo(**texts), run_sync=asyncio.to_thread, prepares=prepares)


async def commit(one: Direct, cast: Cast) -> None:
    (row_id,) = await one.take_ids(1)
    row = DeliveryRow(row_id, cast.tenant.id, 2, os.urandom(32), b"sealed")
    await one.commit(datetime.now(UTC), [row])


@pytest.fixture(autouse=True)
def _no_raw_left(transactional_db: None):
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE webhook_deliveries")


def test_it_goes_on_where_its_prepared_statement_is_gone(acme: Cast) -> None:
    async def trial() -> None:
        one = store()
        for _ in range(3):
            await commit(one, acme)
            await one.run(VANISH)
        one.abandon()

    asyncio.run(trial())
    assert WebhookDelivery.objects.count() == 3


def test_it_ends_what_hangs_where_no_more_files_can_be_opened(acme: Cast) -> None:
    async def trial() -> None:
        one = store()
        await one.run("SELECT 1")
        hanging = asyncio.create_task(one.run(HANG))
        await asyncio.sleep(0)
        known = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, known[1]))
        try:
            one.abandon()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, known)
        with pytest.raises(OperationalError):
            await hanging

    asyncio.run(trial())
    # The server does not look whether anybody is still there, and would keep the database in use.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = %s", [HANG]
        )
        assert cursor.fetchall() == [(True,)]


@pytest.mark.parametrize("prepares", [True, False])
def test_it_prepares_nothing_behind_a_pooler(acme: Cast, prepares: bool) -> None:
    async def trial() -> int:
        one = store(prepares=prepares)
        for _ in range(7):
            await commit(one, acme)
        (found,) = await (await one.run(COUNT)).fetchone()
        one.abandon()
        return found

    assert bool(asyncio.run(trial())) is prepares


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
