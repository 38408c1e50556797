"""Store receipts and carry the messages they belong to forward, those of ours included of which
nobody knew whether they were sent.

A receipt may come before its message (an echo, an import, another system's send): it is kept, and
applied when the message is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import json

from lib import bulk, clock
from messaging import sealed_values, transitions
from messaging.events import Direction, Incoming, StatusUpdate, Stop
from messaging.models import MessageStatus, OptOutSource
from messaging.optouts import Consent
from messaging.people import SURVIVOR, KnownContact, Meant, People, Someone, primary
from messaging.references import (
    KNOWN,
    NUMBER,
    TARGET_COLUMNS,
    Reference,
    Target,
    key_of,
    resolve,
    seal_id,
)
from messaging.sealed_values import Separator, Values
from messaging.states import State
from messaging.statuses import FAILED, OPTED_OUT, Progress, Receipt, advance, is_for_file
from messaging.transitions import Advance, Settled
from workspaces import keys
from workspaces.events import Event, emit_lazily

logger = logging.getLogger("sigma.whatsapp.sending")


class MessageKey(NamedTuple):
    """How a message is found: its tenant, its workspace and the digest of its wamid."""

    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str


class _ReceiptRow(NamedTuple):
    """A receipt, as a row of ``message_statuses``."""

    tenant_id: UUID
    workspace_id: UUID
    platform_message_id: str
    status: str
    participant: str
    timestamp_utc: datetime
    recipient: str | None
    errors: bulk.Json | None
    pricing: bulk.Json | None
    callback_data: str | None
    waiting_key: int | None
    payment: bulk.Json | None = None
    sealed_values: bytes | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes a receipt one and the same (the unique key of the table)."""
        return self[:5]

    @property
    def message(self) -> MessageKey:
        """The message it is about."""
        return MessageKey(self.tenant_id, self.workspace_id, self.platform_message_id)


COLUMNS, NAMES = bulk.columns(_ReceiptRow), ", ".join(_ReceiptRow._fields)
INSERT = f"""
INSERT INTO message_statuses ({NAMES}) SELECT {NAMES} FROM {{rows}}
ON CONFLICT (tenant_id, workspace_id, platform_message_id, status, participant) DO NOTHING
RETURNING tenant_id, workspace_id, platform_message_id, status, participant
"""  # noqa: S608 - names of ours
# Position in the batch, what came, and the receipt in it; and its row.
Reported = tuple[int, Incoming, StatusUpdate]
_WithRow = tuple[int, Incoming, StatusUpdate, _ReceiptRow]
KEY_COLUMNS = bulk.columns(MessageKey)
STORED = """
SELECT s.tenant_id, s.workspace_id, s.platform_message_id, s.status, s.timestamp_utc, s.errors,
       s.pricing, s.participant <> '',
       CASE WHEN s.sealed_values IS NULL THEN '' ELSE s.status || '|' || s.participant END
FROM {rows} JOIN message_statuses s
  ON s.tenant_id = r.tenant_id AND s.workspace_id = r.workspace_id
 AND s.platform_message_id = r.platform_message_id
WHERE s.participant NOT LIKE 'payment:%%'
"""
MESSAGE = (
    "m.id, m.workspace_id, m.platform_message_id, m.status, m.delivery, m.tenant_id, m.contact_id"
)
MESSAGES = f"""
SELECT {MESSAGE} FROM {{rows}}
CROSS JOIN LATERAL (
    SELECT r.tenant_id, {KNOWN.format(row="r", id="r.platform_message_id")} AS id OFFSET 0
) known
JOIN messages m ON m.tenant_id = known.tenant_id AND m.id = known.id
ORDER BY m.id FOR UPDATE OF m
"""  # noqa: S608 - names of ours
# The receipts that wait for one of these messages under another id of it; one of each kind, unless
# it has that already.
ADOPT = f"""
WITH mine AS (
    SELECT DISTINCT ON (s.workspace_id, r.platform_message_id, s.status, s.participant)
           s.tenant_id, s.id, r.platform_message_id
    FROM {{rows}} JOIN message_statuses s
      ON s.waiting_key = r.inner_key AND {NUMBER.format(row="s")}
    WHERE CASE WHEN r.group_id IS NOT NULL THEN s.participant <> '' ELSE EXISTS (
        SELECT FROM contact_identities i
        WHERE i.tenant_id = s.tenant_id AND i.digest = s.recipient
          AND i.contact_id = {SURVIVOR.format(tenant_id="r.tenant_id", contact_id="r.contact_id")}
    ) END AND NOT EXISTS (
        SELECT FROM message_statuses o
        WHERE o.tenant_id = s.tenant_id AND o.workspace_id = s.workspace_id
          AND o.platform_message_id = r.platform_message_id
          AND o.status = s.status AND o.participant = s.participant AND o.id <> s.id
    )
    ORDER BY s.workspace_id, r.platform_message_id, s.status, s.participant, s.id
)
UPDATE message_statuses s SET platform_message_id = mine.platform_message_id, waiting_key = NULL
FROM mine WHERE s.tenant_id = mine.tenant_id AND s.id = mine.id
"""  # noqa: S608 - names of ours
# In the order of ids, as everybody who changes messages.
UNSETTLED_COLUMNS = ("tenant_id uuid", "id uuid", "workspace_id uuid")
UNSETTLED = """
SELECT m.id, m.status FROM {rows} JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.id
WHERE m.workspace_id = r.workspace_id AND m.platform_message_id IS NULL AND m.source = 'API'
ORDER BY m.id FOR UPDATE OF m
"""
# Of these it is no surprise that the platform has them.
IN_DOUBT = frozenset({State.SENDING, State.UNKNOWN})
UUID_LENGTH = 36
# Whom a message went to, as they are now. One to a group went to many.
SENT_TO = f"""
SELECT r.position, c.tenant_id, c.id, c.display_name, c.username, c.created_at, c.book_name
FROM {{rows}} CROSS JOIN LATERAL (
    SELECT m.contact_id FROM messages m
    WHERE m.tenant_id = r.tenant_id AND m.id = {KNOWN.format(row="r", id="r.platform_message_id")}
      AND m.group_id IS NULL AND m.direction = 'OUTBOUND' OFFSET 0
) sent
CROSS JOIN LATERAL (
    SELECT {SURVIVOR.format(tenant_id="r.tenant_id", contact_id="sent.contact_id")} AS id OFFSET 0
) person
JOIN contacts c ON c.tenant_id = r.tenant_id AND c.id = person.id
"""  # noqa: S608 - names of ours
PAYMENT = "payment:"
SEALED_VALUES = "message_statuses.sealed_values"
# Words we do not know may be of any length; these are the columns'.
STATUS_LENGTH, PARTICIPANT_LENGTH = 32, 80


class Report(NamedTuple):
    """A message failed that the platform took at ``taken_at``, for what it is not to blame for."""

    tenant_id: UUID
    workspace_id: UUID
    stop: Stop
    taken_at: datetime


class StoredReceipts(NamedTuple):
    """What receipts came to: the positions in the batch of those that were there already, what they
    say against more than their messages, who wants no marketing, by what they say, and which
    messages (tenant, id) failed for their files.
    """

    duplicates: set[int]
    reports: list[Report]
    stops: list[Consent]
    without_file: Collection[tuple[UUID, UUID]] = ()


class _Message(NamedTuple):
    """A message as it stands, locked."""

    id: UUID
    workspace_id: UUID
    platform_message_id: str
    status: str | None
    delivery: dict[str, Any]
    tenant_id: UUID
    contact_id: UUID | None

    @property
    def key(self) -> MessageKey:
        """How it is found."""
        return MessageKey(self.tenant_id, self.workspace_id, self.platform_message_id)


def recipients(statuses: Sequence[Reported], people: People) -> tuple[list[Someone], list[Meant]]:
    """Return those of whom receipts tell more than one identity (and participants of groups, who
    are told apart by their contacts), and those of whom a receipt tells a user id only: they are
    whoever the message went to.

    A send to a phone number teaches no BSUID; its receipts do (Meta, "Business-scoped user IDs").
    """
    joined, named = [], []
    for _, incoming, event in statuses:
        person, in_group = event.recipient, _is_of_participant(event)
        if person.user_id or person.parent_user_id or in_group:
            someone = people.identify(incoming, person)
            if someone.tells or in_group:
                joined.append(someone)
            elif not event.participant:
                named.append((incoming, event, someone))
    rows = [
        (
            n,
            i.tenant_id,
            i.workspace_id,
            people.digester(i.tenant_id).wamid(event.platform_message_id),
        )
        for n, (i, event, _) in enumerate(named)
    ]
    if not rows:
        return joined, []
    people.find(someone for *_, someone in named)
    found = bulk.run(SENT_TO, ("position int4", *KEY_COLUMNS), rows)
    meant = [Meant(named[n][2], people.known(KnownContact(*contact))) for n, *contact in found]
    return joined, meant


def store(statuses: Sequence[Reported], people: People, added: Sequence[Target]) -> StoredReceipts:
    """Store receipts (with their positions in the batch) and advance their messages.

    ``added`` names messages of the business stored just now, which earlier receipts may be waiting
    for. Messages are locked before receipts are inserted, by everybody: the other way round would
    be a deadlock.
    """
    settled = _settle(statuses, people)
    reported = [(*one, _row(*one[1:], people)) for one in statuses]
    known = _known(reported, people)
    rows, duplicates = _without_repeats(reported, known)
    ordered = [rows[identity][1] for identity in sorted(rows)]
    fresh = {tuple(result) for result in bulk.run(INSERT, COLUMNS, ordered)}
    if added:
        _adopt(added)
    pending = _stored([MessageKey(*target[:3]) for target in (*added, *settled)])
    paid: list[_ReceiptRow] = []
    reports: list[Report] = []
    without_file: list[tuple[UUID, UUID]] = []
    for identity, (position, row, event) in rows.items():
        if identity not in fresh:
            duplicates.add(position)
        elif event.payment is None:
            pending.setdefault(row.message, []).append(_receipt(row, event))
            if message := known.get(row.message):
                reports += _stopping(event, message)
                if event.status == FAILED and is_for_file(event.errors):
                    without_file.append((message.tenant_id, message.id))
        else:
            paid.append(row)
    stops = _project(pending, known)
    if paid:
        _tell_of_payments(paid, {message.key: message for message in known.values()})
    return StoredReceipts(duplicates, reports, stops, without_file)


def _without_repeats(
    reported: Sequence[_WithRow], known: Mapping[MessageKey, _Message]
) -> tuple[dict[tuple[object, ...], tuple[int, _ReceiptRow, StatusUpdate]], set[int]]:
    """Return each receipt once, by its identity, under its message's own id; and the positions of
    those that the batch has twice.
    """
    rows: dict[tuple[object, ...], tuple[int, _ReceiptRow, StatusUpdate]] = {}
    twice = set()
    for position, _, event, row in reported:
        if message := known.get(row.message):
            own_id = message.platform_message_id
            row = row._replace(platform_message_id=own_id, waiting_key=None)
        if row.identity in rows:
            twice.add(position)
        else:
            rows[row.identity] = (position, row, event)
    return rows, twice


def _settle(statuses: Sequence[Reported], people: People) -> list[Target]:
    """Attach reports to messages of ours that have no id of the platform yet; return those that got
    one.

    Our id of a message travels in its request and comes back with every report about it (Meta:
    ``biz_opaque_callback_data``). A report is proof that the message was sent, whatever we thought
    of it: the answer may still be on its way, or was lost, or its receiver was killed.
    """
    reported: dict[UUID, tuple[Incoming, str]] = {}
    for _, incoming, event in statuses:
        message_id = _message_of(event.callback_data)
        if message_id is not None:
            reported.setdefault(message_id, (incoming, event.platform_message_id))
    wanted = [(i.tenant_id, one, i.workspace_id) for one, (i, _) in reported.items()]
    rows, surprising = [], []
    for message_id, status in bulk.run(UNSETTLED, UNSETTLED_COLUMNS, wanted):
        incoming, wamid = reported[message_id]
        cipher = keys.day_cipher(incoming.tenant_id, incoming.delivery_day)
        digest = people.digester(incoming.tenant_id)
        rows.append(
            Settled(
                tenant_id=incoming.tenant_id,
                id=message_id,
                platform_message_id=digest.wamid(wamid),
                inner_key=key_of(wamid, digest, incoming.workspace_id),
                sealed_id=seal_id(cipher, incoming.tenant_id, message_id, wamid),
                day=incoming.delivery_day,
            )
        )
        if status not in IN_DOUBT:
            surprising.append(f"{message_id} {status}")
    if surprising:
        extra = {"messages": len(surprising), "first": surprising[0]}
        logger.error("whatsapp message was sent that should not have been", extra=extra)
    return transitions.settle(rows, now=clock.now()) if rows else []


def _message_of(callback_data: str | None) -> UUID | None:
    """Return our id in a report, if it is one: others send through this number too."""
    if callback_data is None or len(callback_data) != UUID_LENGTH:
        return None
    try:
        return UUID(callback_data)
    except ValueError:
        return None


def catch_up(targets: Sequence[Target]) -> list[Consent]:
    """Apply receipts that were there before their messages had the platform's id; return who wants
    no marketing, by what they say.
    """
    _adopt(targets)
    stored = _stored([MessageKey(*target[:3]) for target in targets])
    return _project(stored, {}) if stored else []


def _known(reported: Sequence[_WithRow], people: People) -> dict[MessageKey, _Message]:
    """Lock the messages that receipts are about; return them by the id that the receipt names."""
    known = _locked({row.message for *_, row in reported})
    missing: dict[MessageKey, tuple[_ReceiptRow, Someone, str | None]] = {}
    for _, incoming, event, row in reported:
        if row.message not in known and row.waiting_key is not None:
            digest = people.digester(incoming.tenant_id)
            group = digest.group(event.group_id) if event.group_id else None
            someone = people.identify(incoming, event.recipient)
            missing.setdefault(row.message, (row, someone, group))
    if not missing:
        return known
    people.find([someone for _, someone, _ in missing.values()])
    names, wanted = list(missing), []
    for position, (row, someone, group) in enumerate(missing.values()):
        contact = people.contact_of(someone)
        whose = contact.id if contact else None, group, Direction.OUTBOUND.value
        wanted.append(Reference(position, *row.message, row.waiting_key or 0, *whose))
    meant = {
        names[position]: names[position]._replace(platform_message_id=found)
        for position, found in resolve(wanted).items()
    }
    twins = _locked(set(meant.values()))
    return known | {name: twins[own] for name, own in meant.items() if own in twins}


def _locked(keys: Collection[MessageKey]) -> dict[MessageKey, _Message]:
    found = [_Message(*row) for row in bulk.run(MESSAGES, KEY_COLUMNS, sorted(keys))]
    return {message.key: message for message in found}


def _adopt(targets: Sequence[Target]) -> None:
    with_key = [target for target in targets if target.inner_key is not None]
    bulk.run(ADOPT, TARGET_COLUMNS, with_key)


def _row(incoming: Incoming, event: StatusUpdate, people: People) -> _ReceiptRow:
    digest = people.digester(incoming.tenant_id)
    participant = event.participant
    if _is_of_participant(event):  # who may be named by a number here, and by a BSUID there
        contact = people.contact_of(people.identify(incoming, event.recipient))
        participant = str(contact.id) if contact else digest.phone(participant)
    row = _ReceiptRow(
        incoming.tenant_id,
        incoming.workspace_id,
        digest.wamid(event.platform_message_id),
        event.status[:STATUS_LENGTH],
        participant[:PARTICIPANT_LENGTH],
        event.timestamp,
        primary(digest, event.recipient),
        None,
        json.encode(event.pricing).decode() if event.pricing else None,
        None,
        key_of(event.platform_message_id, digest, incoming.workspace_id),
    )
    is_bare = event.payment is None and not event.callback_data and not event.errors
    return row if is_bare else _with_values(row, incoming, event)


def _with_values(row: _ReceiptRow, incoming: Incoming, event: StatusUpdate) -> _ReceiptRow:
    """Return a receipt with its errors, its payment and the sender's own reference: what gives a
    number away is sealed, as of messages.
    """
    person = event.recipient
    separator = Separator([person.phone, person.other_phone])
    row = row._replace(callback_data=separator.separate(event.callback_data))
    if event.errors:
        told = [
            {
                name: fact if name == "code" else separator.separate(fact)
                for name, fact in one.items()
            }
            for one in event.errors
        ]
        row = row._replace(errors=sealed_values.encode(told))
    if event.payment is not None:
        row = row._replace(payment=sealed_values.encode(separator.separate(event.payment)))
    if not separator.taken:
        return row
    cipher = keys.day_cipher(row.tenant_id, incoming.delivery_day)
    mine = sealed_row(row.status, row.participant)
    sealed = separator.seal(cipher, tenant_id=row.tenant_id, place=SEALED_VALUES, row=mine)
    return row._replace(sealed_values=sealed)


def open_all(rows: Iterable[MessageStatus], *, tenant_id: UUID) -> dict[int, Values]:
    """Open what is sealed of receipts, by their ids."""
    kept = {row.pk: row for row in rows if row.sealed_values}
    sealed = {pk: bytes(row.sealed_values or b"") for pk, row in kept.items()}
    return sealed_values.open_values(
        sealed,
        tenant_id=tenant_id,
        place=SEALED_VALUES,
        binding=lambda pk: sealed_row(kept[pk].status, kept[pk].participant),
    )


def sealed_row(status: str, participant: str) -> str:
    """Return what binds sealed values to their receipt; the id of its message may change."""
    return f"{status}|{participant}"


def _tell_of_payments(rows: Sequence[_ReceiptRow], known: Mapping[MessageKey, _Message]) -> None:
    """Tell who subscribed of payments for messages that we know."""

    def events() -> Iterator[Event]:
        for row in rows:
            if message := known.get(row.message):
                data: dict[str, object] = {
                    "message_id": str(message.id),
                    "workspace_id": str(row.workspace_id),
                    "status": row.status,
                }
                yield Event(row.tenant_id, "payment.updated", data, row.timestamp_utc)

    emit_lazily({row.tenant_id for row in rows}, events)


def _is_of_participant(event: StatusUpdate) -> bool:
    return bool(event.participant) and not event.participant.startswith(PAYMENT)


def _stopping(event: StatusUpdate, message: _Message) -> Iterator[Report]:
    """Yield what a receipt says against more than its message."""
    if event.status == FAILED and event.stop is not None:
        taken_at = message.delivery.get("accepted_at") or event.timestamp.isoformat()
        moment = datetime.fromisoformat(taken_at)
        yield Report(message.tenant_id, message.workspace_id, event.stop, moment)


def _receipt(row: _ReceiptRow, event: StatusUpdate) -> Receipt:
    errors = json.decode(row.errors) if row.errors else None
    sealed_in = sealed_row(row.status, row.participant) if row.sealed_values else ""
    return Receipt(
        event.status, event.timestamp, errors, event.pricing, bool(event.participant), sealed_in
    )


def _stored(keys: Sequence[MessageKey]) -> dict[MessageKey, list[Receipt]]:
    """Return the receipts that are kept of messages, by message."""
    found: dict[MessageKey, list[Receipt]] = {}
    for row in bulk.run(STORED, KEY_COLUMNS, sorted(keys)):
        found.setdefault(MessageKey(*row[:3]), []).append(Receipt(*row[3:]))
    return found


def _project(
    pending: Mapping[MessageKey, list[Receipt]], known: Mapping[MessageKey, _Message]
) -> list[Consent]:
    """Carry messages forward, of which some are ``known`` (and locked) already; return who set on
    the platform that they want no marketing: a status says so, after the send was accepted.
    """
    locked = {message.key: message for message in known.values()}
    locked |= _locked([key for key in pending if key not in locked])
    messages = [locked[key] for key in pending if key in locked]
    changed = []
    for message in messages:
        before = Progress(message.status, message.delivery)
        after = advance(before, pending[message.key])
        if after != before:
            ids = message.id, message.tenant_id, message.workspace_id
            changed.append(Advance(*ids, before.status, after.status, after.delivery))
    transitions.advance(changed, now=clock.now())
    source = OptOutSource.PLATFORM
    return [
        Consent(message.tenant_id, message.contact_id, source, receipt.timestamp, is_given=False)
        for message in messages
        for receipt in pending[message.key]
        if message.contact_id and any(e.get("code") == OPTED_OUT for e in receipt.errors or ())
    ]
