"""The database's roles: an owner, who migrates; the application; and tenants' requests.

The application's role may read and write rows and nothing else: it owns no table, changes no
schema, and row-level security binds it. Outside a tenant's scope its policies show all rows, inside
one (``sigma.tenant_id`` is set) that tenant's alone, so that ``RESET ROLE`` opens nothing there.
What it guarantees and what not: ``docs/adr/0022``.
"""

from __future__ import annotations

from django.conf import settings
from django.db import connections
from psycopg import sql

from workspaces.scope import APPLICATION_ROLE, TENANT_ROLE

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
EXISTS = f"SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION_ROLE}')"  # noqa: S608 - names of ours
# A member that inherits nothing: it has to become the tenants' role, as tenants' scopes do.
MEMBER = f"""
DO $$ BEGIN
    IF NOT pg_has_role('{APPLICATION_ROLE}', '{TENANT_ROLE}', 'MEMBER') THEN
        GRANT {TENANT_ROLE} TO {APPLICATION_ROLE};
    END IF;
END $$
"""
GRANTS = f"""
DO $$
DECLARE
    bound record;
    mine text;
BEGIN
    EXECUTE 'GRANT USAGE ON SCHEMA public TO {APPLICATION_ROLE}';
    EXECUTE 'GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION_ROLE}';
    FOR bound IN
        SELECT c.oid, c.oid::regclass AS name, c.relname, c.relrowsecurity, c.relforcerowsecurity,
               EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
                       AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS has_tenants
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {APPLICATION_ROLE}',
                       bound.name);
        CONTINUE WHEN NOT bound.has_tenants AND bound.relname <> 'tenants';
        IF NOT bound.relforcerowsecurity THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', bound.name);
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', bound.name);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = bound.oid
                       AND p.polname = 'owner_rows') THEN
            EXECUTE format('CREATE POLICY owner_rows ON %s TO CURRENT_USER USING (true)',
                           bound.name);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = bound.oid
                       AND p.polname = 'application_rows') THEN
            mine := CASE WHEN bound.relname = 'tenants' THEN 'id' ELSE 'tenant_id' END;
            EXECUTE format(
                'CREATE POLICY application_rows ON %s TO {APPLICATION_ROLE} USING ('
                '(SELECT nullif(current_setting(''sigma.tenant_id'', true), '''')) IS NULL OR '
                '%I = (SELECT nullif(current_setting(''sigma.tenant_id'', true), '''')::uuid))',
                bound.name, mine);
        END IF;
    END LOOP;
END $$
"""  # noqa: S608 - names of ours

# What the owner alone can do and the application has to; a migration makes them.
FUNCTIONS = ("make_raw_partition", "index_raw_partition", "drop_raw_partition")


def secure(*, using: str = "default", **_: object) -> None:
    """Give the application's role its rights to what migrations made (after each ``migrate``).

    With ``SIGMA_APPLICATION_PASSWORD`` the role may log in with it.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(CREATE)
        cursor.execute(EXISTS)
        if not cursor.fetchone()[0]:
            return
        cursor.execute(MEMBER)
        cursor.execute(GRANTS)
        for name in FUNCTIONS:
            cursor.execute(f"GRANT EXECUTE ON FUNCTION {name}(date) TO {APPLICATION_ROLE}")
        if password := settings.SIGMA_APPLICATION_PASSWORD:
            login = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(APPLICATION_ROLE), sql.Literal(password)
            )
            cursor.execute(login.as_string(cursor.connection))
