"""Roles of the database that read one tenant's rows: for that tenant's analysts and their tools.

Such a role may be given LOGIN. It is a member of nothing: a member of ``sigma_tenant`` could set
``sigma.tenant_id`` to another tenant's. Each has a policy of its own on every table, with the
tenant's id as a constant, and of ours it may SELECT from these tables, and call no function. It
takes advisory locks like everybody who logs in, ours too, by which it can hold up the storing of
every tenant: it is for people whom the operator trusts, better on a replica.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.db import InternalError, OperationalError, ProgrammingError, connection, transaction
from psycopg import sql

from workspaces.models import Tenant, TenantStatus

# Keys, secrets, sealed callbacks and requests, who is who, and who may call the API are no
# analyst's. Digests (HMACs) of people stand in some columns of these.
# tests/sigma/test_tenant_role.py asks about each new table.
READABLE = (
    "block_lists",
    "broadcast_recipients",
    "broadcasts",
    "canned_replies",
    "contact_blocks",
    "contacts",
    "conversations",
    "event_deliveries",
    "labels",
    "media",
    "message_statuses",
    "messages",
    "number_states",
    "opt_outs",
    "outgoing_events",
    "sending_pauses",
    "template_events",
    "templates",
    "tenants",
    "webhook_ledger",
    "webhook_unhandled",
    "workspaces",
)
CREATE = "CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT"
# Bounds, which who logs in may change for themselves, but for the number of connections.
BOUNDS = """
ALTER ROLE {role} NOINHERIT CONNECTION LIMIT 5;
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '5min';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '5min';
GRANT USAGE ON SCHEMA public TO {role};
"""
# Whoever made the role, or changed it. Only a superuser could take some of these away.
MAY_MORE = """
SELECT rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole OR rolreplication
    OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
FROM pg_roles r WHERE rolname = %s
"""
ALLOW = """
DROP POLICY IF EXISTS {role} ON {table};
CREATE POLICY {role} ON {table} FOR SELECT TO {role} USING ({column} = {tenant});
GRANT SELECT ON {table} TO {role};
"""
EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
# To change policies nobody else may use the table: whoever serves does not wait for long.
PATIENCE = "SET LOCAL lock_timeout = '5s'"
AS_OWNER = (
    "Run it as the owner of the tables, who needs CREATEROLE: DATABASE_URL=… manage.py tenant_role "
    "(of 'make up': 'owner_url' in engines.json)."
)


BUSY = (
    "Somebody holds a table; run 'manage.py tenant_role {tenant}{remove}' again when they let go."
)


class UnableToMakeRole(Exception):
    """The connection may not make or remove roles and policies, others held a table for too long,
    or the tenant or the role is not one for it; the message says what to do.
    """


class TenantRole(NamedTuple):
    """A role that reads ``tables`` of one tenant, and the statement that lets it log in."""

    name: str
    tables: tuple[str, ...]
    login: str


def name_of(tenant_id: UUID) -> str:
    """Return the name of the role that reads a tenant's rows; roles belong to the whole cluster."""
    return f"sigma_reads_{tenant_id.hex}"


def exists(tenant_id: UUID) -> bool:
    """Return whether a tenant has such a role."""
    with connection.cursor() as cursor:
        cursor.execute(EXISTS, [name_of(tenant_id)])
        (found,) = cursor.fetchone()
    return bool(found)


def make(tenant_id: UUID) -> TenantRole:
    """Make the role that reads a tenant's rows, without LOGIN, or give it what it lacks and set its
    bounds anew.

    Raises:
        UnableToMakeRole: the connection's role may not, others hold a table, the tenant is being
            erased, or the role is there and may more than this.
    """
    if Tenant.objects.filter(pk=tenant_id, status=TenantStatus.ERASING).exists():
        raise UnableToMakeRole("The tenant is being erased.")
    name = name_of(tenant_id)
    try:
        if not exists(tenant_id):
            _run(CREATE, role=sql.Identifier(name))
        _refuse_more(name)
        _run(BOUNDS, role=sql.Identifier(name))
        for table in READABLE:  # one after the other: nobody waits for more than one of them
            _run(
                ALLOW,
                role=sql.Identifier(name),
                table=sql.Identifier(table),
                column=sql.Identifier("id" if table == "tenants" else "tenant_id"),
                tenant=sql.Literal(tenant_id),
            )
    except ProgrammingError as error:
        raise UnableToMakeRole(f"{_first_line(error)} {AS_OWNER}") from error
    except OperationalError as error:
        busy = BUSY.format(tenant=tenant_id, remove="")
        raise UnableToMakeRole(f"{_first_line(error)} {busy}") from error
    return TenantRole(name, READABLE, f"ALTER ROLE {name} LOGIN PASSWORD '…';")


def _refuse_more(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MAY_MORE, [name])
        (may_more,) = cursor.fetchone()
    if may_more:
        raise UnableToMakeRole(
            f"{name} is a member of another role, or may more than log in and read. Take that away "
            "or drop the role first."
        )


def remove(tenant_id: UUID) -> bool:
    """Remove a tenant's role with its policies, if there is one; return whether there was. Its
    sessions end.

    Raises:
        UnableToMakeRole: the owner of the tables may not drop it, or others hold a table; what it
            could read is taken away.
    """
    if not exists(tenant_id):
        return False
    try:
        _call("close_tenant_role", tenant_id)
        while _call("forget_tenant_role", tenant_id):
            pass
    except (ProgrammingError, InternalError) as error:
        raise UnableToMakeRole(f"{_first_line(error)} {AS_OWNER}") from error
    except OperationalError as error:
        busy = BUSY.format(tenant=tenant_id, remove=" --remove")
        raise UnableToMakeRole(f"{_first_line(error)} {busy}") from error
    return True


def _call(function: str, tenant_id: UUID) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENCE)
        cursor.execute(f"SELECT {function}(%s)", [tenant_id])
        (result,) = cursor.fetchone()
    return bool(result)


def _run(statement: str, **parts: sql.Composable) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENCE)
        cursor.execute(sql.SQL(statement).format(**parts).as_string(cursor.connection))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".") + "."
