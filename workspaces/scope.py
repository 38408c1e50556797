"""Act for one tenant: inside, PostgreSQL itself shows and accepts that tenant's rows only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction

TENANT_ROLE = "sigma_tenant"


@contextmanager
def tenant_scope(tenant_id: UUID) -> Iterator[None]:
    """Open a transaction as the role that the row-level security policies bind.

    Both settings end with the transaction, so the scope is safe behind a transaction pooler. Inside
    another transaction they are put back as they were: that one goes on as whoever it was.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _settings() if nested else None
        _set(str(tenant_id), TENANT_ROLE)
        yield
        # After an error the rollback puts them back, and this line is not reached.
        if before is not None and not transaction.get_rollback():
            _set(*before)


def _settings() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(current_setting('sigma.tenant_id', true), ''), current_setting('role')"
        )
        tenant_id, role = cursor.fetchone()
    return tenant_id, role


def _set(tenant_id: str, role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('sigma.tenant_id', %s, true), set_config('role', %s, true)",
            [tenant_id, role],
        )
