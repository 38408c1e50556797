"""Conversations, one row per person and number: kept up to date in the message's transaction, and
asked until when what is not a template may be sent in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from lib.cursors import Cursor
from lib.ttl import TtlCache
from messaging.conversation_states import ConversationState, Standing, joined
from messaging.models import BlockList
from messaging.people import ALL_IDS, SURVIVOR

# Nothing is said by these: they change what was said before (edit, revoke), or the platform reports
# something (system), or that a chat was opened (request_welcome). They make no conversation,
# count as unread by nobody and open no window. Everything else a person sends does, reactions
# included (Meta, "Send messages": Customer service windows, "messages you").
UNSAID = frozenset({"edit", "revoke", "system", "request_welcome"})

# The customer care window: so long from a person's last message to one number (Meta, "Send
# messages": Customer service windows).
WINDOW = timedelta(hours=24)
# With whom the number blocks, which every send asks as well.
REACHABILITY = """
SELECT contact_id, last_inbound_at, NULL::text FROM conversations
WHERE tenant_id = %s AND workspace_id = %s AND contact_id = ANY(%s) AND last_inbound_at IS NOT NULL
UNION ALL
SELECT contact_id, NULL, state FROM contact_blocks
WHERE tenant_id = %s AND workspace_id = %s AND contact_id = ANY(%s)
"""

COLUMNS = (
    "tenant_id uuid",
    "workspace_id uuid",
    "contact_id uuid",
    "last_message_id uuid",
    "last_message_at timestamptz",
    "last_inbound_at timestamptz",
    "unread_count int4",
)
NAMES = ", ".join(column.split(" ", 1)[0] for column in COLUMNS)
# In the order of the key, or concurrent batches deadlock; Python compares UUIDs slowly. greatest()
# passes over NULL. Of two messages of one second the one with the later id arrived later, as in
# lists.
UPSERT = f"""
INSERT INTO conversations AS c ({NAMES})
SELECT {NAMES} FROM {{rows}} ORDER BY workspace_id, contact_id
ON CONFLICT (tenant_id, workspace_id, contact_id) DO UPDATE SET
  last_message_id = CASE
    WHEN (excluded.last_message_at, excluded.last_message_id)
       > (c.last_message_at, c.last_message_id) THEN excluded.last_message_id
    ELSE c.last_message_id END,
  last_message_at = greatest(c.last_message_at, excluded.last_message_at),
  last_inbound_at = greatest(c.last_inbound_at, excluded.last_inbound_at),
  unread_count = c.unread_count + excluded.unread_count,
  reopened_at = CASE
    WHEN excluded.unread_count > 0 AND c.state <> 'OPEN' THEN transaction_timestamp()
    ELSE c.reopened_at END,
  snoozed_until = CASE WHEN excluded.unread_count > 0 THEN NULL ELSE c.snoozed_until END,
  state = CASE WHEN excluded.unread_count > 0 THEN 'OPEN' ELSE c.state END
"""  # noqa: S608 - names of ours
# Who were opened again is told without another statement.
UPSERT = f"""
WITH touched AS ({UPSERT}
    RETURNING c.tenant_id, c.id, c.workspace_id, c.contact_id, c.assignee_id, c.label_ids,
              c.reopened_at
)
SELECT tenant_id, id, workspace_id, contact_id, assignee_id, label_ids FROM touched
WHERE reopened_at = transaction_timestamp()
"""  # noqa: S608 - names of ours
THEIR_IDS = ALL_IDS.format(tenant_id="c.tenant_id", contact_id="c.contact_id")
# What came after the message stays unread; where nothing did this reads one index entry.
READ = f"""
UPDATE conversations c SET unread_count = least(c.unread_count, (
    SELECT count(*) FROM ({THEIR_IDS}) person (id)
    JOIN messages m
      ON m.tenant_id = c.tenant_id AND m.workspace_id = c.workspace_id AND m.contact_id = person.id
    WHERE (m.timestamp_utc, m.id) > (%s, %s) AND m.direction = 'INBOUND' AND m.source = 'LIVE'
      AND m.group_id IS NULL AND m.type <> ALL(%s)
))
WHERE c.tenant_id = %s AND c.workspace_id = %s AND c.unread_count > 0
  AND c.contact_id = (
    SELECT {SURVIVOR.format(tenant_id="one.tenant_id", contact_id="one.id")}
    FROM (SELECT %s::uuid, %s::uuid) one (tenant_id, id)
)
"""  # noqa: S608 - names of ours
# What of conversations follows when two contacts turn out to be one person. Served by their key.
OF_CONTACTS = """
SELECT c.id, c.tenant_id, c.workspace_id, c.contact_id, c.last_message_id, c.last_message_at,
       c.last_inbound_at, c.unread_count, c.state, c.snoozed_until, c.assignee_id, c.label_ids
FROM {rows} JOIN workspaces w ON w.tenant_id = r.tenant_id
JOIN conversations c
  ON c.tenant_id = w.tenant_id AND c.workspace_id = w.id AND c.contact_id = r.contact_id
WHERE c.merged_into IS NULL ORDER BY c.workspace_id, c.contact_id FOR UPDATE OF c
"""
JOIN_COLUMNS = (
    "tenant_id uuid",
    "id uuid",
    "contact_id uuid",
    "last_message_id uuid",
    "last_message_at timestamptz",
    "last_inbound_at timestamptz",
    "unread_count int4",
    "state text",
    "snoozed_until timestamptz",
    "assignee_id int4",
    "label_ids text",
)
JOIN = """
UPDATE conversations c SET contact_id = r.contact_id, last_message_id = r.last_message_id,
  last_message_at = r.last_message_at, last_inbound_at = r.last_inbound_at,
  unread_count = r.unread_count, state = r.state, snoozed_until = r.snoozed_until,
  assignee_id = r.assignee_id, label_ids = r.label_ids::uuid[]
FROM {rows} WHERE c.tenant_id = r.tenant_id AND c.id = r.id
"""
LEAD_ON = """
WITH r AS MATERIALIZED (SELECT * FROM {rows}), gone AS (
    SELECT r.tenant_id, r.id, r.kept_id FROM r UNION ALL
    SELECT r.tenant_id, a.id, r.kept_id
    FROM r JOIN conversations a ON a.tenant_id = r.tenant_id AND a.merged_into = r.id
)
UPDATE conversations c SET merged_into = gone.kept_id, unread_count = 0, state = 'CLOSED',
  snoozed_until = NULL, assignee_id = NULL, label_ids = '{}'
FROM gone WHERE c.tenant_id = gone.tenant_id AND c.id = gone.id
"""
TAKE_NOTES_ALONG = """
UPDATE conversation_notes n SET conversation_id = r.kept_id
FROM {rows} WHERE n.tenant_id = r.tenant_id AND n.conversation_id = r.id
"""


class Touch(NamedTuple):
    """A message just stored, and what it means for its conversation."""

    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    message_id: UUID
    at: datetime
    is_inbound: bool
    counts_as_unread: bool = False


# Whose people are counted (:mod:`messaging.block_rule`), and for how many seconds a process goes by
# what it knows of that.
MINUTE, RULES_SECONDS = timedelta(minutes=1), 5.0
_rules: TtlCache[str, dict[UUID, int]] = TtlCache(seconds=RULES_SECONDS, size=1)


class Reopened(NamedTuple):
    """A conversation that was snoozed or closed until the person wrote, just now."""

    tenant_id: UUID
    id: UUID
    workspace_id: UUID
    contact_id: UUID
    assignee_id: int | None
    label_ids: list[UUID]


def touch(touches: Iterable[Touch]) -> list[Reopened]:
    """Carry the conversations of new messages forward, or begin them, in the caller's transaction;
    return those that were opened again.

    One statement, whatever their number. What is older than a conversation's latest message
    (history imports, late callbacks) moves nothing back. Call it last: it holds the conversations'
    rows until the transaction ends.
    """
    threads: dict[tuple[UUID, UUID], list[Touch]] = defaultdict(list)
    for one in touches:
        threads[one.workspace_id, one.contact_id].append(one)
    rows = []
    for new in threads.values():
        last = max(new, key=lambda one: (one.at, one.message_id))
        heard = max((one.at for one in new if one.is_inbound), default=None)
        rows.append((*last[:5], heard, sum(one.counts_as_unread for one in new)))
    return [Reopened._make(row) for row in bulk.run(UPSERT, COLUMNS, rows)]


def watched(touches: Iterable[Touch]) -> list[tuple[Touch, int]]:
    """Return who wrote live within the last minute to a number that blocks whoever writes too much,
    and how many messages it allows. Asks the database once in five seconds and process.
    """
    rules = _rules.get("all")
    if rules is None:
        rows = BlockList.objects.filter(messages_a_minute__isnull=False)
        rules = _rules.put("all", {row.pk: row.messages_a_minute or 0 for row in rows})
    if not rules:
        return []
    since = clock.now() - MINUTE
    return [
        (one, rules[one.workspace_id])
        for one in touches
        if one.counts_as_unread and one.at > since and one.workspace_id in rules
    ]


def forget_rules() -> None:
    """Forget the rules that this process knows."""
    _rules.clear()


class _StoredConversation(NamedTuple):
    """A conversation as it is stored."""

    id: UUID
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    last_message_id: UUID
    last_message_at: datetime
    last_inbound_at: datetime | None
    unread_count: int
    state: str
    snoozed_until: datetime | None
    assignee_id: int | None
    label_ids: list[UUID]


def join(merged: Collection[tuple[UUID, UUID, UUID]]) -> None:
    """Make one thread per number of those of contacts (tenant, contact, what it is now) that were
    merged. The thread of the contact that stays is kept, and the others lead to it.
    """
    owner = {one: winner for _, one, winner in merged}
    sides = {(tenant_id, side) for tenant_id, *both in merged for side in both}
    rows = bulk.run(OF_CONTACTS, ("tenant_id uuid", "contact_id uuid"), sorted(sides))
    threads: dict[tuple[UUID, UUID], list[_StoredConversation]] = defaultdict(list)
    for row in map(_StoredConversation._make, rows):
        threads[row.workspace_id, owner.get(row.contact_id, row.contact_id)].append(row)
    kept, others = [], []
    for (_, winner), found in sorted(threads.items()):
        stays = next((row for row in found if row.contact_id == winner), found[0])
        last = max(found, key=lambda row: (row.last_message_at, row.last_message_id))
        heard = [row.last_inbound_at for row in found if row.last_inbound_at]
        unread = sum(row.unread_count for row in found)
        whose = stays.tenant_id, stays.id, winner
        heard_last = max(heard, default=None)
        kept.append((*whose, *last[4:6], heard_last, unread, *_handled(stays, found)))
        others += [(row.tenant_id, row.id, stays.id) for row in found if row is not stays]
    bulk.run(JOIN, JOIN_COLUMNS, kept)
    columns = ("tenant_id uuid", "id uuid", "kept_id uuid")
    bulk.run(LEAD_ON, columns, others)
    bulk.run(TAKE_NOTES_ALONG, columns, others)


def _handled(
    stays: _StoredConversation, found: Sequence[_StoredConversation]
) -> tuple[str, datetime | None, int | None, str]:
    """Return the state, its time, the assignee and the labels of several that are one."""
    in_order = [stays, *(row for row in found if row is not stays)]
    standing = joined([Standing(ConversationState(r.state), r.snoozed_until) for r in in_order])
    assignee = next((r.assignee_id for r in in_order if r.assignee_id is not None), None)
    labels = dict.fromkeys(str(one) for row in in_order for one in row.label_ids)
    return standing.state.value, standing.until, assignee, f"{{{','.join(labels)}}}"


def mark_read(*, tenant_id: UUID, workspace_id: UUID, contact_id: UUID, upto: Cursor) -> None:
    """Count what the person wrote up to a place as read, no matter who read it and where."""
    whose = [tenant_id, workspace_id, tenant_id, contact_id]
    with bulk.cursor() as own:
        own.execute(READ, [upto.timestamp, upto.id, sorted(UNSAID), *whose])


class Reachability(NamedTuple):
    """When the window of a person who ever wrote closes or closed, and where a block of the number
    stands (``models.BlockState``).
    """

    window_ends: datetime | None = None
    block: str | None = None


def reachability(
    *, tenant_id: UUID, workspace_id: UUID, contact_ids: Collection[UUID]
) -> dict[UUID, Reachability]:
    """Return what stands between a number and some people, for each of them."""
    if not contact_ids:
        return {}
    found = dict.fromkeys(contact_ids, Reachability())
    with bulk.cursor() as own:
        of_number = [tenant_id, workspace_id, list(contact_ids)]
        own.execute(REACHABILITY, of_number * 2)
        for contact_id, heard, block in own.fetchall():
            known = found[contact_id]
            ends = known.window_ends if heard is None else heard + WINDOW
            found[contact_id] = Reachability(ends, block or known.block)
    return found


def still_open(end: datetime | None, *, now: datetime) -> datetime | None:
    """Return when a window closes; ``None``: it never opened, or is closed at ``now``."""
    return end if end is not None and end > now else None
