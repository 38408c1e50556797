"""A tenant's analyst logs in to the database, and finds that tenant's rows whatever they try."""

from __future__ import annotations

import io
import json
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from sigma import erasure, readers
from tests.anything import with_tenants
from tests.conftest import Cast
from tests.sigma.test_erasure import fill
from tests.workspaces.test_isolation import run
from workspaces import roles
from workspaces.acting import APPLICATION_ROLE, TENANT_ROLE
from workspaces.models import Tenant, TenantStatus

pytestmark = pytest.mark.django_db(transaction=True)

# What no analyst reads: keys, secrets and who has them, sealed callbacks and requests, work that
# waits, digests of people, the state of devices.
OUT_OF_REACH = {
    "api_keys",
    "archive_fetches",
    "contact_identities",
    "conversation_notes",
    "event_subscriptions",
    "memberships",
    "message_words",
    "message_words_pending",
    "outbox",
    "person_erasures",
    "portfolio_recipients",
    "raw_keys",
    "read_marks",
    "sender_sessions",
    "sending_policies",
    "session_leases",
    "template_examples",
    "template_syncs",
    "tenant_keys",
    "tenant_secrets",
    "token_checks",
    "upload_handles",
    "uploads",
    "webhook_dead",
    "webhook_deliveries",
    "webhook_pending",
}
# The last is what a driver says of a statement without a result, which then did something.
REFUSED = "permission denied|must be owner|read-only|didn't produce"
Ask = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def login(acme: Cast, globex: Cast) -> Iterator[dict[str, str]]:
    """Make the roles of both tenants, and let acme's log in."""
    roles.secure()
    for cast in (acme, globex):
        fill(cast)
        call_command("tenant_role", cast.tenant.slug, stdout=io.StringIO(), stderr=io.StringIO())
    role, password = readers.name_of(acme.tenant.id), secrets.token_urlsafe(24)
    run(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'")
    yield {"user": role, "password": password}
    for cast in (acme, globex):
        readers.remove(cast.tenant.id)


@pytest.fixture
def ask(login: dict[str, str]) -> Iterator[Ask]:
    """Ask as acme's analyst, over a connection of their own."""
    with connect(login) as own:
        own.autocommit = True
        yield lambda statement: own.execute(statement).fetchall()


def connect(login: dict[str, str]) -> psycopg.Connection:
    known = connection.settings_dict
    return psycopg.connect(host=known["HOST"], port=known["PORT"], dbname=known["NAME"], **login)


def column_of(table: str) -> str:
    return "id" if table == "tenants" else "tenant_id"


def test_it_reads_its_tenants_rows_and_no_others(ask: Ask, acme: Cast, globex: Cast) -> None:
    for table in readers.READABLE:
        tenants = f"SELECT DISTINCT {column_of(table)} FROM {table}"  # noqa: S608
        assert len(run(tenants)) > 1, table
        assert ask(tenants) == [(acme.tenant.id,)], table


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT set_config('sigma.tenant_id', '{other}', false)",
        "SELECT set_config('sigma.tenant_id', '', false)",
        f"SET ROLE {TENANT_ROLE}",
        f"SET ROLE {APPLICATION_ROLE}",
        "SET ROLE {others_role}",
        "SET ROLE {owner}",
        "SET SESSION AUTHORIZATION {owner}",
        "RESET ROLE",
        "SET row_security = off",
        "SET default_transaction_read_only = off",
        "UPDATE messages SET tenant_id = '{mine}'",
        "INSERT INTO contacts (tenant_id) VALUES ('{other}')",
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
        "DROP POLICY {role} ON messages",
        "CREATE POLICY more ON messages TO {role} USING (true)",
        "GRANT {others_role} TO {role}",
        "ALTER ROLE {role} BYPASSRLS",
        "SELECT forget_tenant_role('{other}')",
        "SELECT drop_raw_partition(current_date)",
        "SELECT number_in_use('{mine}', 5, '200000000000002')",
    ],
)
def test_whatever_it_tries_it_finds_nothing_of_others(
    ask: Ask, login: dict[str, str], acme: Cast, globex: Cast, attempt: str
) -> None:
    owner = connection.settings_dict["USER"]
    names = {"mine": acme.tenant.id, "other": globex.tenant.id, "owner": owner}
    mine, others = login["user"], readers.name_of(globex.tenant.id)
    before = run("SELECT count(*) FROM messages")
    try:
        ask(attempt.format(**names, role=mine, others_role=others))
    except psycopg.Error as error:
        assert re.search(REFUSED, str(error)), error

    for table in readers.READABLE:
        try:
            seen = ask(f"SELECT DISTINCT {column_of(table)} FROM {table}")  # noqa: S608
        except psycopg.errors.InsufficientPrivilege:  # row_security = off is an error
            continue
        assert seen in ([(acme.tenant.id,)], []), table
    assert run("SELECT count(*) FROM messages") == before


def test_it_reaches_no_secret_and_no_key(ask: Ask) -> None:
    for table in sorted(OUT_OF_REACH):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(f"SELECT FROM {table}")


def test_somebody_decides_of_each_table_whether_analysts_read_it() -> None:
    tables = {model._meta.db_table for model in with_tenants()} | {"tenants"}
    assert {*readers.READABLE} | OUT_OF_REACH == tables
    assert not OUT_OF_REACH.intersection(readers.READABLE)


def test_it_is_made_without_login_and_says_how_to_give_it(acme: Cast, capsys) -> None:
    call_command("tenant_role", "acme", "--json")

    report = json.loads(capsys.readouterr().out)
    name = readers.name_of(acme.tenant.id)
    assert report["role"] == name
    assert report["login"].startswith(f"ALTER ROLE {name} LOGIN PASSWORD")
    rights = "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolinherit FROM pg_roles"
    assert run(f"{rights} WHERE rolname = %s", name) == [(False,) * 5]
    assert run("SELECT roleid FROM pg_auth_members WHERE member = %s::regrole", name) == []


def test_it_may_be_repeated_and_gives_what_is_lacking(ask: Ask, acme: Cast) -> None:
    run(f"REVOKE ALL ON media FROM {readers.name_of(acme.tenant.id)}")
    run(f"DROP POLICY {readers.name_of(acme.tenant.id)} ON media")

    call_command("tenant_role", "acme", stdout=io.StringIO(), stderr=io.StringIO())

    assert ask("SELECT DISTINCT tenant_id FROM media") == [(acme.tenant.id,)]


def test_repeating_it_sets_its_bounds_anew(ask: Ask, login: dict[str, str]) -> None:
    bounds = "SELECT rolinherit, rolconnlimit, rolconfig FROM pg_roles WHERE rolname = %s"
    name = login["user"]
    made = run(bounds, name)
    run(f"ALTER ROLE {name} INHERIT CONNECTION LIMIT 100")
    run(f"ALTER ROLE {name} RESET ALL")

    call_command("tenant_role", "acme", stdout=io.StringIO(), stderr=io.StringIO())

    assert run(bounds, name) == made
    assert made[0][:2] == (False, 5)
    assert {"statement_timeout=5min", "idle_in_transaction_session_timeout=5min"} < {*made[0][2]}
    assert ask("SELECT 1") == [(1,)]  # still with LOGIN


@pytest.mark.parametrize(
    ("more", "no_more"),
    [
        ("GRANT pg_read_all_data TO {name}", "REVOKE pg_read_all_data FROM {name}"),
        ("ALTER ROLE {name} BYPASSRLS", "ALTER ROLE {name} NOBYPASSRLS"),
        ("ALTER ROLE {name} CREATEROLE", "ALTER ROLE {name} NOCREATEROLE"),
    ],
)
def test_a_role_that_may_more_is_refused(login: dict[str, str], more: str, no_more: str) -> None:
    run(more.format(name=login["user"]))
    try:
        with pytest.raises(CommandError, match="member of"):
            call_command("tenant_role", "acme")
    finally:
        run(no_more.format(name=login["user"]))


def test_a_tenant_that_is_being_erased_gets_none(acme: Cast) -> None:
    Tenant.objects.update(status=TenantStatus.ERASING)

    with pytest.raises(CommandError, match="being erased"):
        call_command("tenant_role", "acme")

    assert not readers.exists(acme.tenant.id)


def test_it_goes_with_what_it_owns(login: dict[str, str], acme: Cast) -> None:
    with connect(login) as own:
        own.execute("SET default_transaction_read_only = off")
        own.commit()
        own.execute("SELECT lo_create(0)")

    call_command("tenant_role", "acme", "--remove", stdout=io.StringIO())

    assert not readers.exists(acme.tenant.id)


def test_it_goes_with_its_policies(login: dict[str, str], acme: Cast, globex: Cast, capsys) -> None:
    call_command("tenant_role", "acme", "--remove", "--json")

    assert json.loads(capsys.readouterr().out)["is_removed"] is True
    assert not readers.exists(acme.tenant.id)
    assert readers.exists(globex.tenant.id)
    named = "SELECT tablename FROM pg_policies WHERE policyname = %s"
    assert run(named, readers.name_of(acme.tenant.id)) == []
    assert len(run(named, readers.name_of(globex.tenant.id))) == len(readers.READABLE)


def test_erasing_the_tenant_removes_it(login: dict[str, str], acme: Cast, now: datetime) -> None:
    tenant = Tenant.objects.get(pk=acme.tenant.pk)
    assert ("database roles", 1) in [(one.what, one.count) for one in erasure.plan(tenant)]

    steps = list(erasure.erase(tenant, now=now, sleep=lambda seconds: None))

    assert ("database roles", 1) in [(one.what, one.count) for one in steps]
    assert not readers.exists(acme.tenant.id)


def purge(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(readers, "PATIENCE", "SET LOCAL lock_timeout = '100ms'")
    call_command("purge-tenant", cast.tenant.slug, "--yes", stdout=io.StringIO())


def test_an_open_transaction_of_theirs_stops_no_erasure(
    login: dict[str, str], acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyst = connect(login)
    analyst.execute("SELECT FROM messages")

    purge(acme, monkeypatch)

    assert not readers.exists(acme.tenant.id)
    assert list(Tenant.objects.all()) == [globex.tenant]
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        analyst.execute("SELECT 1")


def test_whoever_else_holds_a_table_keeps_no_keys_and_no_rows(
    login: dict[str, str], acme: Cast, globex: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = connection.settings_dict
    with connect({"user": known["USER"], "password": known["PASSWORD"]}) as other:
        other.execute("SELECT FROM messages")
        with pytest.raises(CommandError, match=r"database role is left: .*--remove"):
            purge(acme, monkeypatch)

    assert list(Tenant.objects.all()) == [globex.tenant]
    name = login["user"]
    assert run("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", name) == [(False,)]
    for table in readers.READABLE:
        assert run("SELECT has_table_privilege(%s, %s, 'SELECT')", name, table) == [(False,)]
    call_command("tenant_role", str(acme.tenant.id), "--remove", stdout=io.StringIO())
    assert not readers.exists(acme.tenant.id)


def test_an_owner_who_is_no_superuser_makes_and_removes_it(acme: Cast) -> None:
    with transaction.atomic():
        run("CREATE ROLE sigma_test_owner NOSUPERUSER CREATEROLE")
        run("GRANT USAGE ON SCHEMA public TO sigma_test_owner")
        for table in readers.READABLE:
            run(f"ALTER TABLE {table} OWNER TO sigma_test_owner")
        for name in ("close_tenant_role", "forget_tenant_role"):
            run(f"ALTER FUNCTION {name}(uuid) OWNER TO sigma_test_owner")
        run("SET LOCAL ROLE sigma_test_owner")
        for _ in range(2):
            readers.make(acme.tenant.id)
        is_removed = readers.remove(acme.tenant.id)
        is_left = readers.exists(acme.tenant.id)
        transaction.set_rollback(True)

    assert (is_removed, is_left) == (True, False)


def test_who_may_make_no_roles_is_told_how_to(acme: Cast, globex: Cast) -> None:
    roles.secure()
    run(f"SET ROLE {APPLICATION_ROLE}")
    try:
        with pytest.raises(CommandError, match="as the owner of the tables"):
            call_command("tenant_role", "acme")
    finally:
        run("RESET ROLE")
