"""PostgreSQL itself shows and accepts one tenant's rows only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.anything import with_tenants
from tests.conftest import Cast
from tests.sigma.test_erasure import fill
from workspaces.acting import TENANT_ROLE, as_tenant
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db

# Tables with a tenant to which the tenant role has no right at all. They are read before it is
# known who asks (keys), and by the part that opens secrets; only the application has a policy.
OUT_OF_REACH = {"api_keys", "tenant_secrets"}


def run(statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def readable() -> dict[str, str]:
    """Return the tables that the tenant role may read, with the column that names the tenant."""
    names = run(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
        "AND c.relkind IN ('r', 'p', 'v', 'm') AND has_any_column_privilege(%s, c.oid, 'SELECT')",
        TENANT_ROLE,
    )
    return {name: "id" if name == "tenants" else "tenant_id" for (name,) in names}


def tenants_in(table: str, column: str) -> dict[object, int]:
    return dict(run(f"SELECT {column}, count(*) FROM {table} GROUP BY 1"))  # noqa: S608


@contextmanager
def refused(reason: str) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=reason), transaction.atomic():
        yield


def test_it_shows_a_tenant_its_own_rows_and_all_of_them(acme: Cast, globex: Cast) -> None:
    fill(acme)
    fill(globex)
    whole = {table: tenants_in(table, column) for table, column in readable().items()}
    assert {"messages", "webhook_deliveries", "webhook_dead", "contacts"} <= whole.keys()
    for cast in (acme, globex):
        with as_tenant(cast.tenant.id):
            for table, column in readable().items():
                mine = whole[table].get(cast.tenant.id)
                assert tenants_in(table, column) == ({cast.tenant.id: mine} if mine else {}), table


def test_it_shows_nothing_where_no_tenant_is_set(acme: Cast, globex: Cast) -> None:
    fill(acme)
    with transaction.atomic():
        run(f"SET LOCAL ROLE {TENANT_ROLE}")
        assert {table: tenants_in(table, column) for table, column in readable().items()} == {
            table: {} for table in readable()
        }
        transaction.set_rollback(True)


def test_it_binds_every_table_that_the_tenant_role_can_touch() -> None:
    touchable = run(
        "SELECT c.relname, c.relrowsecurity FROM pg_class c "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') "
        "AND (has_any_column_privilege(%s, c.oid, 'SELECT, INSERT, UPDATE') "
        "OR has_table_privilege(%s, c.oid, 'DELETE, TRUNCATE'))",
        TENANT_ROLE,
        TENANT_ROLE,
    )
    assert {name for name, is_bound in touchable if not is_bound} == set()


def test_it_binds_every_table_that_has_tenants() -> None:
    unbound = run(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
        "AND NOT c.relispartition AND a.attname = 'tenant_id' AND NOT c.relrowsecurity"
    )
    assert {name for (name,) in unbound} == set()


def test_it_says_on_every_bound_table_whose_rows_are_shown() -> None:
    bound = run("SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relispartition")
    policies = run(
        "SELECT tablename FROM pg_policies WHERE roles = ARRAY[%s]::name[] "
        "AND qual LIKE '%%sigma.tenant_id%%' AND with_check = qual",
        TENANT_ROLE,
    )
    assert {name for (name,) in bound} - OUT_OF_REACH == {name for (name,) in policies}


def test_it_compares_the_tenant_of_a_row_with_the_setting_itself() -> None:
    policies = run(
        "SELECT tablename, qual, with_check FROM pg_policies WHERE roles = ARRAY[%s]::name[]",
        TENANT_ROLE,
    )
    mine = "({} = (NULLIF(current_setting('sigma.tenant_id'::text, true), ''::text))::uuid)"
    for table, *conditions in policies:
        column = "id" if table == "tenants" else "tenant_id"
        assert conditions == [mine.format(column)] * 2, table


def test_every_key_begins_with_the_tenant() -> None:
    keys = run(
        "SELECT c.relname, i.indexrelid::regclass::text, i.indisprimary, a.attname "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
        "LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
        "WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace AND EXISTS ("
        "  SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')"
    )
    tables = {model._meta.db_table for model in with_tenants()}
    assert {table for table, _, is_primary, _ in keys if is_primary} >= tables
    assert {index for _, index, _, first in keys if first != "tenant_id"} == set()


def test_it_lets_the_tenant_role_neither_log_in_nor_step_around_the_policies() -> None:
    rights = "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles"
    assert run(f"{rights} WHERE rolname = %s", TENANT_ROLE) == [(False,) * 4]


def test_it_refuses_rows_for_another_tenant(acme: Cast, globex: Cast) -> None:
    theirs = Workspace(tenant=globex.tenant, name="Mine now", external_id="300000000000003")
    with as_tenant(acme.tenant.id):
        with refused("row-level security"):
            theirs.save(force_insert=True)
        with refused("row-level security"):
            Workspace.objects.update(tenant=globex.tenant)
        assert Workspace.objects.filter(pk=globex.workspace.pk).update(name="Mine now") == 0
        with refused("permission denied"):
            run("UPDATE message_statuses SET status = ''")
        with refused("permission denied"):
            run("DELETE FROM messages")
        for table in sorted(OUT_OF_REACH):
            with refused("permission denied"):
                run(f"SELECT FROM {table}")


def who() -> tuple[str, str]:
    [row] = run("SELECT current_user, coalesce(current_setting('sigma.tenant_id', true), '')")
    return row


@pytest.mark.django_db(transaction=True)
def test_it_leaves_nothing_behind(acme: Cast, globex: Cast) -> None:
    before = who()
    with as_tenant(acme.tenant.id):
        assert who() == (TENANT_ROLE, str(acme.tenant.id))
    assert who() == before
    with pytest.raises(ZeroDivisionError), as_tenant(acme.tenant.id):
        raise ZeroDivisionError
    assert who() == before


@pytest.mark.django_db(transaction=True)
def test_it_leaves_nothing_behind_in_a_transaction_around_it(acme: Cast, globex: Cast) -> None:
    with transaction.atomic():
        before = who()
        with as_tenant(acme.tenant.id):
            with as_tenant(globex.tenant.id):
                assert who() == (TENANT_ROLE, str(globex.tenant.id))
            assert who() == (TENANT_ROLE, str(acme.tenant.id))
        assert who() == before
        with pytest.raises(ZeroDivisionError), as_tenant(acme.tenant.id):
            raise ZeroDivisionError
        assert who() == before
