"""Numbers' lists of blocked people at the platform: what is wanted is told to it, and the lists are
read, since people are blocked and unblocked elsewhere, too (Meta's manager), and no callback tells.

No transaction is open while the platform is asked. A worker that dies leaves a lease that ends, and
to ask twice is harmless.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection, transaction

from lib import bulk, clock
from lib.ids import uuid7
from messaging import addresses, blocks, locks
from messaging.attempts import wait_after
from messaging.blocks import PLATFORM, Place
from messaging.events import Person
from messaging.models import BlockState
from messaging.people import People, Someone, identify
from workspaces.channel_errors import ChannelError, Rejected, Throttled, Unavailable
from workspaces.channel_facts import PlatformPerson
from workspaces.channels import Channel, channel_for
from workspaces.events import Event, emit
from workspaces.identity import digester
from workspaces.keys import TenantHasNoKeys
from workspaces.models import HOSTED, Workspace

logger = logging.getLogger("sigma.whatsapp.blocks")

# Meta takes 1,000 people at a time; those of one claim may be of many numbers.
MOST = 1_000
# Longer than the requests of one claim take.
LEASE = timedelta(minutes=10)
EVERY, AFTER_FAILURE = timedelta(hours=6), timedelta(minutes=5)
MOST_LISTS = 20
# Refusals of blocks are shown for so long.
KEPT = timedelta(days=7)
CHUNK = 1_000
# What stops the whole number or tenant is tried again after this, and shown meanwhile.
AFTER_STOP = 300.0
PURGED = "What was known of this person's address was purged; block them when they write again."
MAX_ERROR = 500

Row = TypeVar("Row")

CLAIM = """
WITH due AS MATERIALIZED (
    SELECT b.tenant_id, b.id FROM contact_blocks b
    JOIN tenants t ON t.id = b.tenant_id AND t.status = 'ACTIVE'
    WHERE b.due_at <= %(now)s AND coalesce(b.lease_until <= %(now)s, true)
    ORDER BY b.due_at LIMIT %(most)s FOR UPDATE OF b SKIP LOCKED
)
UPDATE contact_blocks b SET lease_until = %(lease)s, attempts = b.attempts + 1
FROM due WHERE b.tenant_id = due.tenant_id AND b.id = due.id
RETURNING b.id, b.tenant_id, b.workspace_id, b.contact_id, b.state, b.asked_at, b.attempts
"""
# What was asked for since stays, and is due: only the lease ends.
RELEASE = """
UPDATE contact_blocks b SET lease_until = NULL
FROM {rows} WHERE b.tenant_id = r.tenant_id AND b.id = r.id AND b.asked_at <> r.asked_at
"""
# That an unblock was refused is no news of the block.
DONE = """
UPDATE contact_blocks b SET lease_until = NULL, state = r.state, due_at = r.due_at,
    error_code = r.error_code, error = r.error,
    changed_at = CASE WHEN r.state <> b.state THEN r.now ELSE b.changed_at END,
    blocked_at = CASE r.state WHEN 'BLOCKED' THEN coalesce(b.blocked_at, r.now)
                 WHEN 'UNBLOCKING' THEN b.blocked_at END
FROM {rows} WHERE b.tenant_id = r.tenant_id AND b.id = r.id AND b.asked_at = r.asked_at
RETURNING b.tenant_id, b.workspace_id, b.contact_id, b.by, r.state, r.error_code,
    r.state <> r.was AND (r.was, r.state) <> ('UNBLOCKING', 'BLOCKED')
"""
DONE_COLUMNS = (
    "tenant_id uuid",
    "id uuid",
    "asked_at timestamptz",
    "was text",
    "state text",
    "due_at timestamptz",
    "error_code int4",
    "error text",
    "now timestamptz",
)
NEWS = {
    BlockState.BLOCKED: "contact.blocked",
    BlockState.UNBLOCKED: "contact.unblocked",
    BlockState.REFUSED: "contact.block_refused",
}

CLAIM_LISTS = """
INSERT INTO block_lists AS l (workspace_id, tenant_id, sync_due_at)
SELECT w.id, w.tenant_id, %(lease)s
FROM workspaces w JOIN tenants t ON t.id = w.tenant_id
LEFT JOIN block_lists s ON s.tenant_id = w.tenant_id AND s.workspace_id = w.id
WHERE w.is_active AND t.status = 'ACTIVE' AND w.transport <> ALL(%(hosted)s)
  AND coalesce(s.sync_due_at <= %(now)s, true)
ORDER BY s.sync_due_at NULLS FIRST, w.id LIMIT %(most)s
ON CONFLICT (tenant_id, workspace_id) DO UPDATE SET sync_due_at = excluded.sync_due_at
RETURNING workspace_id
"""
# What changed since the list was begun to be read is newer than the list.
FOUND = """
WITH r AS MATERIALIZED (SELECT * FROM {rows})
INSERT INTO contact_blocks AS b (
    id, tenant_id, workspace_id, contact_id, state, by, asked_at, changed_at, blocked_at
)
SELECT r.id, r.tenant_id, r.workspace_id, r.contact_id, 'BLOCKED', r.by, r.now, r.now, r.now
FROM r ORDER BY r.tenant_id, r.workspace_id, r.contact_id
ON CONFLICT (tenant_id, workspace_id, contact_id) DO UPDATE
SET state = 'BLOCKED', by = excluded.by, asked_at = excluded.asked_at, error_code = NULL,
    changed_at = excluded.changed_at, blocked_at = excluded.blocked_at, error = ''
WHERE b.state IN ('UNBLOCKED', 'REFUSED') AND b.changed_at < (SELECT min(r.began) FROM r)
RETURNING b.tenant_id, b.workspace_id, b.contact_id
"""
FOUND_COLUMNS = (
    "id uuid",
    "tenant_id uuid",
    "workspace_id uuid",
    "contact_id uuid",
    "by text",
    "now timestamptz",
    "began timestamptz",
)
MISSED = """
UPDATE contact_blocks SET state = 'UNBLOCKED', by = %(by)s, asked_at = %(now)s,
    changed_at = %(now)s, blocked_at = NULL, error_code = NULL, error = ''
WHERE tenant_id = %(tenant)s AND workspace_id = %(workspace)s AND state = 'BLOCKED'
  AND changed_at < %(began)s AND contact_id <> ALL(%(listed)s)
RETURNING tenant_id, workspace_id, contact_id
"""
FORGET = """
DELETE FROM contact_blocks WHERE tenant_id = %(tenant)s AND workspace_id = %(workspace)s
  AND lease_until IS NULL AND (
    (state = 'UNBLOCKED' AND changed_at < %(began)s)
    OR (state = 'REFUSED' AND changed_at < %(old)s)
)
"""
READ = """
UPDATE block_lists SET synced_at = %(now)s, sync_error = '', listed = %(count)s,
    strangers = %(strangers)s,
    sync_due_at = CASE WHEN sync_due_at IS NULL THEN NULL ELSE %(next)s END
WHERE tenant_id = %(tenant)s AND workspace_id = %(workspace)s
"""
FAILED = """
UPDATE block_lists SET sync_due_at = %(next)s, sync_error = %(error)s
WHERE tenant_id = %(tenant)s AND workspace_id = %(workspace)s
"""


class _Claimed(NamedTuple):
    """A change that the platform is to be told of."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    state: str
    asked_at: datetime
    attempts: int


class _Told(NamedTuple):
    """A change, and what came of telling: nothing is wrong, or why."""

    row: _Claimed
    error: ChannelError | None = None


def perform_due(*, now: datetime, chance: Random) -> int:
    """Tell the platform of blocks that are pending; return how many were tried."""
    claimed = [
        _Claimed._make(row) for row in _run(CLAIM, {"now": now, "lease": now + LEASE, "most": MOST})
    ]
    numbers: defaultdict[tuple[UUID, str], list[_Claimed]] = defaultdict(list)
    for row in claimed:
        numbers[row.workspace_id, row.state].append(row)
    workspaces = Workspace.objects.in_bulk({row.workspace_id for row in claimed})
    for (workspace_id, state), rows in numbers.items():
        workspace = workspaces.get(workspace_id)
        if workspace is not None:
            told = _tell(workspace, rows, is_block=state == BlockState.BLOCKING)
            _record(told, chance=chance)
    return len(claimed)


def _tell(workspace: Workspace, rows: Sequence[_Claimed], *, is_block: bool) -> list[_Told]:
    """Tell the platform of changes of one number."""
    try:
        channel = channel_for(workspace, now=clock.now())
        people = _people(workspace, rows, channel, is_block=is_block)
        return _tell_of(channel, rows, people, is_block=is_block)
    except ChannelError as error:
        return [_Told(row, error) for row in rows]
    except TenantHasNoKeys:
        return []  # the tenant is being erased, its rows with it


def _tell_of(
    channel: Channel,
    rows: Sequence[_Claimed],
    people: dict[UUID, PlatformPerson],
    *,
    is_block: bool,
) -> list[_Told]:
    """Tell of those who can be named; one whom the platform does not take spoils it for nobody."""
    unknown = Rejected(0, PURGED)
    told = [_Told(row, unknown if is_block else None) for row in rows if row.id not in people]
    known = [row for row in rows if row.id in people]
    if not known:
        return told
    try:
        found = channel.set_blocked([people[row.id] for row in known], blocked=is_block)
    except Rejected as error:
        if error.stops or len(known) == 1:
            return told + [_Told(row, error) for row in known]
        for row in known:
            told += _tell_of(channel, [row], people, is_block=is_block)
        return told
    except ChannelError as error:
        return told + [_Told(row, error) for row in known]
    return told + [_Told(row, error) for row, error in zip(known, found, strict=True)]


def _people(
    workspace: Workspace, rows: Sequence[_Claimed], channel: Channel, *, is_block: bool
) -> dict[UUID, PlatformPerson]:
    """Return whom the platform knows the contacts of rows as. Who is to be unblocked, and whose
    address was purged, is in its list, or else is not blocked.
    """
    known = addresses.find(
        tenant_id=workspace.tenant_id,
        workspace_id=workspace.pk,
        contact_ids={row.contact_id for row in rows},
        parents=False,
    )
    people = {
        row.id: PlatformPerson(address.phone or "", address.user_id or "")
        for row in rows
        if (address := known.get(row.contact_id))
    }
    missing = {row.contact_id: row.id for row in rows if row.id not in people}
    if missing and not is_block:
        for person, contacts in _contacts_of(workspace, list(channel.blocked())):
            people |= {missing[one]: person for one in contacts if one in missing}
    return people


def _contacts_of(
    workspace: Workspace, listed: Sequence[PlatformPerson]
) -> list[tuple[PlatformPerson, set[UUID]]]:
    """Return the tenant's contacts that listed people are."""
    digest, tenant_id = digester(workspace.tenant_id), workspace.tenant_id
    found = []
    for chunk in _chunks(listed):
        people, known = People(), dict[PlatformPerson, Someone]()
        for one in chunk:
            named = Person(
                phone=one.phone or None,
                user_id=one.user_id or None,
                parent_user_id=one.parent_user_id or None,
            )
            known[one] = identify(digest, tenant_id, named)
        people.find(known.values())
        found += [
            (one, {contact.id for contact in people.contacts_of(someone)})
            for one, someone in known.items()
        ]
    return found


def _record(told: Sequence[_Told], *, chance: Random) -> None:
    """Write down what came of telling, and tell of what is news."""
    now = clock.now()
    rows = [_result(one, now, chance) for one in told]
    with transaction.atomic():
        bulk.run(RELEASE, DONE_COLUMNS, rows)
        (*news,) = (row for row in bulk.run(DONE, DONE_COLUMNS, rows) if row[6])
        emit([_event(row[:3], *row[3:6], now=now) for row in news])
    for *whose, by, state, code, _ in news:
        blocks.log(
            f"whatsapp contact {state.lower()}", (whose[0], whose[1], whose[2]), by=by, code=code
        )


def _event(whose: Place, by: str, state: str, code: int | None, *, now: datetime) -> Event:
    name = NEWS[BlockState(state)]
    more = {"code": code or 0} if state == BlockState.REFUSED else {}
    return blocks.event(name, whose, now=now, by=by, **more)


def _result(told: _Told, now: datetime, chance: Random) -> tuple[object, ...]:
    """Return the row of ``DONE_COLUMNS`` of a change."""
    row, error = told
    is_block = row.state == BlockState.BLOCKING
    due: datetime | None = None
    if error is None:
        state = BlockState.BLOCKED if is_block else BlockState.UNBLOCKED
    elif isinstance(error, Rejected) and not error.stops:
        state = BlockState.REFUSED if is_block else BlockState.BLOCKED
    else:
        state, due = BlockState(row.state), now + timedelta(seconds=_wait(error, row, chance))
    said = "" if error is None else f"{error} {error.details}".strip()[:MAX_ERROR]
    code = error.code or None if error else None
    place = row.tenant_id, row.id, row.asked_at
    return (*place, row.state, state.value, due, code, said, now)


def _wait(error: ChannelError, row: _Claimed, chance: Random) -> float:
    if isinstance(error, Throttled | Unavailable):
        return wait_after(error, min(row.attempts, 10), chance)
    if isinstance(error, Rejected):
        return AFTER_STOP
    return wait_after(Unavailable(error.message), min(row.attempts, 10), chance)


def sync_due(*, now: datetime) -> int:
    """Read the lists whose turn it is; return how many were read."""
    given = {"now": now, "lease": now + LEASE, "most": MOST_LISTS, "hosted": list(HOSTED)}
    claimed = [row[0] for row in _run(CLAIM_LISTS, given)]
    count = 0
    for workspace in Workspace.objects.filter(pk__in=claimed).order_by("pk"):
        try:
            sync(workspace, now=now)
        except TenantHasNoKeys:
            continue
        except ChannelError as error:
            _failed(workspace, error, now)
        else:
            count += 1
    return count


def sync(workspace: Workspace, *, now: datetime) -> None:
    """Read a number's list, and let what is known here follow it.

    Raises:
        workspaces.channel_errors.ChannelError: no token, or no whole list; what was known stays.
        workspaces.keys.TenantHasNoKeys: the tenant is being erased.
    """
    listed = list(channel_for(workspace, now=now).blocked())
    whose = {"tenant": workspace.tenant_id, "workspace": workspace.pk}
    with transaction.atomic():
        locks.merge_nobody([workspace.tenant_id])
        people = _contacts_of(workspace, listed)
        known = sorted({contact for _, contacts in people for contact in contacts})
        place = workspace.tenant_id, workspace.pk
        at = clock.now()
        rows = [(uuid7(), *place, contact, PLATFORM, at, now) for contact in known]
        found = [news for chunk in _chunks(rows) for news in bulk.run(FOUND, FOUND_COLUMNS, chunk)]
        facts = {**whose, "by": PLATFORM, "now": at, "began": now, "listed": known}
        missed = _run(MISSED, facts)
        _run(FORGET, {**whose, "began": now, "old": now - KEPT})
        strangers = sum(not contacts for _, contacts in people)
        counts = {"count": len(listed), "strangers": strangers, "next": at + EVERY}
        _run(READ, {**whose, "now": at, **counts})
        emit(
            [
                _event(row, PLATFORM, state, None, now=at)
                for state, news in (("BLOCKED", found), ("UNBLOCKED", missed))
                for row in news
            ]
        )
    for state, news in (("blocked", found), ("unblocked", missed)):
        for row in news:
            blocks.log(f"whatsapp contact {state}", row, by=PLATFORM)


def _failed(workspace: Workspace, error: ChannelError, now: datetime) -> None:
    wait = AFTER_FAILURE
    if isinstance(error, Throttled) and error.retry_after is not None:
        wait = max(wait, timedelta(seconds=error.retry_after))
    said = f"{error} {error.details}".strip()[:MAX_ERROR]
    whose = {"tenant": workspace.tenant_id, "workspace": workspace.pk}
    _run(FAILED, {**whose, "next": now + wait, "error": said})
    logger.warning(
        "whatsapp list of blocked people not read",
        extra={"workspace_id": workspace.pk, "code": error.code, "error": type(error).__name__},
    )


def _chunks(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _run(statement: str, facts: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, facts)
        return cursor.fetchall() if cursor.description else []
