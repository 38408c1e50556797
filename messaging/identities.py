"""Recognise people by keyed digests: any of phone, BSUID and parent BSUID leads to one contact.

Contacts that turn out to be one person become one, the older one (docs/adr/0018). What must *not*
become one: a phone number that comes with another BSUID of the same portfolio was given to somebody
else (Meta, "Business-scoped user IDs": one per portfolio and user). The number moves, and whoever
had it before keeps BSUID, thread and opt-out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from lib.ids import uuid7
from lib.masking import has_digit
from messaging import changing
from messaging.events import Person, Private
from messaging.models import IdentityKind
from messaging.sealed_values import hide_name, keep_name
from workspaces.identity import Digester, digester

FIND = """
SELECT i.digest, i.contact_id, c.display_name, c.username, c.created_at, c.book_name
FROM {rows} JOIN contact_identities i ON i.tenant_id = r.tenant_id AND i.digest = r.digest
JOIN contacts c ON c.id = i.contact_id
"""
KNOWN_AS = """
SELECT i.contact_id, i.kind, i.digest, i.workspace_id, i.since, i.phone
FROM {rows} JOIN contact_identities i ON i.contact_id = r.id
"""
# The portfolio of a number, as far as the platform told; else its account; else the number itself.
ACCOUNTS = """
SELECT w.id, coalesce(
    (SELECT max(n.portfolio_id) FROM workspaces o JOIN number_states n ON n.workspace_id = o.id
     WHERE o.tenant_id = w.tenant_id AND n.portfolio_id <> ''
       AND (o.id = w.id OR (o.waba_id = w.waba_id AND w.waba_id <> ''))),
    nullif(w.waba_id, ''), w.id::text)
FROM {rows} JOIN workspaces w ON w.tenant_id = r.tenant_id
"""
ADD_CONTACTS = """
INSERT INTO contacts (id, tenant_id, display_name, username)
SELECT r.id, r.tenant_id, r.display_name, r.username FROM {rows} ON CONFLICT DO NOTHING
"""
# A digest that moves: its person was recognised by a stronger identity.
LINK = """
INSERT INTO contact_identities AS i (
    tenant_id, digest, kind, contact_id, workspace_id, since, phone
)
SELECT r.tenant_id, r.digest, r.kind, r.contact_id, r.workspace_id, r.since, r.phone FROM {rows}
ON CONFLICT (tenant_id, digest) DO UPDATE SET
  contact_id = excluded.contact_id, phone = coalesce(excluded.phone, i.phone),
  workspace_id = CASE WHEN i.contact_id = excluded.contact_id THEN i.workspace_id
                 ELSE excluded.workspace_id END,
  since = CASE WHEN i.contact_id = excluded.contact_id THEN i.since ELSE excluded.since END
WHERE i.contact_id <> excluded.contact_id OR i.phone <> excluded.phone
   OR (i.phone IS NULL AND excluded.phone IS NOT NULL)
"""
HAND_OVER = """
UPDATE contact_identities i SET contact_id = r.winner_id FROM {rows} WHERE i.contact_id = r.id
"""
# An alias has no names. Also what was merged into these before; an OR of both would read the table
# from its beginning.
MERGE = """
WITH r AS MATERIALIZED (SELECT * FROM {rows}), gone AS (
    SELECT r.id, r.winner_id FROM r UNION ALL
    SELECT a.id, r.winner_id FROM r JOIN contacts a ON a.merged_into = r.id
)
UPDATE contacts c SET merged_into = gone.winner_id, display_name = '', username = '',
    updated_at = now()
FROM gone WHERE c.id = gone.id
"""
# The address book may have told another name meanwhile, which stays.
RENAME = changing.statement(
    table="contacts", found="{rows} JOIN contacts m ON m.id = r.id",
    carry="r.display_name, r.username, r.book_name, r.hidden_book_name",
    assign="display_name = mine.display_name, username = mine.username, updated_at = now(), "
    "book_name = CASE m.book_name WHEN mine.book_name THEN mine.hidden_book_name "
    "ELSE m.book_name END",
)  # fmt: skip
RENAME_COLUMNS = (
    "id uuid", "display_name text", "username text", "book_name text", "hidden_book_name text",
)  # fmt: skip
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('contacts:' || r.tenant_id, 0)) FROM {rows}"
SURVIVORS = """
SELECT r.id, c.merged_into FROM {rows} JOIN contacts c ON c.id = r.id
WHERE c.merged_into IS NOT NULL
"""
# A contact's id as it is now, inside a statement; ``{contact_id}`` is the column it stands in.
SURVIVOR = "coalesce((SELECT merged_into FROM contacts WHERE id = {contact_id}), {contact_id})"
# Every id that a person's messages may have: the contact's, and those that were merged into it.
ALL_IDS = "SELECT {contact_id} UNION ALL SELECT id FROM contacts WHERE merged_into = {contact_id}"

LINK_COLUMNS = (
    "tenant_id uuid", "digest text", "kind text", "contact_id uuid", "workspace_id uuid",
    "since timestamptz", "phone text",
)  # fmt: skip
# Older than nobody: contacts made just now, and what is so now.
_NEWEST = datetime.max.replace(tzinfo=UTC)


class MustGoAlone(Exception):
    """Contacts of these tenants are to be merged, and nobody else may write meanwhile.

    Nothing was written. Roll back, lock (``messaging.locks``), and begin again.
    """

    def __init__(self, tenant_ids: Collection[UUID]) -> None:
        super().__init__(f"Contacts of {len(tenant_ids)} tenants are to be merged.")
        self.tenant_ids = frozenset(tenant_ids)


@dataclass(slots=True, eq=False)
class Contact:
    """A contact as the batch sees it."""

    id: UUID
    display_name: str
    username: str
    created_at: datetime
    book_name: str = ""
    hidden_book_name: str = ""
    is_new: bool = False
    merged_into: Contact | None = None

    @property
    def survivor(self) -> Contact:
        """The contact that this one is now."""
        found = self
        while found.merged_into is not None:
            found = found.merged_into
        return found

    @property
    def names(self) -> tuple[UUID, str, str, str, str]:
        """The row that renames it, in the order of ``RENAME_COLUMNS``."""
        hidden = self.hidden_book_name or self.book_name
        return self.id, self.display_name, self.username, self.book_name, hidden

    def hide_names(self, someone: Someone) -> bool:
        """Seal the names that hold the number of ``someone``, who it is; tell whether any did."""
        if not has_digit(f"{self.display_name}{self.username}{self.book_name}"):
            return False
        before = self.names
        self.display_name = someone.hidden(self.display_name)
        self.username = someone.hidden(self.username)
        self.hidden_book_name = someone.hidden(self.hidden_book_name or self.book_name)
        return self.names != before

    @property
    def age(self) -> tuple[datetime, UUID]:
        """What decides which of two contacts stays: the smaller one."""
        return self.created_at, self.id


@dataclass(slots=True, eq=False)
class Someone:
    """A person with the digests of their identities, each computed once per batch.

    ``phones`` are the ways to write the number, first as it came. ``workspace_id`` is the number of
    the business that tells, ``at`` when it was so (``None``: now), ``day`` that of the callback.
    """

    tenant_id: UUID
    person: Person
    phones: tuple[str, ...] = ()
    user: str | None = None
    parent: str | None = None
    workspace_id: UUID | None = None
    at: datetime | None = None
    day: date | None = None

    @property
    def digests(self) -> Iterator[str]:
        """The identities that are present, those first that tell most."""
        if self.user:
            yield self.user
        if self.parent:
            yield self.parent
        yield from self.phones

    @property
    def primary(self) -> str | None:
        """The digest that stands for the person: of the phone, else the BSUID, else the parent."""
        return self.phones[0] if self.phones else self.user or self.parent

    @property
    def tells(self) -> bool:
        """Whether it joins identities: a number and a user id, or two user ids."""
        return bool(self.phones) + bool(self.user) + bool(self.parent) > 1

    def kept(self, told: str | Private | None, before: str = "") -> str:
        """Return what is stored of a name, or ``before`` where none is told."""
        if not told or told == before:
            return before
        day = self.day or clock.now().date()
        return keep_name(told, before, tenant_id=self.tenant_id, day=day)

    def hidden(self, name: str) -> str:
        """Return what is stored of a name from now on, since this is whose it is."""
        numbers, day = (self.person.phone, self.person.other_phone), self.day or clock.now().date()
        return hide_name(name, numbers, tenant_id=self.tenant_id, day=day)


def identify(
    digest: Digester,
    tenant_id: UUID,
    person: Person,
    *,
    workspace_id: UUID | None = None,
    at: datetime | None = None,
    day: date | None = None,
) -> Someone:
    """Digest a person's identities."""
    phones = digest.phones(person.phone) if person.phone else ()
    if person.other_phone and (other := digest.phone(person.other_phone)) not in phones:
        phones = (*phones, other)
    return Someone(
        tenant_id,
        person,
        phones,
        digest.user(person.user_id) if person.user_id else None,
        digest.parent(person.parent_user_id) if person.parent_user_id else None,
        workspace_id,
        at,
        day,
    )


def primary(digest: Digester, person: Person) -> str | None:
    """Return the digest that stands for a person, without computing the others."""
    if person.phone:
        return digest.phone(person.phone)
    if person.user_id:
        return digest.user(person.user_id)
    return digest.parent(person.parent_user_id) if person.parent_user_id else None


def survivors(ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return for each contact's id the one it has now; most have the same."""
    merged = dict(bulk.run(SURVIVORS, ("id uuid",), [(one,) for one in ids]))
    return {one: merged.get(one, one) for one in ids}


def lock(tenant_ids: Collection[UUID]) -> None:
    """Let nobody else make, link or merge contacts until the caller's transaction ends."""
    bulk.run(LOCK, ("tenant_id text",), [(one,) for one in sorted(map(str, tenant_ids))])


class Change(NamedTuple):
    """Two sides that are one person, and whether a number may be taken from who holds it now."""

    before: Someone
    after: Someone
    takes: bool = True


class Meant(NamedTuple):
    """A person whom we wrote to as ``contact``, so they are that contact."""

    someone: Someone
    contact: Contact


class People:
    """The contacts of one batch, by digest: salted per tenant, a digest never means two tenants.

    Contacts are merged for the tenants in ``alone`` only: see :class:`MustGoAlone`. ``merged`` are
    the contacts that were, each with its tenant and the contact it became; ``passed_on`` whose
    number was given to whom.
    """

    def __init__(self, alone: Collection[UUID] = ()) -> None:
        self._alone = alone
        self._digesters: dict[UUID, Digester] = {}
        self._known: dict[str, Contact] = {}
        self.merged: list[tuple[UUID, Contact, Contact]] = []
        self.passed_on: list[tuple[UUID, Contact, Contact]] = []

    def digester(self, tenant_id: UUID) -> Digester:
        """Return the tenant's digester, kept for the batch."""
        found = self._digesters.get(tenant_id)
        return found or self._digesters.setdefault(tenant_id, digester(tenant_id))

    def contact_of(self, someone: Someone) -> Contact | None:
        """Return the contact of somebody given to :meth:`find` or :meth:`resolve`: BSUID before
        parent before phone, in either way of writing it.

        ``None`` where nothing identifies the person.
        """
        for digest in someone.digests:
            if contact := self._known.get(digest):
                return contact if contact.merged_into is None else contact.survivor
        return None

    def contacts_of(self, someone: Someone) -> set[Contact]:
        """Return every contact that an identity of somebody leads to: one, once they are joined."""
        return {found.survivor for d in someone.digests if (found := self._known.get(d))}

    def known(self, contact: Contact) -> Contact:
        """Return a contact as the batch knows it already, or the given one."""
        return next((one for one in self._known.values() if one.id == contact.id), contact)

    def find(self, people: Iterable[Someone]) -> None:
        """Find the contacts of those who have one, and make none."""
        wanted = {digest: s.tenant_id for s in people for digest in s.digests}
        rows = [(tenant_id, d) for d, tenant_id in wanted.items() if d not in self._known]
        contacts: dict[UUID, Contact] = {contact.id: contact for contact in self._known.values()}
        for digest, *row in bulk.run(FIND, ("tenant_id uuid", "digest text"), rows):
            self._known[digest] = contacts.setdefault(row[0], Contact(*row))

    def resolve(
        self,
        people: Sequence[Someone],
        changes: Sequence[Change] = (),
        meant: Sequence[Meant] = (),
    ) -> None:
        """Find or create the contact of everybody, and join what is one person.

        Raises:
            MustGoAlone: contacts are to be merged, and the caller did not lock for that.
        """
        self.find([*people, *(side for change in changes for side in change[:2])])
        strangers = [someone for someone in people if not self._is_settled(someone)]
        changed = [change for change in changes if not self._is_joined(change)]
        unlike = [one for one in meant if self.contact_of(one.someone) is not one.contact]
        if strangers or changed or unlike:
            self._settle(strangers, changed, unlike)
        joined = [side for change in changes for side in change[:2]]
        self._rename(people, [*joined, *(one.someone for one in meant)])

    def _is_settled(self, someone: Someone) -> bool:
        contacts = {self._known.get(digest) for digest in someone.digests}
        return not contacts or (len(contacts) == 1 and None not in contacts)

    def _is_joined(self, change: Change) -> bool:
        contacts = {self._known.get(digest) for side in change[:2] for digest in side.digests}
        return len(contacts) == 1 and None not in contacts

    def _settle(
        self, strangers: Sequence[Someone], changes: Sequence[Change], meant: Sequence[Meant]
    ) -> None:
        """Create, link and merge under a lock per tenant: two workers never make one person
        twice.
        """
        concerned = [*strangers, *(side for change in changes for side in change[:2])]
        concerned += [one.someone for one in meant]
        lock({someone.tenant_id for someone in concerned})
        for someone in concerned:  # what was read before the lock may be out of date
            for digest in someone.digests:
                self._known.pop(digest, None)
        self.find(concerned)
        joining = _Joining(self._known, {one.contact for one in meant})
        for someone in sorted(strangers, key=_moment):
            joining.place(someone)
        for change in sorted(changes, key=lambda change: _moment(change.before)):
            contact = joining.place(change.before)
            joining.place(change.after, known=contact, takes=change.takes)
        for one in meant:
            joining.place(one.someone, known=one.contact.survivor, takes=False)
        if crowded := {tenant for tenant, *_ in joining.merged} - set(self._alone):
            raise MustGoAlone(crowded)
        joining.save()
        self.merged += joining.merged
        self.passed_on += joining.passed_on

    def _rename(self, people: Sequence[Someone], joined: Sequence[Someone]) -> None:
        """Store the names that ``people`` tell, and seal those that hold a number which is known to
        be their person's now.
        """
        changed: set[Contact] = set()
        for someone in people:
            contact, person = self.contact_of(someone), someone.person
            if contact is None:
                continue
            name = someone.kept(person.name, contact.display_name)
            username = someone.kept(person.username, contact.username)
            if name != contact.display_name or username != contact.username:
                contact.display_name, contact.username = name, username
                changed.add(contact)
        for someone in (*people, *joined):
            for contact in self._known_by_number(someone):
                if contact.hide_names(someone):
                    changed.add(contact)
        bulk.run(RENAME, RENAME_COLUMNS, sorted(contact.names for contact in changed))

    def _known_by_number(self, someone: Someone) -> Iterator[Contact]:
        """Yield whom the number of somebody means, and who was merged into them just now."""
        contact = self.contact_of(someone) if someone.phones else None
        if contact is not None:
            yield contact
            yield from (loser for _, loser, _ in self.merged if loser.survivor is contact)


# User ids by their kind and the number that told, each with the phone number it was told with.
_Ids = dict[tuple[IdentityKind, UUID | None], dict[str, str | None]]


@dataclass(slots=True)
class _Names:
    """What one contact is known as: user ids, and phone numbers with the time since when."""

    ids: _Ids = field(default_factory=dict)
    phones: dict[str, datetime | None] = field(default_factory=dict)

    def add(
        self,
        kind: IdentityKind,
        digest: str,
        workspace_id: UUID | None,
        since: datetime | None,
        phone: str | None,
    ) -> None:
        """Take in one identity."""
        if kind in (IdentityKind.USER, IdentityKind.PARENT):
            self.ids.setdefault((kind, workspace_id), {})[digest] = phone
        else:
            self.phones[digest] = since

    def join(self, other: _Names) -> None:
        """Take in all that another contact is known as."""
        for key, digests in other.ids.items():
            self.ids.setdefault(key, {}).update(digests)
        self.phones |= other.phones

    def ids_with(self, phones: Collection[str]) -> _Ids:
        """Return the user ids that go with a phone number, however it is written: who changed their
        number has others with the new one. Where it is not known, all go with the only number.
        """
        is_only = self.phones.keys() <= set(phones)
        found: _Ids = {}
        for key, digests in self.ids.items():
            mine = {d: p for d, p in digests.items() if (is_only if p is None else p in phones)}
            if mine:
                found[key] = mine
        return found


class _Joining:
    """Decides who is who for the people of one batch, under the lock; writes at the end."""

    def __init__(self, known: dict[str, Contact], others: Collection[Contact]) -> None:
        self._known = known
        self._names: dict[Contact, _Names] = defaultdict(_Names)
        self._accounts: dict[UUID, dict[UUID, str]] = {}
        self._made: list[tuple[UUID, Contact]] = []
        self._links: dict[str, tuple[Someone, IdentityKind, Contact]] = {}
        self._named: set[Contact] = set()
        self.merged: list[tuple[UUID, Contact, Contact]] = []
        self.passed_on: list[tuple[UUID, Contact, Contact]] = []
        owners = {contact.id: contact for contact in (*known.values(), *others)}
        rows = bulk.run(KNOWN_AS, ("id uuid",), [(owner,) for owner in owners])
        for contact_id, kind, *identity in rows:
            self._names[owners[contact_id]].add(IdentityKind(kind), *identity)

    def place(
        self, someone: Someone, *, known: Contact | None = None, takes: bool = True
    ) -> Contact:
        """Return the contact that somebody is: found, linked, merged or made.

        ``known`` is who they are for another reason. Unless it ``takes``, nothing is done about an
        identity that speaks for somebody else.
        """
        tenant_id, mine = someone.tenant_id, _ids_of(someone)
        contact, linked = known and known.survivor, []
        for kind, digest in _user_ids(someone):
            owner = self._owner(digest)
            theirs = self._names[owner].ids if owner else mine
            if takes or contact in (None, owner) or not self._clash(tenant_id, contact, theirs):
                contact = self._merge(tenant_id, contact, owner)
                linked.append((kind, digest))
        before: list[Contact] = []
        for kind, digest in self._phones_of(someone, contact, takes):
            holder = self._owner(digest)
            # Of a change of number both sides are told: what the old side was known as is past.
            past = takes and contact is not None and contact is known
            if self._is_same(someone, None if past else contact, holder):
                contact = self._merge(tenant_id, contact, holder)
            elif holder is None or not takes or self._is_late(holder, digest, someone):
                continue
            else:
                before.append(holder)
            linked.append((kind, digest))
        contact = contact or self._make(someone)
        for kind, digest in linked:
            self._link(someone, kind, digest, contact)
        self.passed_on += [(tenant_id, holder, contact) for holder in before]
        return contact

    def save(self) -> None:
        """Write what was decided."""
        made = [(c.id, t, c.display_name, c.username) for t, c in self._made if not c.merged_into]
        columns = ("id uuid", "tenant_id uuid", "display_name text", "username text")
        bulk.run(ADD_CONTACTS, columns, made)
        merged = sorted((loser.id, winner.survivor.id) for _, loser, winner in self.merged)
        bulk.run(HAND_OVER, ("id uuid", "winner_id uuid"), merged)
        bulk.run(MERGE, ("id uuid", "winner_id uuid"), merged)
        names = sorted(c.names for c in self._named if not c.is_new)
        bulk.run(RENAME, RENAME_COLUMNS, names)
        bulk.run(LINK, LINK_COLUMNS, [self._row(digest) for digest in sorted(self._links)])

    def _row(self, digest: str) -> tuple[object, ...]:
        someone, kind, contact = self._links[digest]
        now = clock.now()
        since = min(someone.at or now, now)
        owner = contact.survivor.id
        phone = _phone_of(someone, kind)
        return someone.tenant_id, digest, kind.value, owner, someone.workspace_id, since, phone

    def _owner(self, digest: str) -> Contact | None:
        found = self._known.get(digest)
        return found and found.survivor

    def _phones_of(
        self, someone: Someone, contact: Contact | None, takes: bool
    ) -> list[tuple[IdentityKind, str]]:
        """Return the ways to write somebody's number. One that does not take leaves those alone
        who have a number already.
        """
        have = self._names[contact].phones if contact else {}
        phones = someone.phones
        if not phones or (not takes and have and not have.keys() & set(phones)):
            return []
        written = [phone for phone in phones if phone in self._known] or phones[:1]
        return [
            (IdentityKind.PHONE if phone in written else IdentityKind.ALIAS, phone)
            for phone in phones
        ]

    def _is_same(self, someone: Someone, contact: Contact | None, holder: Contact | None) -> bool:
        """Whether whoever holds a number may be somebody (``contact``, as far as there is one)."""
        if holder is None or holder is contact:
            return True
        theirs = self._names[holder].ids_with(someone.phones)
        if self._clash(someone.tenant_id, contact, theirs):
            return False
        return not self._differ(someone.tenant_id, _ids_of(someone), theirs)

    def _clash(self, tenant_id: UUID, contact: Contact | None, theirs: _Ids) -> bool:
        return contact is not None and self._differ(tenant_id, self._names[contact].ids, theirs)

    def _differ(self, tenant_id: UUID, ours: _Ids, theirs: _Ids) -> bool:
        """Whether the ids are of two people: one portfolio has other ids for each."""
        if not ours or not theirs:
            return False
        mine, others = (self._by_account(ids, tenant_id) for ids in (ours, theirs))
        return any(mine[key].isdisjoint(others[key]) for key in mine.keys() & others.keys())

    def _by_account(self, ids: _Ids, tenant_id: UUID) -> dict[tuple[IdentityKind, str], set[str]]:
        if tenant_id not in self._accounts:
            self._accounts[tenant_id] = dict(
                bulk.run(ACCOUNTS, ("tenant_id uuid",), [(tenant_id,)])
            )
        accounts = self._accounts[tenant_id]
        # Who told is not known of rows from before 1.1; with one portfolio there is no question.
        only = next(iter(accounts.values())) if len(set(accounts.values())) == 1 else None
        found: dict[tuple[IdentityKind, str], set[str]] = defaultdict(set)
        for (kind, workspace_id), digests in ids.items():
            account = accounts.get(workspace_id, only) if workspace_id else only
            if account is not None:
                found[kind, account].update(digests)
        return found

    def _is_late(self, holder: Contact, phone: str, someone: Someone) -> bool:
        """Whether the holder has had the number since a time after that of which is told."""
        since = self._names[holder].phones.get(phone)
        return since is not None and someone.at is not None and someone.at < since

    def _merge(self, tenant_id: UUID, one: Contact | None, other: Contact | None) -> Contact | None:
        if one is None or other is None or one is other:
            return one or other
        winner, loser = sorted((one, other), key=lambda contact: contact.age)
        loser.merged_into = winner
        self._names[winner].join(self._names.pop(loser, _Names()))
        if not loser.is_new:
            self.merged.append((tenant_id, loser, winner))
        if not winner.display_name or not winner.username:
            winner.display_name = winner.display_name or loser.display_name
            winner.username = winner.username or loser.username
            self._named.add(winner)
        loser.display_name = loser.username = ""
        return winner

    def _make(self, someone: Someone) -> Contact:
        person = someone.person
        names = someone.kept(person.name), someone.kept(person.username)
        contact = Contact(uuid7(), *names, _NEWEST, is_new=True)
        self._made.append((someone.tenant_id, contact))
        return contact

    def _link(self, someone: Someone, kind: IdentityKind, digest: str, contact: Contact) -> None:
        owner = self._owner(digest)
        phone = _phone_of(someone, kind)
        if owner is contact and phone is None:
            return
        if owner is not None and owner is not contact:
            self._names[owner].phones.pop(digest, None)
        self._known[digest] = contact
        if owner is contact:
            self._tell_with(contact, digest, phone)
        else:
            self._names[contact].add(kind, digest, someone.workspace_id, someone.at, phone)
        self._links[digest] = someone, kind, contact

    def _tell_with(self, contact: Contact, digest: str, phone: str | None) -> None:
        for digests in self._names[contact].ids.values():
            if digest in digests:
                digests[digest] = phone


def _user_ids(someone: Someone) -> list[tuple[IdentityKind, str]]:
    kinds = ((IdentityKind.USER, someone.user), (IdentityKind.PARENT, someone.parent))
    return [(kind, digest) for kind, digest in kinds if digest]


def _ids_of(someone: Someone) -> _Ids:
    return {(kind, someone.workspace_id): {digest: None} for kind, digest in _user_ids(someone)}


def _phone_of(someone: Someone, kind: IdentityKind) -> str | None:
    """Return the number that a user id was told with."""
    is_id = kind in (IdentityKind.USER, IdentityKind.PARENT)
    return someone.phones[0] if is_id and someone.phones else None


def _moment(someone: Someone) -> datetime:
    return someone.at or _NEWEST
