"""Act for one tenant: inside, PostgreSQL itself shows and accepts that tenant's rows only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction
from psycopg.errors import QueryCanceled

TENANT_ROLE = "sigma_tenant"


@contextmanager
def tenant_scope(tenant_id: UUID, *, timeout_ms: int | None = None) -> Iterator[None]:
    """Open a transaction as the role that the row-level security policies bind.

    The settings end with the transaction, so the scope is safe behind a transaction pooler. Inside
    another transaction they are put back as they were: that one goes on as whoever it was.
    ``timeout_ms`` bounds each statement in milliseconds; see :func:`is_timeout`.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _settings() if nested else None
        _set(str(tenant_id), TENANT_ROLE, None if timeout_ms is None else f"{timeout_ms}ms")
        yield
        # After an error the rollback puts them back, and this line is not reached.
        if before is not None and not transaction.get_rollback():
            _set(*before)


@contextmanager
def owner_scope() -> Iterator[None]:
    """Act as the owner of the tables for a moment, inside a tenant's scope: to make its keys."""
    before = _settings()
    _set(before[0], "none", None)
    yield
    # After an error the rollback puts it back.
    _set(before[0], before[1], None)


def is_timeout(error: BaseException | None) -> bool:
    """Tell whether a database error is a statement that ran out of its time."""
    return isinstance(error and error.__cause__, QueryCanceled)


def _settings() -> tuple[str, str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(current_setting('sigma.tenant_id', true), ''), "
            "current_setting('role'), current_setting('statement_timeout')"
        )
        tenant_id, role, timeout = cursor.fetchone()
    return tenant_id, role, timeout


def _set(tenant_id: str, role: str, timeout: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('sigma.tenant_id', %s, true), set_config('role', %s, true), "
            "set_config('statement_timeout', coalesce(%s, current_setting('statement_timeout')), "
            "true)",
            [tenant_id, role, timeout],
        )
