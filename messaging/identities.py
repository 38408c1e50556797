"""Recognise people by keyed digests: any of phone, BSUID and parent BSUID leads to one contact.

A user may have no phone number at all. A phone number that comes with a *new* BSUID was given to somebody
else: it moves to a new contact, and nobody's history is merged silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from messaging import bulk
from messaging.events import IdentityChange, Person
from messaging.models import IdentityKind
from workspaces.identity import Digester, digester
from workspaces.ids import uuid7

# (tenant, digest): the key under which an identity is found.
Key = tuple[UUID, str]

FIND = """
SELECT i.tenant_id, i.digest, i.contact_id, c.display_name, c.username
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


@dataclass(slots=True)
class _Known:
    contact_id: UUID
    display_name: str
    username: str


class People:
    """The contacts of one batch. Call :meth:`resolve` once, then look people up."""

    def __init__(self) -> None:
        self._digesters: dict[UUID, Digester] = {}
        self._known: dict[Key, _Known] = {}
        self._digested: dict[tuple[UUID, Person], list[tuple[IdentityKind, str]]] = {}

    def digester(self, tenant_id: UUID) -> Digester:
        """Return the tenant's digester, kept for the batch."""
        if tenant_id not in self._digesters:
            self._digesters[tenant_id] = digester(tenant_id)
        return self._digesters[tenant_id]

    def primary(self, tenant_id: UUID, person: Person) -> str | None:
        """Return the digest that stands for a person: of the phone, else the BSUID, else the parent BSUID."""
        digests = self._digests(tenant_id, person)
        return digests[0][1] if digests else None

    def contact_of(self, tenant_id: UUID, person: Person) -> UUID | None:
        """Return the contact of a person given to :meth:`resolve`; ``None`` where nothing identifies him."""
        known = self._strongest(tenant_id, person)
        return known.contact_id if known else None

    def resolve(
        self, people: Sequence[tuple[UUID, Person]], changes: Sequence[tuple[UUID, IdentityChange]]
    ) -> None:
        """Find or create the contact of everybody, and follow changes of number or BSUID."""
        identified = list(dict.fromkeys((t, p) for t, p in people if p.is_known))
        self._find(identified)
        changed = [(t, c) for t, c in changes if c.before.is_known and c.after.is_known]
        strangers = [entry for entry in identified if not self._is_settled(*entry)]
        if strangers or changed:
            self._settle(strangers, changed)
        self._rename(identified)

    def _digests(self, tenant_id: UUID, person: Person) -> list[tuple[IdentityKind, str]]:
        cached = self._digested.get((tenant_id, person))
        if cached is not None:
            return cached
        digest = self.digester(tenant_id)
        candidates = (
            (IdentityKind.PHONE, person.phone, digest.phone),
            (IdentityKind.USER, person.user_id, digest.user),
            (IdentityKind.PARENT, person.parent_user_id, digest.parent),
        )
        made = [(kind, make(value)) for kind, value, make in candidates if value]
        return self._digested.setdefault((tenant_id, person), made)

    def _strongest(self, tenant_id: UUID, person: Person) -> _Known | None:
        found = {k: self._known.get((tenant_id, d)) for k, d in self._digests(tenant_id, person)}
        for kind in (IdentityKind.USER, IdentityKind.PARENT, IdentityKind.PHONE):
            if known := found.get(kind):
                return known
        return None

    def _is_settled(self, tenant_id: UUID, person: Person) -> bool:
        digests = self._digests(tenant_id, person)
        contacts = {(k := self._known.get((tenant_id, d))) and k.contact_id for _, d in digests}
        return len(contacts) == 1 and None not in contacts

    def _find(self, people: Iterable[tuple[UUID, Person]]) -> None:
        keys = {(t, d) for t, p in people for _, d in self._digests(t, p)} - self._known.keys()
        for row in bulk.run(FIND, ("tenant_id uuid", "digest text"), sorted(keys)):
            self._known[row[0], row[1]] = _Known(row[2], row[3], row[4])

    def _settle(
        self, strangers: list[tuple[UUID, Person]], changed: list[tuple[UUID, IdentityChange]]
    ) -> None:
        """Create and link under a lock per tenant, so that two workers never make one person twice."""
        tenants = sorted({t for t, _ in strangers} | {t for t, _ in changed})
        bulk.run(LOCK, ("tenant_id text",), [(str(t),) for t in tenants])
        concerned = [*strangers, *((t, p) for t, c in changed for p in (c.before, c.after))]
        for tenant_id, person in concerned:  # what was read before the lock may be out of date
            for _, digest in self._digests(tenant_id, person):
                self._known.pop((tenant_id, digest), None)
        self._find(concerned)
        owners = {known.contact_id for known in self._known.values()}
        rows = bulk.run(WITH_USER_ID, ("id uuid",), [(owner,) for owner in owners])
        with_user_id = {row[0] for row in rows}
        made: dict[UUID, tuple[UUID, str, str]] = {}
        links: dict[Key, tuple[IdentityKind, UUID]] = {}
        for tenant_id, person in strangers:
            known = self._choose(tenant_id, person, with_user_id)
            if known is None:
                known = _Known(uuid7(), person.name or "", person.username or "")
                made[known.contact_id] = (tenant_id, known.display_name, known.username)
            if person.user_id:
                with_user_id.add(known.contact_id)
            self._link(tenant_id, person, known, links)
        for tenant_id, change in changed:
            if known := self._strongest(tenant_id, change.before):
                self._link(tenant_id, change.after, known, links)
        self._save(made, links)

    def _choose(self, tenant_id: UUID, person: Person, with_user_id: set[UUID]) -> _Known | None:
        found = {k: self._known.get((tenant_id, d)) for k, d in self._digests(tenant_id, person)}
        known = found.get(IdentityKind.USER) or found.get(IdentityKind.PARENT)
        if known is not None or not person.user_id:
            return known or found.get(IdentityKind.PHONE)
        by_phone = found.get(IdentityKind.PHONE)
        recycled = by_phone is not None and by_phone.contact_id in with_user_id
        return None if recycled else by_phone

    def _link(
        self, tenant_id: UUID, person: Person, known: _Known,
        links: dict[Key, tuple[IdentityKind, UUID]],
    ) -> None:  # fmt: skip
        for kind, digest in self._digests(tenant_id, person):
            self._known[tenant_id, digest] = known
            links[tenant_id, digest] = (kind, known.contact_id)

    def _save(
        self,
        made: dict[UUID, tuple[UUID, str, str]],
        links: dict[Key, tuple[IdentityKind, UUID]],
    ) -> None:
        bulk.run(
            ADD_CONTACTS,
            ("id uuid", "tenant_id uuid", "display_name text", "username text"),
            [(contact_id, *row) for contact_id, row in made.items()],
        )
        bulk.run(
            LINK,
            ("tenant_id uuid", "digest text", "kind text", "contact_id uuid"),
            sorted((t, d, str(kind), contact) for (t, d), (kind, contact) in links.items()),
        )

    def _rename(self, people: Iterable[tuple[UUID, Person]]) -> None:
        changed: dict[UUID, tuple[str, str]] = {}
        for tenant_id, person in people:
            known = self._strongest(tenant_id, person)
            if known is None:
                continue
            name, username = person.name or known.display_name, person.username or known.username
            if (name, username) != (known.display_name, known.username):
                known.display_name, known.username = name, username
                changed[known.contact_id] = (name, username)
        rows = sorted((contact_id, *names) for contact_id, names in changed.items())
        bulk.run(RENAME, ("id uuid", "display_name text", "username text"), rows)
