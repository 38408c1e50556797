"""Act for one tenant: inside, PostgreSQL itself shows and accepts that tenant's rows only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

TENANT_ROLE, APPLICATION_ROLE = "sigma_tenant", "sigma_app"
BOUND = "SELECT set_config('statement_timeout', %s, true)"
# PostgreSQL is asked to wait for less only where that changes much: most requests are over by then.
CLOSE_ENOUGH = 0.9


@contextmanager
def as_tenant(tenant_id: UUID, *, timeout_ms: int | None = None) -> Iterator[None]:
    """Open a transaction as the role that the row-level security policies bind.

    The settings end with the transaction, so this is safe behind a transaction pooler. Inside
    another transaction they are put back as they were: that one goes on as whoever it was.
    ``timeout_ms`` bounds all statements together, in milliseconds; see :func:`is_timeout`.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _settings() if nested else None
        _set(str(tenant_id), TENANT_ROLE, None if timeout_ms is None else f"{timeout_ms}ms")
        with (
            nullcontext()
            if timeout_ms is None
            else connection.execute_wrapper(_Deadline(timeout_ms))
        ):
            yield
        # After an error the rollback puts them back, and this line is not reached.
        if before is not None and not transaction.get_rollback():
            _set(*before)


@contextmanager
def as_login_role() -> Iterator[None]:
    """Act as the role that logged in for a moment, while acting for a tenant: to make its keys."""
    before = _settings()
    _set(before[0], "none", None)
    yield
    # After an error the rollback puts it back.
    _set(before[0], before[1], None)


class _Deadline:
    """Runs statements only while there is time, and none for longer than is left."""

    def __init__(self, timeout_ms: int) -> None:
        self._bound = float(timeout_ms)
        self._end = time.monotonic() + timeout_ms / 1000

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        left = (self._end - time.monotonic()) * 1000
        if left < 1:
            raise OperationalError("The time for all statements is over.") from QueryCanceled()
        if left < self._bound * CLOSE_ENOUGH:
            self._bound = left
            context["cursor"].cursor.execute(BOUND, [f"{int(left)}ms"])
        return execute(sql, params, many, context)


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
