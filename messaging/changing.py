"""How many messages or contacts are changed in one transaction: locked first, in order of ids.

Two writers that lock the same rows in different orders wait for one another until PostgreSQL ends
one of them. Whatever index a statement finds its rows by, in the order of that index, it locks them
by their ids. Who skips rows that are locked never waits, and may take them as they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from lib import bulk

LOCK = """
SELECT m.id FROM {rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id
ORDER BY m.id FOR UPDATE OF m
"""


def statement(
    *, found: str, assign: str, carry: str = "", returning: str = "", table: str = "messages"
) -> str:
    """Return the statement that changes messages, or the rows of another ``table`` with ids.

    ``found`` and ``carry`` are those of :func:`locking`; ``assign`` is what follows SET.
    """
    back = f"RETURNING {returning}" if returning else ""
    return locking(
        found=found,
        carry=carry,
        then=f"""UPDATE {table} m SET {assign}
        FROM mine WHERE m.tenant_id = mine.tenant_id AND m.id = mine.id {back}""",  # noqa: S608
    )


def locking(*, found: str, then: str, carry: str = "", skip: bool = False) -> str:
    """Return a statement that locks messages, and then goes on with them as ``mine``.

    ``found`` is what follows FROM, with the table as ``m`` and its own WHERE; ``carry`` are
    further columns beside ``tenant_id`` and ``id``; with ``skip`` the rows that somebody else has
    locked are left out. ``then`` is the rest: further parts of the WITH, and what they lead to.
    """
    columns = f"m.tenant_id, m.id, {carry}" if carry else "m.tenant_id, m.id"
    end = "SKIP LOCKED" if skip else ""
    return f"""
WITH mine AS MATERIALIZED (
    SELECT {columns} FROM {found} ORDER BY m.id FOR UPDATE OF m {end}
)
{then}
"""  # noqa: S608 - texts of ours


def lock(messages: Iterable[tuple[UUID, UUID]]) -> None:
    """Lock messages (tenant and id) that several statements of the caller's transaction are about
    to change.
    """
    bulk.run(LOCK, ("tenant_id uuid", "id uuid"), sorted(set(messages)))
