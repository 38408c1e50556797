"""The people of one batch and their contacts: found, made or joined, and named.

Who is who is decided in :mod:`messaging.identities`; here a batch looks each person up once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from uuid import UUID

from lib import bulk
from lib.masking import has_digit
from messaging import changing
from messaging.events import Incoming, Person
from messaging.identities import (
    Joining,
    KnownContact,
    Meant,
    MustGoAlone,
    SamePerson,
    Someone,
    identify,
    lock,
    moment_of,
)
from workspaces.identity import Digester, digester

FIND = """
SELECT i.digest, c.tenant_id, c.id, c.display_name, c.username, c.created_at, c.book_name
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


class People:
    """The contacts of one batch, by digest: salted per tenant, a digest never means two tenants.

    Contacts are merged for the tenants in ``alone`` only: see :class:`MustGoAlone`. ``merged`` are
    the contacts that were, each with its tenant and the contact it became; ``passed_on`` whose
    number was given to whom.
    """

    def __init__(self, alone: Collection[UUID] = ()) -> None:
        self._alone = alone
        self._digesters: dict[UUID, Digester] = {}
        self._known: dict[str, KnownContact] = {}
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
        """Return the contact of somebody given to :meth:`find` or :meth:`resolve`: BSUID before
        parent before phone, in either way of writing it.

        ``None`` where nothing identifies the person.
        """
        for digest in someone.digests:
            if contact := self._known.get(digest):
                return contact if contact.merged_into is None else contact.survivor
        return None

    def contacts_of(self, someone: Someone) -> set[KnownContact]:
        """Return every contact that an identity of somebody leads to: one, once they are joined."""
        return {found.survivor for d in someone.digests if (found := self._known.get(d))}

    def known(self, contact: KnownContact) -> KnownContact:
        """Return a contact as the batch knows it already, or the given one."""
        return next((one for one in self._known.values() if one.id == contact.id), contact)

    def find(self, people: Iterable[Someone]) -> None:
        """Find the contacts of those who have one, and make none."""
        wanted = {digest: s.tenant_id for s in people for digest in s.digests}
        rows = [(tenant_id, d) for d, tenant_id in wanted.items() if d not in self._known]
        contacts: dict[UUID, KnownContact] = {
            contact.id: contact for contact in self._known.values()
        }
        for digest, *row in bulk.run(FIND, ("tenant_id uuid", "digest text"), rows):
            self._known[digest] = contacts.setdefault(row[1], KnownContact(*row))

    def resolve(
        self,
        people: Sequence[Someone],
        changes: Sequence[SamePerson] = (),
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
        renamed: set[KnownContact] = set()
        if strangers or changed or unlike:
            renamed = self._settle(strangers, changed, unlike)
        joined = [side for change in changes for side in change[:2]]
        self._rename(people, [*joined, *(one.someone for one in meant)], renamed)

    def _is_settled(self, someone: Someone) -> bool:
        contacts = {self._known.get(digest) for digest in someone.digests}
        return not contacts or (len(contacts) == 1 and None not in contacts)

    def _is_joined(self, change: SamePerson) -> bool:
        contacts = {self._known.get(digest) for side in change[:2] for digest in side.digests}
        return len(contacts) == 1 and None not in contacts

    def _settle(
        self, strangers: Sequence[Someone], changes: Sequence[SamePerson], meant: Sequence[Meant]
    ) -> set[KnownContact]:
        """Create, link and merge under a lock per tenant: two workers never make one person
        twice. Return contacts that took over a name.
        """
        concerned = [*strangers, *(side for change in changes for side in change[:2])]
        concerned += [one.someone for one in meant]
        lock({someone.tenant_id for someone in concerned})
        for someone in concerned:  # what was read before the lock may be out of date
            for digest in someone.digests:
                self._known.pop(digest, None)
        self.find(concerned)
        joining = Joining(self._known, {one.contact for one in meant})
        for someone in sorted(strangers, key=moment_of):
            joining.place(someone)
        for change in sorted(changes, key=lambda change: moment_of(change.before)):
            contact = joining.place(change.before)
            joining.place(change.after, known=contact, takes=change.takes)
        for one in meant:
            joining.place(one.someone, known=one.contact.survivor, takes=False)
        if crowded := {tenant for tenant, *_ in joining.merged} - set(self._alone):
            raise MustGoAlone(crowded)
        joining.save()
        self.merged += joining.merged
        self.passed_on += joining.passed_on
        return {contact for contact in joining.renamed if not contact.is_new}

    def _rename(
        self, people: Sequence[Someone], joined: Sequence[Someone], changed: set[KnownContact]
    ) -> None:
        """Store the names that ``people`` tell, and those of ``changed`` contacts; seal those that
        hold a number which is known to be their person's now.
        """
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
