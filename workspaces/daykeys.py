"""The rows of day keys: found, made and made ahead, for many tenants with a statement or two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from workspaces import master
from workspaces.models import INSTALLATION_ID, RawKey, Tenant, TenantStatus
from workspaces.scope import owner_scope

Pair = tuple[UUID, date]

# Rows of one statement that makes keys ahead.
CHUNK = 500
# The lock makes an erasure that begins wait for us; whoever only makes keys does not wait for us.
CREATE = """
WITH staying AS MATERIALIZED (
    SELECT id FROM tenants WHERE id = ANY(%(tenants)s::uuid[]) AND status <> 'ERASING'
    ORDER BY id FOR SHARE {patience}
)
INSERT INTO raw_keys (tenant_id, day, wrapped)
SELECT w.tenant_id, w.day, w.wrapped
FROM unnest(%(tenants)s::uuid[], %(days)s::date[], %(wrapped)s::bytea[])
    AS w (tenant_id, day, wrapped)
WHERE w.tenant_id = %(installation)s::uuid OR w.tenant_id IN (SELECT id FROM staying)
ORDER BY w.tenant_id, w.day
ON CONFLICT (tenant_id, day) DO NOTHING
"""
CREATE_OR_WAIT = CREATE.format(patience="")
CREATE_OR_SKIP = CREATE.format(patience="SKIP LOCKED")


def place(tenant_id: UUID, day: date) -> bytes:
    """Return what binds a wrapped day key to its row."""
    return f"{tenant_id}|raw_keys|{day.isoformat()}".encode()


def unwrapped(row: RawKey) -> bytes:
    """Return the key inside a row.

    Raises:
        workspaces.master.UnknownMasterKey: no configured master key opens it.
    """
    return master.unwrap(bytes(row.wrapped), place(row.tenant_id, row.day))


def find_or_make(tenant_id: UUID, day: date) -> RawKey | None:
    """Return a day's key, waiting for whoever holds the tenant; ``None`` for a tenant that is gone
    or going.
    """
    pairs = [(tenant_id, day)]
    if not (found := _find(pairs)):
        with owner_scope():
            _make(pairs, CREATE_OR_WAIT)
        found = _find(pairs)
    return found.get((tenant_id, day))


def find_or_make_many(pairs: Sequence[Pair]) -> dict[Pair, RawKey]:
    """Return the keys of many tenants without waiting for any of them.

    Left out are tenants that are gone or going, and those whose first key of the day would have to
    wait because somebody holds the tenant just now.
    """
    found = _find(pairs)
    if missing := [pair for pair in pairs if pair not in found]:
        _make_without_waiting(missing)
        found |= _find(missing)
    return found


def prepare(day: date) -> int:
    """Make the keys of ``day`` that are missing, of all tenants; return how many were missing."""
    present = set(RawKey.objects.filter(day=day).values_list("tenant_id", flat=True))
    tenants = Tenant.objects.exclude(status=TenantStatus.ERASING).values_list("id", flat=True)
    missing = [(one, day) for one in (INSTALLATION_ID, *tenants) if one not in present]
    for start in range(0, len(missing), CHUNK):
        _make_without_waiting(missing[start : start + CHUNK])
    return len(missing)


def _find(pairs: Iterable[Pair]) -> dict[Pair, RawKey]:
    wanted = set(pairs)
    tenants, days = {tenant_id for tenant_id, _ in wanted}, {day for _, day in wanted}
    rows = RawKey.objects.filter(tenant_id__in=tenants, day__in=days)
    return {(row.tenant_id, row.day): row for row in rows if (row.tenant_id, row.day) in wanted}


def _make_without_waiting(pairs: Sequence[Pair]) -> None:
    """Make keys; where somebody else is making the same ones, halve until the rest is made."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '50ms'")
            _make(pairs, CREATE_OR_SKIP)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        middle = len(pairs) // 2
        for half in (pairs[:middle], pairs[middle:]) if middle else ():
            _make_without_waiting(half)


def _make(pairs: Sequence[Pair], statement: str) -> None:
    """Insert keys unless another process was first; whoever wins, all use the row that stands."""
    parameters: dict[str, Any] = {
        "installation": INSTALLATION_ID,
        "tenants": [tenant_id for tenant_id, _ in pairs],
        "days": [day for _, day in pairs],
        "wrapped": [master.wrap(master.new_key(), place(*pair)) for pair in pairs],
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
