"""Store what was received, in bulk and idempotently: the same events again change nothing.

The caller owns the transaction. Every insert skips what is there already, so a repeated callback,
in whatever cut, has its effect once. Rows go in sorted by their unique key, or concurrent batches
deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from lib.envelope import Cipher, associated_data
from lib.ids import arrival_uuid7, uuid7
from messaging import (
    address_book,
    amendments,
    conversations,
    locks,
    merging,
    notices,
    optouts,
    receipts,
    references,
    replacing,
    sealed_values,
    transitions,
)
from messaging.amendments import AMENDING
from messaging.conversations import UNSAID, Touch
from messaging.delivery import consequences
from messaging.events import (
    AddressBookName,
    Direction,
    IdentityChange,
    Incoming,
    MarketingPreference,
    MessageEvent,
    Source,
    StatusUpdate,
    is_typed,
)
from messaging.identities import SamePerson, Someone, identify_in, primary
from messaging.notices import Arrival
from messaging.optouts import Statement
from messaging.people import People
from messaging.references import Reference, Target
from messaging.sealed_values import SEALED_VALUES, Separator
from messaging.transitions import Received
from workspaces import keys
from workspaces.identity import Digester

INSERT_MEDIA = """
INSERT INTO media (id, tenant_id, workspace_id, message_id, platform_media_id, mime_type, sha256,
                   filename, voice, animated, expires_at)
SELECT id, tenant_id, workspace_id, message_id, platform_media_id, mime_type, sha256, filename,
       voice, animated, sent_at + interval '7 days'
FROM {rows} ON CONFLICT (message_id) DO UPDATE SET
  platform_media_id = excluded.platform_media_id, mime_type = excluded.mime_type,
  sha256 = excluded.sha256, filename = excluded.filename, voice = excluded.voice,
  animated = excluded.animated, expires_at = excluded.expires_at, state = 'AVAILABLE'
"""
MEDIA_COLUMNS = (
    "id uuid", "tenant_id uuid", "workspace_id uuid", "message_id uuid", "platform_media_id text",
    "mime_type text", "sha256 text", "filename text", "voice bool", "animated bool",
    "sent_at timestamptz",
)  # fmt: skip
# Of the updates of one callback that many keep their order; it holds a thousand (Meta, "Webhooks").
POSITION_BITS = 18
LAST_POSITION = (1 << POSITION_BITS) - 1
TO_SELF = "to-self:"
# Position in the batch, who told the platform, and what.
_Told = tuple[int, Someone, MarketingPreference]


@dataclass(slots=True)
class Stored:
    """What a batch came to: the positions (in the batch) of events that were there already."""

    duplicates: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Owner:
    """What the messages of one tenant and day have in common, looked up once per batch."""

    digest: Digester
    cipher: Cipher
    place: bytes
    # The callback that was asked about last, and its place among those of its moment.
    _callback: tuple[int, datetime] | None = None
    _delivery: int = 0

    def message_id(self, incoming: Incoming, platform_message_id: str) -> UUID:
        """Return the id of a message: the order of arrival, the same whenever it is stored."""
        callback = incoming.delivery_id, incoming.received_at
        if callback != self._callback:
            self._callback, self._delivery = callback, self.digest.delivery(*callback)
        position = incoming.position if incoming.position < LAST_POSITION else LAST_POSITION
        return arrival_uuid7(
            incoming.received_at,
            sequence=self._delivery << POSITION_BITS | position,
            tail=int(platform_message_id[:6], 16) ^ incoming.workspace_id.int,
        )

    def seal_id(self, wamid: str, message_id: UUID) -> bytes:
        """Seal Meta's id of a message under the day's key."""
        return self.cipher.seal(wamid.encode(), self.place + str(message_id).encode())


class _Kept(NamedTuple):
    """What is stored of what a message says; ``sealed`` is what the rest must not hold."""

    text: str | None
    content: str
    filename: str
    sealed: bytes | None = None


@dataclass(slots=True, eq=False)
class _Row:
    """A message on its way into the table, and the batch position it came from."""

    position: int
    incoming: Incoming
    event: MessageEvent
    owner: _Owner
    contact: Someone
    platform_message_id: str
    message_id: UUID
    kept: _Kept
    inner_key: int | None
    group: str | None
    contact_id: UUID | None = None
    reply_to: str | None = None
    reply_to_key: int | None = None

    @property
    def rank(self) -> tuple[bool, bool]:
        """Of one message told twice in a batch, the one that tells more goes first."""
        return self.event.source == Source.HISTORY, self.event.type == references.PLACEHOLDER

    @property
    def order(self) -> tuple[str, tuple[bool, bool]]:
        """Every batch inserts in the same order."""
        return self.platform_message_id, self.rank

    @property
    def target(self) -> Target:
        """The message as others may refer to it."""
        return Target(
            self.incoming.tenant_id, self.incoming.workspace_id, self.platform_message_id,
            self.inner_key, self.contact_id, self.group, self.event.direction.value,
        )  # fmt: skip


def store(batch: Sequence[Incoming], *, alone: Collection[UUID] = ()) -> Stored:
    """Store a batch of events and return which of them were known before.

    Raises:
        identities.MustGoAlone: contacts of tenants that are not in ``alone`` turn out to be one
            person. Nothing was written; roll back (which frees the locks) and call it again so.
    """
    people = People(alone)
    locks.take(batch, alone=alone)
    rows = sorted(_messages_in(batch, people), key=lambda row: row.order)
    told = list(_preferences_in(batch, people))
    book = list(_book_of(batch, people))
    everybody = [*(row.contact for row in rows), *(someone for _, someone, _ in told)]
    everybody += address_book.people_in(book) if book else []
    reported = list(_statuses_in(batch))
    recipients, meant = receipts.recipients(reported, people)
    people.resolve([*everybody, *recipients], list(_changes_in(batch, people)), meant)
    for row in rows:
        contact = people.contact_of(row.contact)
        row.contact_id = contact.id if contact else None
    _find_targets(rows)
    added, completed = _add(rows)
    stored = Stored({row.position for row in rows} - {row.position for row in added + completed})
    stored.duplicates |= _store_reports(reported, added, people)
    amended = [
        (row.incoming.tenant_id, row.incoming.workspace_id, target)
        for row in added
        if (target := _amended(row))
    ]
    amendments.apply([row.target for row in added + completed], amended)
    if people.merged:
        merging.follow(people)
    if book:
        stored.duplicates |= address_book.store(book, people)
    stored.duplicates |= _record_consent(added, told, people)
    if people.passed_on:
        merging.pass_on(people)
    conversations.touch(_touches(added))
    tenants = {row.incoming.tenant_id for row in added}
    notices.received(tenants, partial(_arrivals, added))
    return stored


def _store_reports(
    reported: Sequence[receipts.Reported], added: Sequence[_Row], people: People
) -> set[int]:
    """Store receipts, and those that waited for what the business said elsewhere; return the
    positions of those that were known.
    """
    echoes = [row.target for row in added if row.event.direction == Direction.OUTBOUND]
    if not reported and not echoes:
        return set()
    stored = receipts.store(reported, people, echoes)
    if stored.reports:
        consequences.follow_reports(stored.reports, now=clock.now())
    return stored.duplicates


def _find_targets(rows: Sequence[_Row]) -> None:
    """Let rows refer to messages by those messages' own ids, whichever ids they name."""
    wanted = []
    for number, row in enumerate(rows):
        if row.reply_to is not None and row.reply_to_key is not None:
            me = row.target
            side = me.direction if row.event.type in AMENDING else None
            wanted.append(Reference(
                number, me.tenant_id, me.workspace_id, row.reply_to, row.reply_to_key,
                me.contact_id, me.group_id, side,
            ))  # fmt: skip
    for number, found in references.resolve(wanted).items():
        rows[number].reply_to, rows[number].reply_to_key = found, None


def _add(rows: Sequence[_Row]) -> tuple[list[_Row], list[_Row]]:
    """Insert messages; return those that are news, and those that only complete what was there."""
    values = [_values(row) for row in _told_once(rows)]
    fresh = transitions.receive(values)
    added = [row for row in rows if row.message_id in fresh]
    files, completed, told_again = [*added], list[_Row](), list[Received]()
    known = [row for row in rows if row.message_id not in fresh and _may_replace(row.event)]
    for number, old in replacing.giving_way(_said_again(known)).items():
        row = known[number]
        row.message_id, row.platform_message_id = old.id, old.platform_message_id
        row.kept = _kept(row.event, row.owner, row.incoming.tenant_id, old.id)
        told_again.append(_values(row))
        (added if old.is_imported else completed).append(row)
        if not old.is_revoked:
            files.append(row)
    replacing.replace(told_again)
    _insert_media(files)
    return added, completed


def _told_once(rows: Sequence[_Row]) -> Sequence[_Row]:
    """Leave out what the batch tells twice, under two ids of one message."""
    if len({row.inner_key or row.position for row in rows}) == len(rows):
        return rows
    best: dict[Target, _Row] = {}
    left_out = set()
    for row in rows:
        me = row.target._replace(platform_message_id="")
        if me.inner_key is None or (me.contact_id is None and me.group_id is None):
            continue
        other = best.setdefault(me, row)
        kinds = {row.event.type, other.event.type}
        if other is row or (len(kinds) > 1 and references.PLACEHOLDER not in kinds):
            continue
        best[me], worse = sorted((other, row), key=lambda one: one.rank)
        left_out.add(worse.position)
    return [row for row in rows if row.position not in left_out]


def _may_replace(event: MessageEvent) -> bool:
    return event.source != Source.HISTORY or event.media is not None


def _said_again(rows: Sequence[_Row]) -> list[replacing.SaidAgain]:
    said = []
    for number, row in enumerate(rows):
        me, event = row.target, row.event
        said.append(replacing.SaidAgain(
            number, *me[:3], row.inner_key, event.direction.value,
            event.source.value, event.type, me.contact_id, row.group,
        ))  # fmt: skip
    return said


def _arrivals(rows: Iterable[_Row]) -> Iterator[Arrival]:
    """Yield what is news to a tenant's apps, in the order of the lists."""
    for row in sorted(rows, key=lambda row: (row.event.timestamp, row.message_id)):
        event, incoming = row.event, row.incoming
        if name := _news(event):
            yield Arrival(
                name, incoming.tenant_id, incoming.workspace_id, row.message_id, event.type,
                event.timestamp,
            )  # fmt: skip


def _news(event: MessageEvent) -> str | None:
    """Return the event that tells of a message: none of what was imported, or written to a group by
    the business.
    """
    if event.direction == Direction.INBOUND and event.source == Source.LIVE:
        return notices.RECEIVED if event.group_id is None else notices.RECEIVED_IN_GROUP
    is_echo = event.source == Source.ECHO and event.group_id is None
    return notices.SENT_ELSEWHERE if is_echo else None


def _said(rows: Iterable[_Row]) -> Iterator[tuple[_Row, UUID]]:
    """Yield what belongs to a conversation, and whose it is; there are none with groups."""
    for row in rows:
        if row.contact_id and row.event.group_id is None and row.event.type not in UNSAID:
            yield row, row.contact_id


def _touches(rows: Iterable[_Row]) -> Iterator[Touch]:
    for row, contact_id in _said(rows):
        event, incoming = row.event, row.incoming
        inbound = event.direction == Direction.INBOUND
        yield Touch(
            incoming.tenant_id, incoming.workspace_id, contact_id, row.message_id,
            event.timestamp, inbound, inbound and event.source == Source.LIVE,
        )  # fmt: skip


def _record_consent(rows: Iterable[_Row], told: Iterable[_Told], people: People) -> set[int]:
    """Record what people say about marketing; return the positions of preferences that were no
    news.
    """
    said = [Statement(row.incoming.tenant_id, who, row.event) for row, who in _said(rows)]
    positions = {}
    for position, someone, event in told:
        if contact := people.contact_of(someone):
            positions[position] = someone.tenant_id, contact.id
            said.append(Statement(someone.tenant_id, contact.id, event))
    changed = optouts.record_statements(said)
    return {position for position, who in positions.items() if who not in changed}


def _amended(row: _Row) -> str | None:
    return row.reply_to if row.event.type in AMENDING else None


def _messages_in(batch: Iterable[Incoming], people: People) -> Iterator[_Row]:
    owners: dict[tuple[UUID, date], _Owner] = {}
    for position, incoming in enumerate(batch):
        event = incoming.event
        if isinstance(event, MessageEvent):
            whose = incoming.tenant_id, incoming.delivery_day
            owner = owners.get(whose) or owners.setdefault(whose, _owner(*whose, people))
            contact = identify_in(incoming, owner.digest, event.contact)
            wamid = owner.digest.wamid(_spaced(event))
            message_id = owner.message_id(incoming, wamid)
            kept = _kept(event, owner, incoming.tenant_id, message_id)
            digest, workspace_id = owner.digest, incoming.workspace_id
            row = _Row(
                position, incoming, event, owner, contact, wamid, message_id, kept,
                references.key_of(event.platform_message_id, digest, workspace_id),
                digest.group(event.group_id) if event.group_id else None,
            )  # fmt: skip
            if event.reply_to:
                row.reply_to = digest.wamid(event.reply_to)
                row.reply_to_key = references.key_of(event.reply_to, digest, workspace_id)
            yield row


def _spaced(event: MessageEvent) -> str:
    """Return a message's id; what one got of oneself keeps apart from what one wrote."""
    wamid = event.platform_message_id
    is_got = event.is_to_self and event.direction == Direction.INBOUND
    return f"{TO_SELF}{wamid}" if is_got else wamid


def _kept(event: MessageEvent, owner: _Owner, tenant_id: UUID, message_id: UUID) -> _Kept:
    """Return what is stored of a message. What somebody typed stays as it is."""
    filename = (event.media.filename if event.media else None) or ""
    stays = event.text is None or is_typed(event.type, event.source)
    if stays and not event.content and not filename:
        return _Kept(event.text, "{}", "")
    sender, contact = event.sender, event.contact
    separator = Separator((contact.phone, contact.other_phone, sender.phone, *event.numbers))
    content = separator.separate(event.content)
    text = event.text if stays else separator.separate(event.text)
    filename = separator.separate(filename)
    sealed = separator.seal(owner.cipher, tenant_id=tenant_id, place=SEALED_VALUES, row=message_id)
    return _Kept(text, sealed_values.encode(content), filename, sealed)


def _owner(tenant_id: UUID, day: date, people: People) -> _Owner:
    place = associated_data(tenant_id, references.SEALED_ID, "")
    return _Owner(people.digester(tenant_id), keys.day_cipher(tenant_id, day), place)


def _statuses_in(batch: Iterable[Incoming]) -> Iterator[receipts.Reported]:
    for position, incoming in enumerate(batch):
        if isinstance(incoming.event, StatusUpdate):
            yield position, incoming, incoming.event


def _preferences_in(batch: Iterable[Incoming], people: People) -> Iterator[_Told]:
    for position, incoming in enumerate(batch):
        event = incoming.event
        if isinstance(event, MarketingPreference):
            digest = people.digester(incoming.tenant_id)
            yield position, identify_in(incoming, digest, event.person), event


def _book_of(batch: Iterable[Incoming], people: People) -> Iterator[address_book.BookEntry]:
    for position, incoming in enumerate(batch):
        event = incoming.event
        if isinstance(event, AddressBookName):
            someone = identify_in(incoming, people.digester(incoming.tenant_id), event.person)
            yield address_book.BookEntry(position, someone, event)


def _changes_in(batch: Iterable[Incoming], people: People) -> Iterator[SamePerson]:
    for incoming in batch:
        event = incoming.event
        if isinstance(event, IdentityChange) and event.before.is_known and event.after.is_known:
            digest = people.digester(incoming.tenant_id)
            before, after = (identify_in(incoming, digest, p) for p in (event.before, event.after))
            yield SamePerson(before, after, event.takes_number)


def _values(row: _Row) -> Received:
    event, incoming, digest = row.event, row.incoming, row.owner.digest
    same = event.sender is event.contact or event.sender == event.contact
    sender = row.contact.primary if same else primary(digest, event.sender)
    return Received(
        id=row.message_id,
        tenant_id=incoming.tenant_id,
        workspace_id=incoming.workspace_id,
        contact_id=row.contact_id,
        platform_message_id=row.platform_message_id,
        direction=event.direction.value,
        source=event.source.value,
        type=event.type,
        sender=sender or "",
        text=row.kept.text,
        content=row.kept.content,
        inner_key=row.inner_key,
        reply_to=row.reply_to,
        reply_to_key=row.reply_to_key,
        group_id=row.group,
        timestamp_utc=event.timestamp,
        status=event.status and event.status[:32],
        sealed_id=row.owner.seal_id(event.platform_message_id, row.message_id),
        sealed_values=row.kept.sealed,
        delivery_id=incoming.delivery_id,
        delivery_day=incoming.delivery_day,
    )


def _insert_media(rows: Iterable[_Row]) -> None:
    files = []
    for row in rows:
        item = row.event.media
        if item is not None:
            files.append(
                (
                    uuid7(), row.incoming.tenant_id, row.incoming.workspace_id, row.message_id,
                    item.platform_media_id[:256], (item.mime_type or "")[:256],
                    (item.sha256 or "")[:128],
                    row.kept.filename, item.voice, item.animated, row.event.timestamp,
                )
            )  # fmt: skip
    bulk.run(INSERT_MEDIA, MEDIA_COLUMNS, files)
