"""Row-level security for migrations: what binds ``sigma_tenant`` to the rows of one tenant."""

from __future__ import annotations

from django.db.migrations import RunSQL

from workspaces.acting import TENANT_ROLE

# Roles belong to the whole cluster, and two databases may be migrated at once. An administrator may
# have made the role beforehand, for an owner who may make none. Since PostgreSQL 16 who makes a
# role is a member of it without the right to SET ROLE; that has to be granted.
CREATE_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{TENANT_ROLE}') THEN
        CREATE ROLE {TENANT_ROLE} NOLOGIN NOBYPASSRLS;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
DECLARE
    needed text := CASE WHEN current_setting('server_version_num')::int >= 160000
                   THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT pg_has_role(current_user, '{TENANT_ROLE}', needed) THEN
        EXECUTE format('GRANT {TENANT_ROLE} TO %I', current_user);
    END IF;
END $$;
"""


# The tenant of this transaction (``as_tenant``). Without a sub-select around it PostgreSQL plans
# with the value itself, and a distributed one sends the statement to where that tenant is.
TENANT = "nullif(current_setting('sigma.tenant_id', true), '')::uuid"


def key_by_tenant(table: str, key: str = "id", *, unique: str = "") -> RunSQL:
    """Return the migration step that makes ``(tenant_id, key)`` the primary key in the database,
    where Django sees ``key``, and a column that is ``unique`` unique in its tenant.

    So a distributed PostgreSQL can place all rows of a tenant together. A statement finds a row of
    such a table by its tenant and its id: by the id alone there is no index, unless the model has
    one (``…_by_id``, for tables that are small or listed in the admin).
    """
    sql, reverse = "", ""
    for kind, name, column in (("PRIMARY KEY", "pkey", key), ("UNIQUE", f"{unique}_key", unique)):
        if column:
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {table}_{name}, ADD CONSTRAINT"
            sql += f"{drop} {table}_{name} {kind} (tenant_id, {column});"
            reverse += f"{drop} {table}_{name} {kind} ({column});"
    return RunSQL(sql, reverse)


def protect(table: str, *, column: str = "tenant_id", grant: str = "SELECT") -> RunSQL:
    """Return the migration step that shows ``sigma_tenant`` only rows of the tenant in
    ``sigma.tenant_id``.

    ``grant`` lists the statements the role may use. Without a tenant set the setting is NULL, and
    no row matches.
    """
    mine = f"{column} = {TENANT}"
    return RunSQL(
        sql=f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            CREATE POLICY tenant_rows ON {table} TO {TENANT_ROLE}
                USING ({mine}) WITH CHECK ({mine});
            GRANT {grant} ON {table} TO {TENANT_ROLE};
        """,
        reverse_sql=f"""
            REVOKE ALL ON {table} FROM {TENANT_ROLE};
            DROP POLICY tenant_rows ON {table};
            ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )
