"""Store receipts and carry the messages they belong to forward.

A receipt may come before its message (an echo, an import, another system's send): it is kept, and
applied when the message is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import json

from messaging import notices, optouts, settling
from messaging.events import StatusUpdate
from messaging.identities import Contact, Meant, People, Someone, primary
from messaging.incoming import Incoming
from messaging.models import OptOutSource
from messaging.notices import Change
from messaging.optouts import Wish
from messaging.statuses import FAILED, Progress, Receipt, advance
from workspaces import bulk


class MessageKey(NamedTuple):
    """How a message is found: its workspace and the digest of its wamid."""

    workspace_id: UUID
    platform_message_id: str


COLUMNS = (
    "tenant_id uuid", "workspace_id uuid", "platform_message_id text", "status text",
    "participant text", "timestamp_utc timestamptz", "recipient text", "errors jsonb",
    "pricing jsonb", "callback_data text",
)  # fmt: skip
NAMES = ", ".join(column.split(" ", 1)[0] for column in COLUMNS)
INSERT = f"""
INSERT INTO message_statuses ({NAMES}) SELECT {NAMES} FROM {{rows}}
ON CONFLICT (workspace_id, platform_message_id, status, participant) DO NOTHING
RETURNING workspace_id, platform_message_id, status, participant
"""  # noqa: S608 - names of ours
# Position in the batch, what came, and the receipt in it.
Reported = tuple[int, Incoming, StatusUpdate]
KEY_COLUMNS = ("workspace_id uuid", "platform_message_id text")
STORED = """
SELECT s.workspace_id, s.platform_message_id, s.status, s.timestamp_utc, s.errors, s.pricing
FROM {rows} JOIN message_statuses s
  ON s.workspace_id = r.workspace_id AND s.platform_message_id = r.platform_message_id
WHERE s.participant NOT LIKE 'payment:%%'
"""
MESSAGES = """
SELECT m.id, m.workspace_id, m.platform_message_id, m.status, m.delivery, m.tenant_id, m.contact_id
FROM {rows} JOIN messages m
  ON m.workspace_id = r.workspace_id AND m.platform_message_id = r.platform_message_id
ORDER BY m.id FOR UPDATE OF m
"""
ADVANCE = """
UPDATE messages m SET status = r.status, delivery = r.delivery FROM {rows} WHERE m.id = r.id
"""
# Whom a message went to, as they are now. One to a group went to many.
SENT_TO = """
SELECT r.position, c.id, c.display_name, c.username, c.created_at
FROM {rows} JOIN messages m
  ON m.workspace_id = r.workspace_id AND m.platform_message_id = r.platform_message_id
JOIN contacts k ON k.id = m.contact_id JOIN contacts c ON c.id = coalesce(k.merged_into, k.id)
WHERE m.group_id IS NULL AND m.direction = 'OUTBOUND'
"""
PAYMENT = "payment:"
# "The user has opted out of marketing messages": said on the status, after the send was accepted.
OPTED_OUT = 131050
# Words we do not know may be of any length; these are the columns'.
STATUS_LENGTH, PARTICIPANT_LENGTH = 32, 80


class _Message(NamedTuple):
    """A message as it stands, locked."""

    id: UUID
    workspace_id: UUID
    platform_message_id: str
    status: str | None
    delivery: dict[str, Any]
    tenant_id: UUID
    contact_id: UUID | None


class _Row(NamedTuple):
    """One row of ``message_statuses``, in the order of its columns."""

    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    status: str
    participant: str
    timestamp_utc: datetime
    recipient: str | None
    errors: str | None
    pricing: str | None
    callback_data: str | None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes a receipt one and the same (the unique key of the table)."""
        return self[1:5]

    @property
    def message(self) -> MessageKey:
        """The message it is about."""
        return MessageKey(self.workspace_id, self.platform_message_id)


def recipients(statuses: Sequence[Reported], people: People) -> tuple[list[Someone], list[Meant]]:
    """Return those of whom receipts tell more than one identity, and those of whom a receipt tells
    a user id only: they are whoever the message went to.

    A send to a phone number teaches no BSUID; its receipts do (Meta, "Business-scoped user IDs").
    """
    joined, named = [], []
    for _, incoming, event in statuses:
        person = event.recipient
        if person.user_id or person.parent_user_id:
            someone = incoming.identify(people.digester(incoming.tenant_id), person)
            if someone.tells:
                joined.append(someone)
            elif not event.participant:
                named.append((incoming, event, someone))
    rows = [
        (n, i.workspace_id, people.digester(i.tenant_id).wamid(event.platform_message_id))
        for n, (i, event, _) in enumerate(named)
    ]
    if not rows:
        return joined, []
    people.find(someone for *_, someone in named)
    found = bulk.run(SENT_TO, ("position int4", *KEY_COLUMNS), rows)
    meant = [Meant(named[n][2], people.known(Contact(*contact))) for n, *contact in found]
    return joined, meant


def store(statuses: Sequence[Reported], people: People, added: Sequence[MessageKey]) -> set[int]:
    """Store receipts (with their positions in the batch) and advance their messages.

    ``added`` names messages of the business stored just now, which earlier receipts may be waiting
    for. Returns the positions of receipts that were there already.
    """
    rows: dict[tuple[object, ...], tuple[int, _Row, StatusUpdate]] = {}
    duplicates = set()
    for position, incoming, event in statuses:
        row = _row(incoming, event, people)
        if row.identity in rows:
            duplicates.add(position)  # twice in one batch
        else:
            rows[row.identity] = (position, row, event)
    ordered = [rows[identity][1] for identity in sorted(rows)]
    fresh = {tuple(result) for result in bulk.run(INSERT, COLUMNS, ordered)}
    settled = settling.settle(((incoming, event) for _, incoming, event in statuses), people)
    keys = [MessageKey(one.change.workspace_id, one.platform_message_id) for one in settled]
    pending = _stored([*added, *keys])
    for identity, (position, row, event) in rows.items():
        if identity not in fresh:
            duplicates.add(position)
        elif not row.participant.startswith(PAYMENT):
            pending.setdefault(row.message, []).append(_receipt(event))
    _project(pending, [one.change for one in settled])
    return duplicates


def catch_up(keys: Sequence[MessageKey]) -> None:
    """Apply receipts that were there before their messages had the platform's id."""
    stored = _stored(keys)
    if stored:
        _project(stored)


def _row(incoming: Incoming, event: StatusUpdate, people: People) -> _Row:
    digest = people.digester(incoming.tenant_id)
    participant = event.participant
    if participant and not participant.startswith(PAYMENT):
        participant = digest.phone(participant)
    return _Row(
        incoming.tenant_id,
        incoming.workspace_id,
        digest.wamid(event.platform_message_id),
        event.status[:STATUS_LENGTH],
        participant[:PARTICIPANT_LENGTH],
        event.timestamp,
        primary(digest, event.recipient),
        json.encode(event.errors).decode() if event.errors else None,
        json.encode(event.pricing).decode() if event.pricing else None,
        event.callback_data,
    )


def _receipt(event: StatusUpdate) -> Receipt:
    errors = list(event.errors) or None
    return Receipt(event.status, event.timestamp, errors, event.pricing)


def _stored(keys: Sequence[MessageKey]) -> dict[MessageKey, list[Receipt]]:
    """Return the receipts that are kept of messages, by message."""
    found: dict[MessageKey, list[Receipt]] = {}
    for row in bulk.run(STORED, KEY_COLUMNS, sorted(keys)):
        found.setdefault(MessageKey(row[0], row[1]), []).append(Receipt(*row[2:]))
    return found


def _project(pending: Mapping[MessageKey, list[Receipt]], settled: Sequence[Change] = ()) -> None:
    """Carry messages forward; tell of that, and of those that were ``settled`` just before."""
    changed, moved = [], [*settled]
    messages = [_Message(*row) for row in bulk.run(MESSAGES, KEY_COLUMNS, sorted(pending))]
    for message in messages:
        before = Progress(message.status, message.delivery)
        after = advance(before, pending[MessageKey(*message[1:3])])
        if after != before:
            changed.append((message.id, after.status, json.encode(after.delivery).decode()))
        if after.status != before.status:
            moved.append(_change(message, after))
    bulk.run(ADVANCE, ("id uuid", "status text", "delivery jsonb"), changed)
    _heed(messages, pending)
    notices.changed(moved, now=datetime.now(UTC))


def _heed(messages: Iterable[_Message], pending: Mapping[MessageKey, list[Receipt]]) -> None:
    """Write to nobody again who has told the platform that he wants no marketing."""
    optouts.heed(
        Wish(message.tenant_id, message.contact_id, OptOutSource.PLATFORM, receipt.timestamp, False)
        for message in messages
        for receipt in pending[MessageKey(*message[1:3])]
        if message.contact_id and OPTED_OUT in _codes(receipt.errors)
    )


def _change(message: _Message, after: Progress) -> Change:
    codes = _codes(after.delivery.get("errors")) if after.status == FAILED else ()
    return Change(message.id, message.tenant_id, message.workspace_id, str(after.status), codes)


def _codes(errors: Iterable[Mapping[str, object]] | None) -> list[object]:
    return [error.get("code") for error in errors or ()]
