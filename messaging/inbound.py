"""Store what was received, in bulk and idempotently: the same events again change nothing.

The caller owns the transaction. Every insert skips what is there already, so a repeated callback, in
whatever cut, has its effect once. Rows go in sorted by their unique key, or concurrent batches deadlock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from messaging import amendments, bulk, receipts
from messaging.events import Direction, IdentityChange, MessageEvent, Person, Source, StatusUpdate
from messaging.identities import People
from messaging.incoming import Incoming
from messaging.receipts import MessageKey
from workspaces import keys
from workspaces.envelope import associated_data
from workspaces.ids import uuid7

SEALED_ID = "messages.sealed_id"
AMENDING = frozenset({"edit", "revoke"})

COLUMNS = (
    "id uuid", "tenant_id uuid", "workspace_id uuid", "contact_id uuid", "platform_message_id text",
    "direction text", "source text", "type text", "sender text", "text text", "content jsonb",
    "reply_to text", "group_id text", "timestamp_utc timestamptz", "status text", "sealed_id bytea",
    "delivery_id int8", "delivery_day date",
)  # fmt: skip
NAMES = ", ".join(column.split(" ", 1)[0] for column in COLUMNS)
INSERT = f"""
INSERT INTO messages ({NAMES}) SELECT {NAMES} FROM {{rows}}
ON CONFLICT (workspace_id, platform_message_id) DO NOTHING RETURNING id
"""
INSERT_MEDIA = """
INSERT INTO media (id, tenant_id, workspace_id, message_id, platform_media_id, mime_type, sha256,
                   filename, voice, animated, expires_at)
SELECT id, tenant_id, workspace_id, message_id, platform_media_id, mime_type, sha256, filename, voice,
       animated, sent_at + interval '7 days'
FROM {rows} ON CONFLICT DO NOTHING
"""
MEDIA_COLUMNS = (
    "id uuid", "tenant_id uuid", "workspace_id uuid", "message_id uuid", "platform_media_id text",
    "mime_type text", "sha256 text", "filename text", "voice bool", "animated bool",
    "sent_at timestamptz",
)  # fmt: skip
# Most writers of a workspace go side by side. Those who look for rows that another batch may be adding
# at this moment (receipts of an echoed message, targets of an edit) go alone.
LOCK = """
SELECT CASE WHEN r.alone THEN pg_advisory_xact_lock(r.key) ELSE pg_advisory_xact_lock_shared(r.key) END
FROM (SELECT hashtextextended('messages:' || workspace_id, 0) AS key, alone FROM {rows}) r
"""


@dataclass(slots=True)
class Stored:
    """What a batch came to: the positions (in the batch) of events that were there already."""

    duplicates: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Row:
    position: int
    message_id: UUID
    key: MessageKey
    incoming: Incoming
    event: MessageEvent
    values: tuple[object, ...]


def store(batch: Sequence[Incoming]) -> Stored:
    """Store a batch of events and return which of them were known before."""
    people = People()
    _lock(batch)
    people.resolve(*_people_in(batch))
    rows = [_row(i, incoming, people) for i, incoming in enumerate(batch) if _is_message(incoming)]
    fresh = _insert_messages(rows)
    stored = Stored({row.position for row in rows if row.message_id not in fresh})
    added = [row for row in rows if row.message_id in fresh]
    _insert_media(added)
    statuses = [(i, e) for i, e in enumerate(batch) if isinstance(e.event, StatusUpdate)]
    stored.duplicates |= receipts.store(statuses, people, [r.key for r in added if _is_ours(r)])
    amendments.apply(
        [row.key for row in added],
        [MessageKey(r.key.workspace_id, target) for r in added if (target := _amended(r, people))],
    )
    return stored


def _is_message(incoming: Incoming) -> bool:
    return isinstance(incoming.event, MessageEvent)


def _is_ours(row: _Row) -> bool:
    return row.event.direction == Direction.OUTBOUND


def _amended(row: _Row, people: People) -> str | None:
    if row.event.type not in AMENDING or not row.event.reply_to:
        return None
    return people.digester(row.incoming.tenant_id).wamid(row.event.reply_to)


def _lock(batch: Iterable[Incoming]) -> None:
    alone: dict[str, bool] = {}
    for incoming in batch:
        workspace_id = str(incoming.workspace_id)
        alone[workspace_id] = alone.get(workspace_id, False) or _goes_alone(incoming)
    bulk.run(LOCK, ("workspace_id text", "alone bool"), sorted(alone.items()))


def _goes_alone(incoming: Incoming) -> bool:
    event = incoming.event
    if not isinstance(event, MessageEvent):
        return False
    return event.direction == Direction.OUTBOUND or event.type in AMENDING


def _people_in(
    batch: Iterable[Incoming],
) -> tuple[list[tuple[UUID, Person]], list[tuple[UUID, IdentityChange]]]:
    people, changes = [], []
    for incoming in batch:
        if isinstance(incoming.event, MessageEvent):
            people.append((incoming.tenant_id, incoming.event.contact))
        elif isinstance(incoming.event, IdentityChange):
            changes.append((incoming.tenant_id, incoming.event))
    return people, changes


def _row(position: int, incoming: Incoming, people: People) -> _Row:
    event = incoming.event
    assert isinstance(event, MessageEvent)
    tenant_id = incoming.tenant_id
    digest = people.digester(tenant_id)
    message_id = uuid7()
    key = MessageKey(incoming.workspace_id, digest.wamid(event.platform_message_id))
    sealed = keys.day_cipher(tenant_id, incoming.delivery_day).seal(
        event.platform_message_id.encode(), associated_data(tenant_id, SEALED_ID, message_id)
    )
    values = (
        message_id, tenant_id, incoming.workspace_id, people.contact_of(tenant_id, event.contact),
        key.platform_message_id, event.direction.value, event.source.value, event.type,
        people.primary(tenant_id, event.sender) or "", event.text, json.dumps(event.content),
        digest.wamid(event.reply_to) if event.reply_to else None,
        digest.group(event.group_id) if event.group_id else None,
        event.timestamp, event.status, sealed, incoming.delivery_id, incoming.delivery_day,
    )  # fmt: skip
    return _Row(position, message_id, key, incoming, event, values)


def _insert_messages(rows: list[_Row]) -> set[UUID]:
    # Live before history: where both carry a message, what was seen live stands.
    ordered = sorted(rows, key=lambda row: (row.key, row.event.source == Source.HISTORY))
    return {row[0] for row in bulk.run(INSERT, COLUMNS, [row.values for row in ordered])}


def _insert_media(rows: Iterable[_Row]) -> None:
    files = []
    for row in rows:
        item = row.event.media
        if item is not None:
            files.append(
                (
                    uuid7(), row.incoming.tenant_id, row.incoming.workspace_id, row.message_id,
                    item.platform_media_id, item.mime_type or "", item.sha256 or "",
                    item.filename or "", item.voice, item.animated, row.event.timestamp,
                )
            )  # fmt: skip
    bulk.run(INSERT_MEDIA, MEDIA_COLUMNS, files)
