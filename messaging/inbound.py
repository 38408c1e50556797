"""Store what was received, in bulk and idempotently: the same events again change nothing.

The caller owns the transaction. Every insert skips what is there already, so a repeated callback,
in whatever cut, has its effect once. Rows go in sorted by their unique key, or concurrent batches
deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from lib import clock
from lib.envelope import Cipher
from lib.ids import arrival_uuid7, uuid7
from messaging import (
    address_book,
    addresses,
    amendments,
    block_rule,
    conversations,
    joining,
    locks,
    media,
    merging,
    notices,
    optouts,
    receipts,
    references,
    sealed_values,
    transitions,
)
from messaging.address_book import BookEntry
from messaging.amendments import GivingWay, SaidAgain
from messaging.conversations import UNSAID, Touch
from messaging.delivery import side_effects
from messaging.events import (
    AMENDING,
    AddressBookName,
    Direction,
    Incoming,
    MarketingPreference,
    MessageEvent,
    Source,
    StatusUpdate,
    is_typed,
)
from messaging.media import NewFile
from messaging.notices import Arrival
from messaging.optouts import Consent, Statement
from messaging.people import Meant, People, SamePerson, Someone, primary
from messaging.receipts import Reported, StoredReceipts
from messaging.references import Reference, Target
from messaging.sealed_values import SEALED_VALUES, Separator
from messaging.transitions import Received
from workspaces import keys
from workspaces.events import emit_lazily
from workspaces.identity import Digester

# Of the updates of one callback that many keep their order; it holds a thousand (Meta, "Webhooks").
POSITION_BITS = 18
LAST_POSITION = (1 << POSITION_BITS) - 1
TO_SELF = "to-self:"


@dataclass(slots=True, eq=False)
class _Owner:
    """What the messages of one tenant and day have in common, looked up once per batch."""

    digest: Digester
    cipher: Cipher
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


class _Kept(NamedTuple):
    """What is stored of what a message says; ``sealed`` is what the rest must not hold."""

    text: str | None
    content: str
    filename: str
    sealed: bytes | None = None


@dataclass(slots=True, eq=False)
class _Arriving:
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
    def target(self) -> Target:
        """The message as others may refer to it."""
        return Target(
            self.incoming.tenant_id,
            self.incoming.workspace_id,
            self.platform_message_id,
            self.inner_key,
            self.contact_id,
            self.group,
            self.event.direction.value,
        )


# Position in the batch, who told the platform, and what.
_Told = tuple[int, Someone, MarketingPreference]


@dataclass(slots=True, eq=False)
class _Batch:
    """The events of a batch by their kinds."""

    messages: list[_Arriving] = field(default_factory=list)
    receipts: list[Reported] = field(default_factory=list)
    preferences: list[_Told] = field(default_factory=list)
    book: list[BookEntry] = field(default_factory=list)
    changes: list[SamePerson] = field(default_factory=list)


def store(batch: Sequence[Incoming], *, alone: Collection[UUID] = ()) -> set[int]:
    """Store a batch of events; return the positions (in it) of those that were known before.

    Raises:
        joining.MustGoAlone: contacts of tenants that are not in ``alone`` turn out to be one
            person. Nothing was written; roll back (which frees the locks) and call it again so.
    """
    locks.take(batch, alone=alone)
    people = People(alone)
    new = _by_kind(batch, people)
    _find_people(new, people)
    # Every batch inserts in the same order.
    rows = sorted(new.messages, key=lambda row: (row.platform_message_id, row.rank))
    added, completed = _add(rows) if rows else ([], [])
    known = {row.position for row in rows} - {row.position for row in (*added, *completed)}
    stored = _store_receipts(new.receipts, added, people)
    known |= stored.duplicates
    if added or completed:
        _amend(added, completed)
    if people.merged:
        merging.follow(people)
    if new.book:
        known |= address_book.store(new.book, people)
    said = _said(added)
    known |= _record_consent(said, new.preferences, stored.stops, people)
    if people.passed_on:
        merging.pass_on(people)
    touched = [_touch(row, contact_id) for row, contact_id in said]
    reopened = conversations.touch(touched) if touched else []
    if watched := touched and conversations.watched(touched):
        block_rule.watch(watched)
    if added:
        tenants = {row.incoming.tenant_id for row in added}
        emit_lazily(
            tenants,
            lambda: [*notices.arrived(list(_arrivals(added))), *notices.reopened(reopened)],
        )
    return known


def _by_kind(batch: Iterable[Incoming], people: People) -> _Batch:
    found = _Batch()
    owners: dict[tuple[UUID, date], _Owner] = {}
    for position, incoming in enumerate(batch):
        event = incoming.event
        if isinstance(event, MessageEvent):
            whose = incoming.tenant_id, incoming.delivery_day
            owner = owners.get(whose)
            if owner is None:
                owner = _Owner(people.digester(incoming.tenant_id), keys.day_cipher(*whose))
                owners[whose] = owner
            contact = people.identify(incoming, event.contact)
            found.messages.append(_arriving(position, incoming, event, owner, contact))
        elif isinstance(event, StatusUpdate):
            found.receipts.append((position, incoming, event))
        elif isinstance(event, MarketingPreference):
            found.preferences.append((position, people.identify(incoming, event.person), event))
        elif isinstance(event, AddressBookName):
            someone = people.identify(incoming, event.person)
            found.book.append(BookEntry(position, someone, event))
        elif event.before.is_known and event.after.is_known:
            before = people.identify(incoming, event.before)
            after = people.identify(incoming, event.after)
            found.changes.append(SamePerson(before, after, event.takes_number))
    return found


def _arriving(
    position: int, incoming: Incoming, event: MessageEvent, owner: _Owner, contact: Someone
) -> _Arriving:
    digest, workspace_id, wamid = owner.digest, incoming.workspace_id, event.platform_message_id
    if event.is_to_self and event.direction == Direction.INBOUND:
        wamid = f"{TO_SELF}{wamid}"  # what one got of oneself keeps apart from what one wrote
    platform_message_id = digest.wamid(wamid)
    message_id = owner.message_id(incoming, platform_message_id)
    row = _Arriving(
        position=position,
        incoming=incoming,
        event=event,
        owner=owner,
        contact=contact,
        platform_message_id=platform_message_id,
        message_id=message_id,
        kept=_kept(event, owner, incoming.tenant_id, message_id),
        inner_key=references.key_of(event.platform_message_id, digest, workspace_id),
        group=digest.group(event.group_id) if event.group_id else None,
    )
    if event.reply_to:
        row.reply_to = digest.wamid(event.reply_to)
        row.reply_to_key = references.key_of(event.reply_to, digest, workspace_id)
    return row


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


def _find_people(new: _Batch, people: People) -> None:
    """Let everybody in the batch be a contact, and its messages know theirs."""
    everybody = [row.contact for row in new.messages]
    everybody += [someone for _, someone, _ in new.preferences]
    meant: Sequence[Meant] = ()
    if new.book:
        everybody += address_book.people_in(new.book)
    if new.receipts:
        recipients, meant = receipts.recipients(new.receipts, people)
        everybody += recipients
    unsettled = people.unsettled(everybody, new.changes, meant)
    taken_over = joining.settle(people, unsettled) if unsettled else ()
    joined = [side for change in new.changes for side in change[:2]]
    people.rename(everybody, [*joined, *(one.someone for one in meant)], taken_over)
    addresses.keep(people, everybody)
    for row in new.messages:
        contact = people.contact_of(row.contact)
        row.contact_id = contact.id if contact else None


def _find_targets(rows: Sequence[_Arriving]) -> None:
    """Let rows refer to messages by those messages' own ids, whichever ids they name."""
    wanted = []
    for position, row in enumerate(rows):
        if row.reply_to is not None and row.reply_to_key is not None:
            me = row.target
            named = me.tenant_id, me.workspace_id, row.reply_to, row.reply_to_key
            side = me.direction if row.event.type in AMENDING else None
            wanted.append(Reference(position, *named, me.contact_id, me.group_id, side))
    if wanted:
        for position, found in references.resolve(wanted).items():
            rows[position].reply_to, rows[position].reply_to_key = found, None


def _add(rows: Sequence[_Arriving]) -> tuple[list[_Arriving], list[_Arriving]]:
    """Insert messages; return those that are news, and those that only complete what was there."""
    _find_targets(rows)
    fresh = transitions.receive([_values(row) for row in _without_repeats(rows)])
    added = [row for row in rows if row.message_id in fresh]
    files, completed = [*added], list[_Arriving]()
    known = [row for row in rows if row.message_id not in fresh]
    if telling := [row for row in known if row.event.source != Source.HISTORY or row.event.media]:
        for row, old in _replace(telling):
            (added if old.is_imported else completed).append(row)
            if not old.is_revoked:
                files.append(row)
    _insert_media(files)
    return added, completed


def _without_repeats(rows: Sequence[_Arriving]) -> Sequence[_Arriving]:
    """Leave out what the batch has twice, under two ids of one message."""
    if len({row.inner_key or row.position for row in rows}) == len(rows):
        return rows
    best: dict[Target, _Arriving] = {}
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


def _replace(rows: Sequence[_Arriving]) -> list[tuple[_Arriving, GivingWay]]:
    """Write rows in the place of those that tell less; return them, each with what gave way."""
    said = [
        SaidAgain(
            position,
            *row.target[:4],
            row.event.direction.value,
            row.event.source.value,
            row.event.type,
            row.contact_id,
            row.group,
        )
        for position, row in enumerate(rows)
    ]
    replaced = []
    for position, old in amendments.giving_way(said).items():
        row = rows[position]
        row.message_id, row.platform_message_id = old.id, old.platform_message_id
        row.kept = _kept(row.event, row.owner, row.incoming.tenant_id, old.id)
        replaced.append((row, old))
    amendments.replace([_values(row) for row, _ in replaced])
    return replaced


def _values(row: _Arriving) -> Received:
    event, incoming, owner = row.event, row.incoming, row.owner
    same = event.sender is event.contact or event.sender == event.contact
    sender = row.contact.primary if same else primary(owner.digest, event.sender)
    wamid, whose = event.platform_message_id, (incoming.tenant_id, row.message_id)
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
        sealed_id=references.seal_id(owner.cipher, *whose, wamid),
        sealed_values=row.kept.sealed,
        delivery_id=incoming.delivery_id,
        delivery_day=incoming.delivery_day,
    )


def _insert_media(rows: Iterable[_Arriving]) -> None:
    files = [
        NewFile(
            id=uuid7(),
            tenant_id=row.incoming.tenant_id,
            workspace_id=row.incoming.workspace_id,
            message_id=row.message_id,
            platform_media_id=file.platform_media_id[:256],
            mime_type=(file.mime_type or "")[:256],
            sha256=(file.sha256 or "")[:128],
            filename=row.kept.filename,
            voice=file.voice,
            animated=file.animated,
            sent_at=row.event.timestamp,
        )
        for row in rows
        if (file := row.event.media) is not None
    ]
    if files:
        media.insert(files)


def _store_receipts(
    reported: Sequence[Reported], added: Sequence[_Arriving], people: People
) -> StoredReceipts:
    """Store receipts, and those that waited for what the business said elsewhere."""
    echoes = [row.target for row in added if row.event.direction == Direction.OUTBOUND]
    if not reported and not echoes:
        return StoredReceipts(set(), [], [])
    stored = receipts.store(reported, people, echoes)
    if stored.reports:
        side_effects.follow_reports(stored.reports, now=clock.now())
    if stored.without_file:
        side_effects.follow_lost_files(stored.without_file, now=clock.now())
    return stored


def _amend(added: Sequence[_Arriving], completed: Sequence[_Arriving]) -> None:
    """Let what was stored, and what it amends, have the last word of their senders."""
    amended = [
        (row.incoming.tenant_id, row.incoming.workspace_id, row.reply_to)
        for row in added
        if row.reply_to and row.event.type in AMENDING
    ]
    amendments.apply([row.target for row in (*added, *completed)], amended)


def _said(rows: Iterable[_Arriving]) -> list[tuple[_Arriving, UUID]]:
    """Return what belongs to a conversation, and whose it is; there are none with groups."""
    return [
        (row, row.contact_id)
        for row in rows
        if row.contact_id and row.event.group_id is None and row.event.type not in UNSAID
    ]


def _record_consent(
    said: Iterable[tuple[_Arriving, UUID]],
    told: Iterable[_Told],
    stops: Collection[Consent],
    people: People,
) -> set[int]:
    """Record what people say about marketing, and what receipts say of them (``stops``); return the
    positions of preferences that were no news.
    """
    statements = [Statement(row.incoming.tenant_id, who, row.event) for row, who in said]
    positions = {}
    for position, someone, event in told:
        if contact := people.contact_of(someone):
            positions[position] = someone.tenant_id, contact.id
            statements.append(Statement(someone.tenant_id, contact.id, event))
    if not statements and not stops:
        return set()
    changed = optouts.record_statements(statements, stops)
    return {position for position, who in positions.items() if who not in changed}


def _touch(row: _Arriving, contact_id: UUID) -> Touch:
    incoming, event = row.incoming, row.event
    inbound = event.direction == Direction.INBOUND
    return Touch(
        incoming.tenant_id,
        incoming.workspace_id,
        contact_id,
        row.message_id,
        event.timestamp,
        is_inbound=inbound,
        counts_as_unread=inbound and event.source == Source.LIVE,
    )


def _arrivals(rows: Iterable[_Arriving]) -> Iterator[Arrival]:
    """Yield what is news to a tenant's apps, in the order of the lists."""
    for row in sorted(rows, key=lambda row: (row.event.timestamp, row.message_id)):
        event, whose = row.event, (row.incoming.tenant_id, row.incoming.workspace_id)
        if name := _news(event):
            yield Arrival(name, *whose, row.message_id, event.type, event.timestamp)


def _news(event: MessageEvent) -> str | None:
    """Return the event that tells of a message: none of what was imported, or written to a group by
    the business.
    """
    if event.direction == Direction.INBOUND and event.source == Source.LIVE:
        return notices.RECEIVED if event.group_id is None else notices.RECEIVED_IN_GROUP
    is_echo = event.source == Source.ECHO and event.group_id is None
    return notices.SENT_ELSEWHERE if is_echo else None
