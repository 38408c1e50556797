"""Who is who, where a batch tells more than was known: contacts are made, linked and joined.

Contacts that turn out to be one person become one, the older one (docs/adr/0018). What must *not*
become one: a phone number that comes with another BSUID of the same portfolio was given to somebody
else (Meta, "Business-scoped user IDs": one per portfolio and user). The number moves, and whoever
had it before keeps BSUID, thread and opt-out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from lib import bulk, clock
from lib.ids import uuid7
from messaging.models import IdentityKind
from messaging.people import KnownContact, People, Someone, Unsettled

KNOWN_AS = """
SELECT i.contact_id, i.kind, i.digest, i.workspace_id, i.since, i.phone
FROM {rows} JOIN contact_identities i ON i.tenant_id = r.tenant_id AND i.contact_id = r.id
"""
# The portfolio of a number, where the platform reports it; else its account; else the number.
ACCOUNTS = """
SELECT w.id, coalesce(
    (SELECT max(n.portfolio_id) FROM workspaces o
     JOIN number_states n ON n.tenant_id = o.tenant_id AND n.workspace_id = o.id
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
UPDATE contact_identities i SET contact_id = r.winner_id
FROM {rows} WHERE i.tenant_id = r.tenant_id AND i.contact_id = r.id
"""
# An alias has no names. Also what was merged into these before; an OR of both would read the table
# from its beginning.
MERGE = """
WITH r AS MATERIALIZED (SELECT * FROM {rows}), gone AS (
    SELECT r.tenant_id, r.id, r.winner_id FROM r UNION ALL
    SELECT r.tenant_id, a.id, r.winner_id
    FROM r JOIN contacts a ON a.tenant_id = r.tenant_id AND a.merged_into = r.id
)
UPDATE contacts c SET merged_into = gone.winner_id, display_name = '', username = '',
    updated_at = now()
FROM gone WHERE c.tenant_id = gone.tenant_id AND c.id = gone.id
"""
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('contacts:' || r.tenant_id, 0)) FROM {rows}"
MERGED_COLUMNS = ("tenant_id uuid", "id uuid", "winner_id uuid")
LINK_COLUMNS = (
    "tenant_id uuid",
    "digest text",
    "kind text",
    "contact_id uuid",
    "workspace_id uuid",
    "since timestamptz",
    "phone text",
)
# Older than nobody: contacts made just now, and what is so now.
_NEWEST = datetime.max.replace(tzinfo=UTC)


class MustGoAlone(Exception):
    """Contacts of these tenants are to be merged, and nobody else may write meanwhile.

    Nothing was written. Roll back, lock (``messaging.locks``), and begin again.
    """

    def __init__(self, tenant_ids: Collection[UUID]) -> None:
        super().__init__(f"Contacts of {len(tenant_ids)} tenants are to be merged.")
        self.tenant_ids = frozenset(tenant_ids)


def lock(tenant_ids: Collection[UUID]) -> None:
    """Let nobody else make, link or merge contacts until the caller's transaction ends."""
    bulk.run(LOCK, ("tenant_id text",), [(one,) for one in sorted(map(str, tenant_ids))])


def portfolios(tenant_id: UUID) -> dict[UUID, str]:
    """Return for each number (workspace) of a tenant what stands for its portfolio, in which each
    user has one id.
    """
    return dict(bulk.run(ACCOUNTS, ("tenant_id uuid",), [(tenant_id,)]))


def settle(people: People, unsettled: Unsettled) -> set[KnownContact]:
    """Create, link and merge under a lock per tenant: two workers never make one person twice.
    Return contacts that took over a name.

    Raises:
        MustGoAlone: contacts are to be merged, and the caller did not lock for that.
    """
    strangers, changes, meant = unsettled
    concerned = [*strangers, *(side for change in changes for side in change[:2])]
    concerned += [one.someone for one in meant]
    lock({someone.tenant_id for someone in concerned})
    for someone in concerned:  # what was read before the lock may be out of date
        for digest in someone.digests:
            people.by_digest.pop(digest, None)
    people.find(concerned)
    joining = Joining(people.by_digest, {one.contact for one in meant})
    for someone in sorted(strangers, key=_moment_of):
        joining.place(someone)
    for change in sorted(changes, key=lambda change: _moment_of(change.before)):
        contact = joining.place(change.before)
        joining.place(change.after, known=contact, takes=change.takes)
    for one in meant:
        joining.place(one.someone, known=one.contact.survivor, takes=False)
    if crowded := {tenant for tenant, *_ in joining.merged} - set(people.alone):
        raise MustGoAlone(crowded)
    joining.save()
    people.merged += joining.merged
    people.passed_on += joining.passed_on
    return {contact for contact in joining.renamed if not contact.is_new}


# User ids by their kind and the number that reported them, each with the phone number it came with.
_Ids = dict[tuple[IdentityKind, UUID | None], dict[str, str | None]]


@dataclass(slots=True)
class _KnownAs:
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

    def join(self, other: _KnownAs) -> None:
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


class Joining:
    """Decides who is who for the people of one batch, under the lock; writes at the end.

    ``merged`` and ``passed_on`` are those of :class:`messaging.people.People`.
    """

    def __init__(self, known: dict[str, KnownContact], others: Collection[KnownContact]) -> None:
        self._known = known
        self._known_as: dict[KnownContact, _KnownAs] = defaultdict(_KnownAs)
        self._accounts: dict[UUID, dict[UUID, str]] = {}
        self._made: list[tuple[UUID, KnownContact]] = []
        self._links: dict[str, tuple[Someone, IdentityKind, KnownContact]] = {}
        self.renamed: set[KnownContact] = set()
        self.merged: list[tuple[UUID, KnownContact, KnownContact]] = []
        self.passed_on: list[tuple[UUID, KnownContact, KnownContact]] = []
        owners = {contact.id: contact for contact in (*known.values(), *others)}
        ids = [(owner.tenant_id, owner.id) for owner in owners.values()]
        rows = bulk.run(KNOWN_AS, ("tenant_id uuid", "id uuid"), ids)
        for contact_id, kind, *identity in rows:
            self._known_as[owners[contact_id]].add(IdentityKind(kind), *identity)

    def place(
        self, someone: Someone, *, known: KnownContact | None = None, takes: bool = True
    ) -> KnownContact:
        """Return the contact that somebody is: found, linked, merged or made.

        ``known`` is who they are for another reason. Unless it ``takes``, nothing is done about an
        identity that speaks for somebody else.
        """
        tenant_id, mine = someone.tenant_id, _ids_of(someone)
        contact, linked = known and known.survivor, []
        for kind, digest in _user_ids(someone):
            owner = self._owner(digest)
            theirs = self._known_as[owner].ids if owner else mine
            if takes or contact in (None, owner) or not self._clash(tenant_id, contact, theirs):
                contact = self._merge(tenant_id, contact, owner)
                linked.append((kind, digest))
        before: list[KnownContact] = []
        for kind, digest in self._phones_of(someone, contact, takes):
            holder = self._owner(digest)
            # Of a change of number both sides are reported: what the old side was known as is past.
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
        """Write what was decided, but for the names of contacts that were ``renamed``."""
        made = [(c.id, t, c.display_name, c.username) for t, c in self._made if not c.merged_into]
        columns = ("id uuid", "tenant_id uuid", "display_name text", "username text")
        bulk.run(ADD_CONTACTS, columns, made)
        merged = sorted((tenant, one.id, by.survivor.id) for tenant, one, by in self.merged)
        bulk.run(HAND_OVER, MERGED_COLUMNS, merged)
        bulk.run(MERGE, MERGED_COLUMNS, merged)
        bulk.run(LINK, LINK_COLUMNS, [self._row(digest) for digest in sorted(self._links)])

    def _row(self, digest: str) -> tuple[object, ...]:
        someone, kind, contact = self._links[digest]
        now = clock.now()
        since = min(someone.at or now, now)
        owner = contact.survivor.id
        phone = _phone_of(someone, kind)
        return someone.tenant_id, digest, kind.value, owner, someone.workspace_id, since, phone

    def _owner(self, digest: str) -> KnownContact | None:
        found = self._known.get(digest)
        return found and found.survivor

    def _phones_of(
        self, someone: Someone, contact: KnownContact | None, takes: bool
    ) -> list[tuple[IdentityKind, str]]:
        """Return the ways to write somebody's number. One that does not take leaves those alone
        who have a number already.
        """
        have = self._known_as[contact].phones if contact else {}
        phones = someone.phones
        if not phones or (not takes and have and not have.keys() & set(phones)):
            return []
        written = [phone for phone in phones if phone in self._known] or phones[:1]
        return [
            (IdentityKind.PHONE if phone in written else IdentityKind.ALIAS, phone)
            for phone in phones
        ]

    def _is_same(
        self, someone: Someone, contact: KnownContact | None, holder: KnownContact | None
    ) -> bool:
        """Whether whoever holds a number may be somebody (``contact``, as far as there is one)."""
        if holder is None or holder is contact:
            return True
        theirs = self._known_as[holder].ids_with(someone.phones)
        if self._clash(someone.tenant_id, contact, theirs):
            return False
        return not self._differ(someone.tenant_id, _ids_of(someone), theirs)

    def _clash(self, tenant_id: UUID, contact: KnownContact | None, theirs: _Ids) -> bool:
        return contact is not None and self._differ(tenant_id, self._known_as[contact].ids, theirs)

    def _differ(self, tenant_id: UUID, ours: _Ids, theirs: _Ids) -> bool:
        """Whether the ids are of two people: one portfolio has other ids for each."""
        if not ours or not theirs:
            return False
        mine, others = (self._by_account(ids, tenant_id) for ids in (ours, theirs))
        return any(mine[key].isdisjoint(others[key]) for key in mine.keys() & others.keys())

    def _by_account(self, ids: _Ids, tenant_id: UUID) -> dict[tuple[IdentityKind, str], set[str]]:
        if tenant_id not in self._accounts:
            self._accounts[tenant_id] = portfolios(tenant_id)
        accounts = self._accounts[tenant_id]
        # Rows from before 1.1 do not say which number reported them; with one portfolio it does not
        # matter.
        only = next(iter(accounts.values())) if len(set(accounts.values())) == 1 else None
        found: dict[tuple[IdentityKind, str], set[str]] = defaultdict(set)
        for (kind, workspace_id), digests in ids.items():
            account = accounts.get(workspace_id, only) if workspace_id else only
            if account is not None:
                found[kind, account].update(digests)
        return found

    def _is_late(self, holder: KnownContact, phone: str, someone: Someone) -> bool:
        """Whether the holder has had the number since a time after that of the report."""
        since = self._known_as[holder].phones.get(phone)
        return since is not None and someone.at is not None and someone.at < since

    def _merge(
        self, tenant_id: UUID, one: KnownContact | None, other: KnownContact | None
    ) -> KnownContact | None:
        if one is None or other is None or one is other:
            return one or other
        winner, loser = sorted((one, other), key=lambda contact: contact.age)
        loser.merged_into = winner
        self._known_as[winner].join(self._known_as.pop(loser, _KnownAs()))
        if not loser.is_new:
            self.merged.append((tenant_id, loser, winner))
        if not winner.display_name or not winner.username:
            winner.display_name = winner.display_name or loser.display_name
            winner.username = winner.username or loser.username
            self.renamed.add(winner)
        loser.display_name = loser.username = ""
        return winner

    def _make(self, someone: Someone) -> KnownContact:
        person = someone.person
        names = someone.kept(person.name), someone.kept(person.username)
        contact = KnownContact(someone.tenant_id, uuid7(), *names, _NEWEST, is_new=True)
        self._made.append((someone.tenant_id, contact))
        return contact

    def _link(
        self, someone: Someone, kind: IdentityKind, digest: str, contact: KnownContact
    ) -> None:
        owner = self._owner(digest)
        phone = _phone_of(someone, kind)
        if owner is contact and phone is None:
            return
        if owner is not None and owner is not contact:
            self._known_as[owner].phones.pop(digest, None)
        self._known[digest] = contact
        if owner is contact:
            self._link_to_phone(contact, digest, phone)
        else:
            self._known_as[contact].add(kind, digest, someone.workspace_id, someone.at, phone)
        self._links[digest] = someone, kind, contact

    def _link_to_phone(self, contact: KnownContact, digest: str, phone: str | None) -> None:
        for digests in self._known_as[contact].ids.values():
            if digest in digests:
                digests[digest] = phone


def _user_ids(someone: Someone) -> list[tuple[IdentityKind, str]]:
    kinds = ((IdentityKind.USER, someone.user), (IdentityKind.PARENT, someone.parent))
    return [(kind, digest) for kind, digest in kinds if digest]


def _ids_of(someone: Someone) -> _Ids:
    return {(kind, someone.workspace_id): {digest: None} for kind, digest in _user_ids(someone)}


def _phone_of(someone: Someone, kind: IdentityKind) -> str | None:
    """Return the number that a user id came with."""
    is_id = kind in (IdentityKind.USER, IdentityKind.PARENT)
    return someone.phones[0] if is_id and someone.phones else None


def _moment_of(someone: Someone) -> datetime:
    return someone.at or _NEWEST
