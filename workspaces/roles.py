"""The database's roles: an owner, who migrates; the application; and tenants' requests.

The application's role may read and write rows and nothing else: it owns no table, changes no
schema, and row-level security binds it. Outside a tenant's transaction its policies show all
rows, inside one (``sigma.tenant_id`` is set) that tenant's alone, so that ``RESET ROLE`` opens
nothing there.
What it guarantees and what not: ``docs/adr/0022``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from workspaces.acting import APPLICATION_ROLE, TENANT_ROLE

# Roles belong to the whole cluster, and two databases may be migrated at once. Where the owner may
# make no roles and an administrator made none, all stay as they were: one role does everything.
CREATE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}') THEN
        CREATE ROLE {APPLICATION_ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE
            NOINHERIT;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$
"""
# Its functions are the last that migrations make: before them there is nothing to give.
IS_READY = f"""
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}')
   AND to_regprocedure('drop_raw_partition(date)') IS NOT NULL
"""  # noqa: S608 - names of ours
# A member that inherits nothing: it has to become the tenants' role, as ``as_tenant`` does.
MEMBER = f"""
DO $$ BEGIN
    IF NOT pg_has_role('{APPLICATION_ROLE}', '{TENANT_ROLE}', 'MEMBER') THEN
        GRANT {TENANT_ROLE} TO {APPLICATION_ROLE};
    END IF;
END $$;
"""
# Of our tables alone: others may have theirs in the same schema.
TABLES = """
SELECT c.relname, pg_get_userbyid(c.relowner),
       CASE WHEN c.relname = 'tenants' THEN 'id' WHEN EXISTS (
           SELECT FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
       ) THEN 'tenant_id' ELSE '' END,
       c.relforcerowsecurity
       AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid
                   AND p.polname = 'owner_rows' AND c.relowner = ANY (p.polroles))
       AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid
                   AND p.polname = 'application_rows')
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s)
  AND pg_has_role(c.relowner, 'USAGE')
ORDER BY c.relname
"""
# Read once for a statement: the application's policy is a filter on each row, whatever the index.
# Without the sub-select to look at 900,000 rows took 265 ms instead of 153.
SETTING = "(SELECT nullif(current_setting('sigma.tenant_id', true), ''))"
# The owner is whoever it is now: a copy of the database may have another one.
BIND = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner_rows ON {table};
CREATE POLICY owner_rows ON {table} TO {owner} USING (true);
DROP POLICY IF EXISTS application_rows ON {table};
CREATE POLICY application_rows ON {table} TO {role}
    USING ({setting} IS NULL OR {column} = {setting}::uuid);
"""
# Before PostgreSQL 15 everybody could make tables and functions in the schema.
GRANT = """
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {role};
GRANT USAGE ON SEQUENCE webhook_delivery_blocks TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role};
"""

# What the owner alone can do, or see, and the application has to; migrations make them.
FUNCTIONS = (
    "make_raw_partition(date)",
    "drop_raw_partition(date)",
    "close_tenant_role(uuid)",
    "forget_tenant_role(uuid)",
    "number_in_use(uuid, integer, text)",
)


def secure(*, using: str = "default", **_: object) -> None:
    """Give the application's role its rights to what migrations made (after each ``migrate``).

    With ``SIGMA_APPLICATION_PASSWORD`` the role may log in with it.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(CREATE)
        cursor.execute(IS_READY)
        if not cursor.fetchone()[0]:
            return
        cursor.execute(TABLES, [_ours()])
        tables = cursor.fetchall()
        if not tables:  # they belong to somebody else, who gives the rights
            return
        cursor.execute(MEMBER)
        _give_rights(cursor, tables)
        for name in FUNCTIONS:
            cursor.execute(f"GRANT EXECUTE ON FUNCTION {name} TO {APPLICATION_ROLE}")
        if password := settings.SIGMA_APPLICATION_PASSWORD:
            login = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(APPLICATION_ROLE), sql.Literal(password)
            )
            cursor.execute(login.as_string(cursor.connection))


def _ours() -> list[str]:
    ours = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    return [*ours, MigrationRecorder.Migration._meta.db_table]


def _give_rights(cursor: CursorWrapper, tables: Sequence[tuple[Any, ...]]) -> None:
    """Grant our tables, and bind those that have tenants: one after the other, so that a process
    that serves meanwhile waits for none but the one it uses.
    """
    names = sql.SQL(", ").join(sql.Identifier(table) for table, *_ in tables)
    role = sql.Identifier(APPLICATION_ROLE)
    cursor.execute(sql.SQL(GRANT).format(role=role, tables=names).as_string(cursor.connection))
    for table, owner, column, is_bound in tables:
        if column and not is_bound:
            bind = sql.SQL(BIND).format(
                table=sql.Identifier(table),
                owner=sql.Identifier(owner),
                role=role,
                column=sql.Identifier(column),
                setting=sql.SQL(SETTING),
            )
            cursor.execute(bind.as_string(cursor.connection))
