"""Recognise people by keyed digests: any of phone, BSUID and parent BSUID leads to one contact.

A user may have no phone number at all. A phone number that comes with a *new* BSUID was given to
somebody else: it moves to a new contact, and nobody's history is merged silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from messaging.events import IdentityChange, Person
from messaging.models import IdentityKind
from workspaces import bulk
from workspaces.identity import Digester, digester
from workspaces.ids import uuid7

FIND = """
SELECT i.digest, i.contact_id, c.display_name, c.username
FROM {rows} JOIN contact_identities i ON i.tenant_id = r.tenant_id AND i.digest = r.digest
JOIN contacts c ON c.id = i.contact_id
"""
WITH_USER_ID = """
SELECT DISTINCT i.contact_id FROM {rows} JOIN contact_identities i ON i.contact_id = r.id
WHERE i.kind = 'USER'
"""
ADD_CONTACTS = """
INSERT INTO contacts (id, tenant_id, display_name, username)
SELECT r.id, r.tenant_id, r.display_name, r.username FROM {rows} ON CONFLICT DO NOTHING
"""
# A digest that moves: its person was recognised by a stronger identity.
LINK = """
INSERT INTO contact_identities (tenant_id, digest, kind, contact_id)
SELECT r.tenant_id, r.digest, r.kind, r.contact_id FROM {rows}
ON CONFLICT (tenant_id, digest) DO UPDATE SET contact_id = excluded.contact_id
WHERE contact_identities.contact_id <> excluded.contact_id
"""
RENAME = """
UPDATE contacts c SET display_name = r.display_name, username = r.username, updated_at = now()
FROM {rows} WHERE c.id = r.id
"""
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('contacts:' || r.tenant_id, 0)) FROM {rows}"


@dataclass(slots=True, eq=False)
class Contact:
    """A contact as the batch sees it."""

    id: UUID
    display_name: str
    username: str


@dataclass(slots=True, eq=False)
class Someone:
    """A person with the digests of his identities, each computed once per batch."""

    tenant_id: UUID
    person: Person
    phone: str | None
    user: str | None
    parent: str | None
    other_phone: str | None = None

    @property
    def digests(self) -> list[tuple[IdentityKind, str]]:
        """The identities that are present."""
        kinds = (
            (IdentityKind.PHONE, self.phone),
            (IdentityKind.USER, self.user),
            (IdentityKind.PARENT, self.parent),
            (IdentityKind.ALIAS, self.other_phone),
        )
        return [(kind, digest) for kind, digest in kinds if digest]

    @property
    def primary(self) -> str | None:
        """The digest that stands for the person: of the phone, else the BSUID, else the parent."""
        return self.phone or self.user or self.parent


def identify(digest: Digester, tenant_id: UUID, person: Person) -> Someone:
    """Digest a person's identities."""
    return Someone(
        tenant_id,
        person,
        digest.phone(person.phone) if person.phone else None,
        digest.user(person.user_id) if person.user_id else None,
        digest.parent(person.parent_user_id) if person.parent_user_id else None,
        digest.phone(person.other_phone) if person.other_phone else None,
    )


def primary(digest: Digester, person: Person) -> str | None:
    """Return the digest that stands for a person, without computing the others."""
    if person.phone:
        return digest.phone(person.phone)
    if person.user_id:
        return digest.user(person.user_id)
    return digest.parent(person.parent_user_id) if person.parent_user_id else None


@dataclass(slots=True)
class _News:
    """What :meth:`People.resolve` has to write."""

    contacts: list[tuple[UUID, UUID, str, str]] = field(default_factory=list)
    links: dict[str, tuple[UUID, str, str, UUID]] = field(default_factory=dict)
    with_user_id: set[UUID] = field(default_factory=set)


class People:
    """The contacts of one batch, by digest: salted per tenant, a digest never means two tenants."""

    def __init__(self) -> None:
        self._digesters: dict[UUID, Digester] = {}
        self._known: dict[str, Contact] = {}

    def digester(self, tenant_id: UUID) -> Digester:
        """Return the tenant's digester, kept for the batch."""
        found = self._digesters.get(tenant_id)
        return found or self._digesters.setdefault(tenant_id, digester(tenant_id))

    def contact_of(self, someone: Someone) -> Contact | None:
        """Return the contact of somebody given to :meth:`find` or :meth:`resolve`: BSUID before
        parent before phone, in either way of writing it.

        ``None`` where nothing identifies the person.
        """
        known = self._known
        for digest in (someone.user, someone.parent, someone.phone, someone.other_phone):
            if digest and (contact := known.get(digest)):
                return contact
        return None

    def find(self, people: Iterable[Someone]) -> None:
        """Find the contacts of those who have one, and make none."""
        self._find(people)

    def resolve(
        self, people: Iterable[Someone], changes: Sequence[tuple[UUID, IdentityChange]]
    ) -> None:
        """Find or create the contact of everybody, and follow changes of number or BSUID."""
        identified = [someone for someone in people if someone.primary]
        self._find(identified)
        changed = [
            (identify(self.digester(t), t, c.before), identify(self.digester(t), t, c.after))
            for t, c in changes
            if c.before.is_known and c.after.is_known
        ]
        strangers = [someone for someone in identified if not self._is_settled(someone)]
        if strangers or changed:
            self._settle(strangers, changed)
        self._rename(identified)

    def _is_settled(self, someone: Someone) -> bool:
        contacts = {self._known.get(digest) for _, digest in someone.digests}
        return len(contacts) == 1 and None not in contacts

    def _find(self, people: Iterable[Someone]) -> None:
        wanted = {digest: s.tenant_id for s in people for _, digest in s.digests}
        rows = [(tenant_id, d) for d, tenant_id in wanted.items() if d not in self._known]
        contacts: dict[UUID, Contact] = {contact.id: contact for contact in self._known.values()}
        for digest, *row in bulk.run(FIND, ("tenant_id uuid", "digest text"), rows):
            self._known[digest] = contacts.setdefault(row[0], Contact(*row))

    def _settle(
        self, strangers: Sequence[Someone], changed: Sequence[tuple[Someone, Someone]]
    ) -> None:
        """Create and link under a lock per tenant: two workers never make one person twice."""
        concerned = [*strangers, *(side for change in changed for side in change)]
        tenants = sorted({str(someone.tenant_id) for someone in concerned})
        bulk.run(LOCK, ("tenant_id text",), [(tenant,) for tenant in tenants])
        for someone in concerned:  # what was read before the lock may be out of date
            for _, digest in someone.digests:
                self._known.pop(digest, None)
        self._find(concerned)
        owners = {contact.id for contact in self._known.values()}
        rows = bulk.run(WITH_USER_ID, ("id uuid",), [(owner,) for owner in owners])
        news = _News(with_user_id={row[0] for row in rows})
        for someone in strangers:
            self._link(someone, self._choose(someone, news) or self._create(someone, news), news)
        for before, after in changed:
            if contact := self.contact_of(before):
                self._link(after, contact, news)
        _save(news)

    def _choose(self, someone: Someone, news: _News) -> Contact | None:
        known = self._known
        by_user = known.get(someone.user or "") or known.get(someone.parent or "")
        by_phone = known.get(someone.phone or "") or known.get(someone.other_phone or "")
        if by_user is not None or by_phone is None or not someone.user:
            return by_user or by_phone
        # The number has a new BSUID: it was given to somebody else.
        return None if by_phone.id in news.with_user_id else by_phone

    def _create(self, someone: Someone, news: _News) -> Contact:
        person = someone.person
        contact = Contact(uuid7(), person.name or "", person.username or "")
        news.contacts.append(
            (contact.id, someone.tenant_id, contact.display_name, contact.username)
        )
        return contact

    def _link(self, someone: Someone, contact: Contact, news: _News) -> None:
        if someone.user:
            news.with_user_id.add(contact.id)
        for kind, digest in someone.digests:
            self._known[digest] = contact
            news.links[digest] = (someone.tenant_id, digest, kind.value, contact.id)

    def _rename(self, people: Iterable[Someone]) -> None:
        changed: dict[UUID, tuple[UUID, str, str]] = {}
        for someone in people:
            contact, person = self.contact_of(someone), someone.person
            if contact is None:
                continue
            name = person.name or contact.display_name
            username = person.username or contact.username
            if name != contact.display_name or username != contact.username:
                contact.display_name, contact.username = name, username
                changed[contact.id] = (contact.id, name, username)
        columns = ("id uuid", "display_name text", "username text")
        bulk.run(RENAME, columns, sorted(changed.values()))


def _save(news: _News) -> None:
    columns = ("id uuid", "tenant_id uuid", "display_name text", "username text")
    bulk.run(ADD_CONTACTS, columns, news.contacts)
    columns = ("tenant_id uuid", "digest text", "kind text", "contact_id uuid")
    bulk.run(LINK, columns, [news.links[digest] for digest in sorted(news.links)])
