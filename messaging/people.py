"""People by keyed digests: any of phone, BSUID and parent BSUID leads to one contact. A batch looks
each person up once, and keeps the names that it is told.

Whose contact must be made first, or joined with another, is decided in :mod:`messaging.joining`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from lib import bulk, clock
from lib.masking import has_digit
from messaging import changing
from messaging.events import Incoming, Person, Private
from messaging.sealed_values import hide_name, keep_name
from workspaces.identity import Digester, digester

FIND = """
SELECT i.digest, i.address_day,
    c.tenant_id, c.id, c.display_name, c.username, c.created_at, c.book_name
FROM {rows} JOIN contact_identities i ON i.tenant_id = r.tenant_id AND i.digest = r.digest
JOIN contacts c ON c.tenant_id = i.tenant_id AND c.id = i.contact_id
"""
# The address book may have told another name meanwhile, which stays.
RENAME = changing.statement(
    table="contacts",
    found="{rows} JOIN contacts m ON m.tenant_id = r.tenant_id AND m.id = r.id",
    carry="r.display_name, r.username, r.book_name, r.hidden_book_name",
    assign="display_name = mine.display_name, username = mine.username, updated_at = now(), "
    "book_name = CASE m.book_name WHEN mine.book_name THEN mine.hidden_book_name "
    "ELSE m.book_name END",
)
RENAME_COLUMNS = (
    "tenant_id uuid",
    "id uuid",
    "display_name text",
    "username text",
    "book_name text",
    "hidden_book_name text",
)
SURVIVORS = """
SELECT r.id, c.merged_into FROM {rows} JOIN contacts c ON c.tenant_id = r.tenant_id AND c.id = r.id
WHERE c.merged_into IS NOT NULL
"""
# A contact's id as it is now, inside a statement, by the columns that its ids stand in. Rows are
# joined by it behind OFFSET 0 only: with a sub-select in it the condition is none of an index
# (docs/adr/0022).
SURVIVOR = """coalesce((
    SELECT merged_into FROM contacts WHERE tenant_id = {tenant_id} AND id = {contact_id}
), {contact_id})"""
# Every id that a person's messages may have: the contact's, and those that were merged into it.
ALL_IDS = """
SELECT {contact_id} UNION ALL
SELECT id FROM contacts WHERE tenant_id = {tenant_id} AND merged_into = {contact_id}
"""


@dataclass(slots=True, eq=False)
class KnownContact:
    """A contact as the batch sees it."""

    tenant_id: UUID
    id: UUID
    display_name: str
    username: str
    created_at: datetime
    book_name: str = ""
    hidden_book_name: str = ""
    is_new: bool = False
    merged_into: KnownContact | None = None

    @property
    def survivor(self) -> KnownContact:
        """The contact that this one is now."""
        found = self
        while found.merged_into is not None:
            found = found.merged_into
        return found

    @property
    def age(self) -> tuple[datetime, UUID]:
        """What decides which of two contacts stays: the smaller one."""
        return self.created_at, self.id


@dataclass(slots=True, eq=False)
class Someone:
    """A person with the digests of their identities, each computed once per batch.

    ``phones`` are the ways to write the number, first as it came. ``workspace_id`` is the number of
    the business that reports them, ``at`` when it was so (``None``: now), ``day`` that of the
    callback.
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
        """The identities that are present, the strongest first."""
        if self.user:
            yield self.user
        if self.parent:
            yield self.parent
        yield from self.phones

    @property
    def addresses(self) -> Iterator[tuple[str, str]]:
        """Where the person can be written to, each with its digest."""
        person = self.person
        if self.user and person.user_id:
            yield self.user, person.user_id
        if self.parent and person.parent_user_id:
            yield self.parent, person.parent_user_id
        if self.phones and (number := person.phone or person.other_phone):
            yield self.phones[0], number

    @property
    def primary(self) -> str | None:
        """The digest that stands for the person: of the phone, else the BSUID, else the parent."""
        return self.phones[0] if self.phones else self.user or self.parent

    @property
    def tells(self) -> bool:
        """Whether it joins identities: a number and a user id, or two user ids."""
        return bool(self.phones) + bool(self.user) + bool(self.parent) > 1

    def kept(self, given: str | Private | None, before: str = "") -> str:
        """Return what is stored of a name, or ``before`` where none is given."""
        if not given or given == before:
            return before
        day = self.day or clock.now().date()
        return keep_name(given, before, tenant_id=self.tenant_id, day=day)

    def hidden(self, name: str) -> str:
        """Return what is stored of a name from now on, since this is whose it is."""
        numbers, day = (self.person.phone, self.person.other_phone), self.day or clock.now().date()
        return hide_name(name, numbers, tenant_id=self.tenant_id, day=day)


class SamePerson(NamedTuple):
    """Two sides that are one person, and whether a number may be taken from who holds it now."""

    before: Someone
    after: Someone
    takes: bool = True


class Meant(NamedTuple):
    """A person whom we wrote to as ``contact``, so they are that contact."""

    someone: Someone
    contact: KnownContact


class Unsettled(NamedTuple):
    """People whose contact must be made or linked, changes that must be followed, and people who
    are not yet the contact that we wrote to.
    """

    strangers: list[Someone]
    changes: list[SamePerson]
    meant: list[Meant]


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


def survivors(contacts: Collection[tuple[UUID, UUID]]) -> dict[UUID, UUID]:
    """Return for each contact (tenant and id) the id that it has now; most have the same."""
    merged = dict(bulk.run(SURVIVORS, ("tenant_id uuid", "id uuid"), list(contacts)))
    return {one: merged.get(one, one) for _, one in contacts}


class People:
    """The contacts of one batch, by digest: salted per tenant, a digest never means two tenants.

    Contacts are merged for the tenants in ``alone`` only (:class:`messaging.joining.MustGoAlone`).
    ``merged`` are the contacts that were, each with its tenant and the contact it became;
    ``passed_on`` whose number was given to whom; ``address_days`` when each identity's address was
    kept last.
    """

    def __init__(self, alone: Collection[UUID] = ()) -> None:
        self.alone = alone
        self._digesters: dict[UUID, Digester] = {}
        self.by_digest: dict[str, KnownContact] = {}
        self.address_days: dict[str, date | None] = {}
        self.merged: list[tuple[UUID, KnownContact, KnownContact]] = []
        self.passed_on: list[tuple[UUID, KnownContact, KnownContact]] = []

    def digester(self, tenant_id: UUID) -> Digester:
        """Return the tenant's digester, kept for the batch."""
        found = self._digesters.get(tenant_id)
        return found or self._digesters.setdefault(tenant_id, digester(tenant_id))

    def identify(self, incoming: Incoming, person: Person) -> Someone:
        """Digest the identities of a person that an event is about."""
        return identify(
            self.digester(incoming.tenant_id),
            incoming.tenant_id,
            person,
            workspace_id=incoming.workspace_id,
            at=incoming.event.timestamp,
            day=incoming.delivery_day,
        )

    def contact_of(self, someone: Someone) -> KnownContact | None:
        """Return the contact of somebody given to :meth:`find`, or settled: BSUID before
        parent before phone, in either way of writing it.

        ``None`` where nothing identifies the person.
        """
        for digest in someone.digests:
            if contact := self.by_digest.get(digest):
                return contact if contact.merged_into is None else contact.survivor
        return None

    def contacts_of(self, someone: Someone) -> set[KnownContact]:
        """Return every contact that an identity of somebody leads to: one, once they are joined."""
        return {found.survivor for d in someone.digests if (found := self.by_digest.get(d))}

    def known(self, contact: KnownContact) -> KnownContact:
        """Return a contact as the batch knows it already, or the given one."""
        return next((one for one in self.by_digest.values() if one.id == contact.id), contact)

    def find(self, people: Iterable[Someone]) -> None:
        """Find the contacts of those who have one, and make none."""
        wanted = {digest: s.tenant_id for s in people for digest in s.digests}
        rows = [(tenant_id, d) for d, tenant_id in wanted.items() if d not in self.by_digest]
        contacts: dict[UUID, KnownContact] = {
            contact.id: contact for contact in self.by_digest.values()
        }
        for digest, seen_on, *row in bulk.run(FIND, ("tenant_id uuid", "digest text"), rows):
            self.address_days[digest] = seen_on
            self.by_digest[digest] = contacts.setdefault(row[1], KnownContact(*row))

    def unsettled(
        self,
        people: Sequence[Someone],
        changes: Sequence[SamePerson] = (),
        meant: Sequence[Meant] = (),
    ) -> Unsettled | None:
        """Find everybody; return whose contact must be made, linked or joined with another, for
        :func:`messaging.joining.settle`. ``None``: each has one.
        """
        self.find([*people, *(side for change in changes for side in change[:2])])
        found = Unsettled(
            [someone for someone in people if not self._is_settled(someone)],
            [change for change in changes if not self._is_joined(change)],
            [one for one in meant if self.contact_of(one.someone) is not one.contact],
        )
        return found if any(found) else None

    def _is_settled(self, someone: Someone) -> bool:
        contacts = {self.by_digest.get(digest) for digest in someone.digests}
        return not contacts or (len(contacts) == 1 and None not in contacts)

    def _is_joined(self, change: SamePerson) -> bool:
        contacts = {self.by_digest.get(digest) for side in change[:2] for digest in side.digests}
        return len(contacts) == 1 and None not in contacts

    def rename(
        self,
        people: Sequence[Someone],
        joined: Sequence[Someone] = (),
        taken_over: Iterable[KnownContact] = (),
    ) -> None:
        """Store the names that ``people`` tell, and those that contacts have ``taken_over``; seal
        those that hold a number which is known to be their person's now.
        """
        changed = set(taken_over)
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
                if _hide_names(contact, someone):
                    changed.add(contact)
        bulk.run(RENAME, RENAME_COLUMNS, sorted(map(_names_of, changed)))

    def _known_by_number(self, someone: Someone) -> Iterator[KnownContact]:
        """Yield whom the number of somebody means, and who was merged into them just now."""
        contact = self.contact_of(someone) if someone.phones else None
        if contact is not None:
            yield contact
            yield from (loser for _, loser, _ in self.merged if loser.survivor is contact)


def _names_of(contact: KnownContact) -> tuple[UUID, UUID, str, str, str, str]:
    """Return the row that renames a contact, in the order of ``RENAME_COLUMNS``."""
    hidden = contact.hidden_book_name or contact.book_name
    names = contact.display_name, contact.username, contact.book_name, hidden
    return contact.tenant_id, contact.id, *names


def _hide_names(contact: KnownContact, someone: Someone) -> bool:
    """Seal the names that hold the number of ``someone``, who it is; return whether any did."""
    if not has_digit(f"{contact.display_name}{contact.username}{contact.book_name}"):
        return False
    before = _names_of(contact)
    contact.display_name = someone.hidden(contact.display_name)
    contact.username = someone.hidden(contact.username)
    contact.hidden_book_name = someone.hidden(contact.hidden_book_name or contact.book_name)
    return _names_of(contact) != before
