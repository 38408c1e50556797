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

    Both settings end with the transaction, so the scope is safe behind a transaction pooler.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('sigma.tenant_id', %s, true), set_config('role', %s, true)",
                [str(tenant_id), TENANT_ROLE],
            )
        yield
