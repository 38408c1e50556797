"""An engine that goes away ends a command with one sentence and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from django.db import InterfaceError, connection

from connectors.whatsapp.processing import process_batch
from lib import wakeups
from manage import main
from sigma.management.commands import rotate_master_key
from tests.conftest import Cast
from tests.sigma.commands import parsers
from tests.whatsapp.deliveries import callback, deliver, text
from tests.whatsapp.trouble import NUMBER, places
from workspaces import provisioning

pytestmark = pytest.mark.django_db(transaction=True)

# Every command that asks the database, as it is called.
CALLS = {
    "check_tenant": "acme",
    "create_demo": "--base-url http://127.0.0.1:1",
    "create_tenant": "--slug initech --name Initech",
    "erase_contact": "acme +27820001000 --yes",
    "issue_api_key": "acme --name CRM",
    "ledger": "--verify",
    "media": "",
    "migrate": "",
    "privacy_check": "",
    "purge": "--now",
    "purge-tenant": "acme --yes",
    "read_inner_keys": "",
    "replay": "",
    "reset_second_factor": "ada",
    "rotate_master_key": "",
    "sender add": "--tenant acme --name Desk",
    "sender backup": "",
    "sender clear": "--yes",
    "sender monitor": "--no-service",
    "sender pair": "",
    "sender restart": "",
    "sender restore": "--yes",
    "sender start": "",
    "sender stats": "",
    "sender status": "",
    "sender stop": "",
    "sending resume": "acme",
    "sending status": "",
    "simulate inbound": "--count 1 --tenant acme",
    "sync_numbers": "",
    "sync_templates": "",
    "tenant_role": "acme --remove",
}
# They wait until it is back; the simulator asks none.
GO_ON = {"sender host", "sender session", "simulate meta"}
# Documented as others than 1, and in words of its own.
EXITS = {"privacy_check": 2}
SAYS = {"sender monitor": "ERROR: The database does not answer."}


def test_all_commands_are_tried() -> None:
    assert parsers().keys() == CALLS.keys() | GO_ON


@contextmanager
def database_that_goes_away(after: int) -> Iterator[None]:
    """Let the server end our connection before a statement, and take no other."""
    number, place = count(), dict(connection.settings_dict)
    execute = psycopg.Cursor.execute

    def end(cursor: Any, *statement: Any, **named: Any) -> Any:
        if next(number) == after:
            info = cursor.connection.info
            with psycopg.connect(info.dsn, password=place["PASSWORD"]) as own:
                own.execute("SELECT pg_terminate_backend(%s)", [info.backend_pid])
            connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
        return execute(cursor, *statement, **named)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg.Cursor, "execute", end)
            yield
    finally:
        connection.settings_dict |= place
        connection.close()


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """Run ``manage.py`` and return what the process would end with."""
    monkeypatch.setattr(sys, "argv", ["manage.py", *words])
    try:
        main()
    except SystemExit as ended:
        return ended.code
    return None


@pytest.mark.parametrize("after", [0, 1, 4, 12])
@pytest.mark.parametrize("name", CALLS)
def test_a_database_that_goes_away_is_one_sentence(
    acme: Cast,
    globex: Cast,
    name: str,
    after: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with database_that_goes_away(after):
        code = call(monkeypatch, *name.split(), *CALLS[name].split())
        is_away = connection.settings_dict["PORT"] == "1"
    told = capfd.readouterr()
    said = f"{told.out}{told.err}{code if isinstance(code, str) else ''}"
    assert "Traceback" not in said
    if is_away:
        assert SAYS.get(name, "The database cannot be used: ") in said
        assert EXITS.get(name, 1) == (1 if isinstance(code, str) else code)
    else:
        assert after > 0


def test_a_cursor_that_we_closed_is_no_engine_that_is_away(
    acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use_closed(*_: object, **__: object) -> None:
        with connection.cursor() as cursor:
            pass
        cursor.execute("SELECT 1")

    monkeypatch.setattr(rotate_master_key.Command, "handle", use_closed)

    with pytest.raises(InterfaceError, match="the cursor is closed"):
        call(monkeypatch, "rotate_master_key")


@pytest.mark.parametrize("name", CALLS)
def test_no_command_needs_the_broker(
    acme: Cast,
    globex: Cast,
    name: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    wakeups.broker.cache_clear()
    try:
        call(monkeypatch, *name.split(), *CALLS[name].split())
    finally:
        wakeups.broker.cache_clear()
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err


@pytest.mark.parametrize("after", [5, 20, 40])
def test_a_replay_that_was_cut_off_is_run_again(
    acme: Cast, globex: Cast, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    casts = {cast.tenant.id: f"{NUMBER}{place}" for place, cast in enumerate((acme, globex))}
    for tenant_id, number in casts.items():
        for name in "ABC":
            deliver(tenant_id, callback(number, messages=[text(f"wamid.{name}")]))
    process_batch(10)
    for tenant_id, number in casts.items():
        provisioning.create_workspace(tenant_id=tenant_id, name="New", external_id=number)

    with database_that_goes_away(after):
        cut = call(monkeypatch, "replay")
    processed = [places(tenant_id)[0] for tenant_id in casts]

    assert str(cut).startswith("sigma: The database cannot be used: ")
    assert sum(processed) < 6
    assert [sum(places(tenant_id)) for tenant_id in casts] == [3, 3]
    assert call(monkeypatch, "replay") is None
    assert [places(tenant_id) for tenant_id in casts] == [(3, 0, 0), (3, 0, 0)]
