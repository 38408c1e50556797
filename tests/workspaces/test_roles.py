"""The application's role: it reads and writes rows, and row-level security binds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, InternalError, connection, transaction
from pytest_django.fixtures import Settings

from connectors.whatsapp import retention
from connectors.whatsapp.processing import process_batch
from messaging.models import Message
from tests.conftest import Cast
from tests.sigma.test_erasure import fill
from tests.workspaces.test_isolation import OUT_OF_REACH, readable, run
from workspaces import roles
from workspaces.acting import APPLICATION_ROLE, TENANT_ROLE, as_tenant
from workspaces.checks import check_database_role

pytestmark = pytest.mark.django_db(transaction=True)

INJECTED = (
    "RESET ROLE",
    "SET ROLE NONE",
    f"SET LOCAL ROLE {APPLICATION_ROLE}",
    "RESET ROLE; SET row_security = on",
    "RESET ALL",
)

# The same in every process: the role is one for all databases of the server.
PASSWORD = "of-the-application-0123456789"


@pytest.fixture
def owner(settings: Settings) -> str:
    """The role that migrated; its password lets the application's role log in."""
    settings.SIGMA_APPLICATION_PASSWORD = PASSWORD
    secure()
    return str(connection.settings_dict["USER"])


def secure() -> None:
    """Set up the role, which the tests beside this one may do at the same moment."""
    for attempt in range(20):
        try:
            with transaction.atomic():
                roles.secure()
            return
        except InternalError as error:
            assert attempt < 19 and "concurrently updated" in str(error), error
            time.sleep(0.05)


@pytest.fixture
def as_application(owner: str, settings: Settings, acme: Cast, globex: Cast) -> Iterator[None]:
    """From here on the product's connection is the application's, not the owner's."""
    fill(acme)
    fill(globex)
    known = dict(connection.settings_dict)
    login = {"USER": APPLICATION_ROLE, "PASSWORD": settings.SIGMA_APPLICATION_PASSWORD}
    connection.close()
    connection.settings_dict.update(login)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(known)


def tenants_in(table: str, column: str) -> set[Any]:
    return {tenant for (tenant,) in run(f"SELECT DISTINCT {column} FROM {table}")}  # noqa: S608


def test_the_three_roles_differ_and_none_but_the_owner_is_more_than_its_rows(owner: str) -> None:
    rights = "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
    owned = "SELECT relname FROM pg_class WHERE relowner = (%s)::regrole"

    for role in (APPLICATION_ROLE, TENANT_ROLE):
        assert role != owner
        assert run(f"{rights} WHERE rolname = %s", role) == [(False,) * 4]
        assert run(owned, role) == []


def test_it_forces_the_policies_on_every_table_that_has_tenants(owner: str) -> None:
    unforced = (
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
        "AND NOT c.relispartition AND a.attname = 'tenant_id' AND NOT c.relforcerowsecurity"
    )
    assert run(unforced) == []


@pytest.mark.parametrize("injected", INJECTED)
def test_it_opens_nothing_of_others_to_who_leaves_the_tenants_role(
    as_application: None, acme: Cast, globex: Cast, injected: str
) -> None:
    tables = readable() | dict.fromkeys(OUT_OF_REACH, "tenant_id")
    with as_tenant(acme.tenant.id):
        run(injected)
        for table, column in tables.items():
            try:
                with transaction.atomic():
                    seen = tenants_in(table, column)
            except DatabaseError:  # still the tenants' role, which may not read it
                continue
            assert seen <= {acme.tenant.id}, table
        assert (
            run(
                "UPDATE workspaces SET name = 'Mine' WHERE tenant_id = %s RETURNING id",
                globex.tenant.id,
            )
            == []
        )


def test_it_cannot_turn_the_policies_off(as_application: None, acme: Cast) -> None:
    with as_tenant(acme.tenant.id):
        run("RESET ROLE")
        run("SET LOCAL row_security = off")
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            run("SELECT FROM messages")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (id int)",
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY application_rows ON messages",
        "TRUNCATE messages",
        "DROP TABLE messages",
        "SELECT FROM webhook_deliveries_default",
        "ALTER ROLE sigma_app BYPASSRLS",
        "SET ROLE {owner}",
        "SET SESSION AUTHORIZATION {owner}",
    ],
)
def test_it_may_change_no_schema_and_become_nobody_else(
    as_application: None, owner: str, statement: str
) -> None:
    # The last one is that of PostgreSQL 15 and before.
    denied = "permission denied|must be owner|not permitted|must be superuser"
    with pytest.raises(DatabaseError, match=denied), transaction.atomic():
        run(statement.format(owner=owner))


def test_it_gives_nobody_a_right(as_application: None) -> None:
    run("GRANT SELECT ON tenant_secrets TO sigma_tenant")  # PostgreSQL warns and does nothing

    assert run("SELECT has_table_privilege(%s, 'tenant_secrets', 'SELECT')", TENANT_ROLE) == [
        (False,)
    ]


def test_it_has_nothing_to_give_itself_where_make_up_runs_as_it(as_application: None) -> None:
    roles.secure()


def test_it_leaves_what_others_have_in_the_same_schema_as_it_is(owner: str) -> None:
    with transaction.atomic():
        run("CREATE TABLE public.theirs (id serial, tenant_id uuid)")
        secure()
        forced = run("SELECT relforcerowsecurity FROM pg_class WHERE relname = 'theirs'")
        readable = run("SELECT has_table_privilege(%s, 'theirs', 'SELECT')", APPLICATION_ROLE)
        transaction.set_rollback(True)

    assert (forced, readable) == ([(False,)], [(False,)])


def test_nobody_else_makes_tables_beside_ours(owner: str) -> None:
    with transaction.atomic():
        run("GRANT CREATE ON SCHEMA public TO PUBLIC")  # as before PostgreSQL 15
        secure()
        may_create = run("SELECT has_schema_privilege('public', 'public', 'CREATE')")
        transaction.set_rollback(True)

    assert may_create == [(False,)]


def test_a_new_owner_sees_all_rows_once_they_migrated(owner: str, acme: Cast, globex: Cast) -> None:
    with transaction.atomic():
        run("CREATE ROLE sigma_test_owner NOSUPERUSER NOBYPASSRLS")
        run("GRANT USAGE ON SCHEMA public TO sigma_test_owner")
        run("ALTER TABLE workspaces OWNER TO sigma_test_owner")
        secure()
        run("SET LOCAL ROLE sigma_test_owner")
        seen = tenants_in("workspaces", "tenant_id")
        transaction.set_rollback(True)

    assert seen == {acme.tenant.id, globex.tenant.id}


def test_the_tenants_role_drops_no_partition(as_application: None, acme: Cast) -> None:
    with as_tenant(acme.tenant.id), pytest.raises(DatabaseError, match="permission denied"):
        run("SELECT drop_raw_partition(current_date)")


def test_no_check_complains_of_it(as_application: None) -> None:
    assert check_database_role(databases=["default"]) == []


def test_it_does_the_products_work(as_application: None, acme: Cast, globex: Cast) -> None:
    today = datetime.now(UTC).date() + timedelta(days=400)

    process_batch(100)

    assert set(Message.objects.values_list("tenant_id", flat=True)) == {
        acme.tenant.id,
        globex.tenant.id,
    }
    assert today in retention.ensure_partitions(today)
    for day in retention.partition_days():
        if day >= today:
            assert retention.drop_partition(day)
    assert today not in retention.partition_days()
