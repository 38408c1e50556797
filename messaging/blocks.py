"""Whom a number of the business blocks: who wants it, and how far it is. The platform is told by
:mod:`messaging.block_lists`, behind the transaction that wants it.

What is wanted is a row from the beginning, so a platform that is away only delays it. Meta blocks
for each number by itself (Meta, "Block users").
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from lib import bulk
from lib.ids import uuid7
from lib.sql import columns_of, select
from lib.wakeups import WakeUp
from messaging.models import BlockState
from workspaces.events import Event

logger = logging.getLogger("sigma.whatsapp.blocks")

WAKE_UP = WakeUp("blocks", task="blocks.perform", queue="maintenance")
# The platform refuses what is sent to them, or is about to.
HELD = (BlockState.BLOCKING, BlockState.BLOCKED, BlockState.UNBLOCKING)
RULE, PLATFORM = "rule", "platform"
# Tenant, number (workspace), contact.
Place = tuple[UUID, UUID, UUID]


class BlockRow(NamedTuple):
    """What is shown of a block."""

    id: UUID
    workspace_id: UUID
    contact_id: UUID
    state: str
    by: str
    asked_at: datetime
    changed_at: datetime
    blocked_at: datetime | None
    error_code: int | None
    error: str


class BlockWish(NamedTuple):
    """Somebody who is to be blocked or unblocked."""

    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    by: str
    at: datetime


# Asked for once more, it stays as it is. A lease stays: whoever is telling the platform the
# opposite just now is waited for.
BLOCK = """
INSERT INTO contact_blocks AS b (
    id, tenant_id, workspace_id, contact_id, state, by, asked_at, changed_at, due_at
)
SELECT r.id, r.tenant_id, r.workspace_id, r.contact_id, 'BLOCKING', r.by, r.at, r.at, r.at
FROM {rows} ORDER BY r.tenant_id, r.workspace_id, r.contact_id
ON CONFLICT (tenant_id, workspace_id, contact_id) DO UPDATE
SET state = 'BLOCKING', by = excluded.by, asked_at = excluded.asked_at, attempts = 0,
    changed_at = excluded.changed_at, due_at = excluded.due_at, error_code = NULL, error = ''
WHERE b.state NOT IN ('BLOCKING', 'BLOCKED')
RETURNING b.tenant_id, b.workspace_id, b.contact_id
"""
UNBLOCK = """
UPDATE contact_blocks b
SET state = 'UNBLOCKING', by = r.by, asked_at = r.at, changed_at = r.at, due_at = r.at,
    attempts = 0, error_code = NULL, error = ''
FROM {rows} WHERE b.tenant_id = r.tenant_id AND b.workspace_id = r.workspace_id
  AND b.contact_id = r.contact_id AND b.state IN ('BLOCKING', 'BLOCKED')
RETURNING b.tenant_id, b.workspace_id, b.contact_id
"""
WISH_COLUMNS = (*bulk.columns(BlockWish), "id uuid")
SELECT = f"SELECT {columns_of(BlockRow)} FROM contact_blocks WHERE tenant_id = %s"  # noqa: S608
OF_CONTACTS = """
SELECT b.id, b.tenant_id, b.workspace_id, b.contact_id, b.state
FROM {rows} JOIN contact_blocks b ON b.tenant_id = r.tenant_id AND b.contact_id = r.contact_id
ORDER BY b.id FOR UPDATE OF b
"""
DROP = "DELETE FROM contact_blocks b USING {rows} WHERE b.tenant_id = r.tenant_id AND b.id = r.id"
HAND_OVER = """
UPDATE contact_blocks b SET contact_id = r.contact_id
FROM {rows} WHERE b.tenant_id = r.tenant_id AND b.id = r.id
"""
# Of one person under two names: what is so at the platform, or is about to be, goes first.
RANKS = {
    BlockState.BLOCKED: 0,
    BlockState.BLOCKING: 1,
    BlockState.UNBLOCKING: 2,
    BlockState.REFUSED: 3,
    BlockState.UNBLOCKED: 4,
}


class _Stored(NamedTuple):
    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    state: str


def want(wishes: Collection[BlockWish], *, blocked: bool) -> list[Place]:
    """Want people blocked or unblocked, in the caller's transaction; return those for whom that is
    news. A worker is woken with the commit.
    """
    statement = BLOCK if blocked else UNBLOCK
    rows = [(*wish, uuid7()) for wish in wishes]
    news = [(row[0], row[1], row[2]) for row in bulk.run(statement, WISH_COLUMNS, rows)]
    if news:
        transaction.on_commit(wake_worker, robust=True)
    what = "block" if blocked else "unblock"
    by = {wish[:3]: wish.by for wish in wishes}
    for one in news:
        log(f"whatsapp {what} of a contact requested", one, by=by[one])
    return news


def wake_worker() -> None:
    """Let a worker look for what is to be told to the platform."""
    WAKE_UP.notify()


def log(message: str, whose: Place, **more: object) -> None:
    """Write the line that says who did what to whom."""
    names = dict(zip(("tenant_id", "workspace_id", "contact_id"), whose, strict=True))
    logger.info(message, extra={**names, **more})


def event(name: str, whose: Place, *, now: datetime, **more: object) -> Event:
    """Return the event that tells of a person's block."""
    tenant_id, workspace_id, contact_id = whose
    data = {"workspace_id": str(workspace_id), "contact_id": str(contact_id), **more}
    return Event(tenant_id, name, data, now)


def of_contacts(*, tenant_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, list[BlockRow]]:
    """Return the blocks of some contacts, for all numbers; those that are over are none."""
    sql = f"{SELECT} AND contact_id = ANY(%s) AND state <> %s ORDER BY workspace_id"
    given = [tenant_id, list(contact_ids), BlockState.UNBLOCKED.value]
    found: defaultdict[UUID, list[BlockRow]] = defaultdict(list)
    for row in select(BlockRow, sql, given) if contact_ids else ():
        found[row.contact_id].append(row)
    return found


def join(merged: Iterable[tuple[UUID, UUID, UUID]]) -> None:
    """Let contacts (tenant, contact, what it is now) that were merged have one block for each
    number.
    """
    owner = {(tenant_id, one): winner for tenant_id, one, winner in merged}
    sides = {*owner, *((tenant_id, winner) for (tenant_id, _), winner in owner.items())}
    rows = bulk.run(OF_CONTACTS, ("tenant_id uuid", "contact_id uuid"), sorted(sides))
    places: defaultdict[Place, list[_Stored]] = defaultdict(list)
    for row in map(_Stored._make, rows):
        winner = owner.get((row.tenant_id, row.contact_id), row.contact_id)
        places[row.tenant_id, row.workspace_id, winner].append(row)
    kept, gone = [], []
    for (tenant_id, _, winner), found in places.items():
        stays, *others = sorted(found, key=lambda row: RANKS[BlockState(row.state)])
        kept.append((tenant_id, stays.id, winner))
        gone += [(tenant_id, row.id) for row in others]
    bulk.run(DROP, ("tenant_id uuid", "id uuid"), gone)
    bulk.run(HAND_OVER, ("tenant_id uuid", "id uuid", "contact_id uuid"), kept)
