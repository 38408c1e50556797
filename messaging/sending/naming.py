"""Whom a request means that names a conversation, a contact or a message instead of an address.

Whoever asks so needs not know the number, and is not told it: the address comes from what is kept
of the person (:mod:`messaging.addresses`), and lives in memory only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from lib.sql import select
from messaging import addresses
from messaging.addresses import Address
from messaging.people import SURVIVOR
from messaging.sending.parties import SenderNumber
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import SendRequest

# By the field that names it: the contact that something belongs to, as it is now, in the tenant or
# in one workspace of it. Of what is said in a group there is none.
QUERIES = {
    "conversation_id": f"""
SELECT c.id, {SURVIVOR.format(tenant_id="c.tenant_id", contact_id="c.contact_id")} AS contact_id
FROM conversations c WHERE c.tenant_id = %s AND c.id = ANY(%s)
AND c.workspace_id = coalesce(%s, c.workspace_id)
""",  # noqa: S608 - names of ours
    "contact_id": """
SELECT c.id, coalesce(c.merged_into, c.id) AS contact_id
FROM contacts c WHERE c.tenant_id = %s AND c.id = ANY(%s) AND coalesce(%s::uuid, c.id) IS NOT NULL
""",
    "reply_to": f"""
SELECT m.id, {SURVIVOR.format(tenant_id="m.tenant_id", contact_id="m.contact_id")} AS contact_id
FROM messages m WHERE m.tenant_id = %s AND m.id = ANY(%s)
AND m.workspace_id = coalesce(%s, m.workspace_id)
AND m.group_id IS NULL AND m.contact_id IS NOT NULL
""",  # noqa: S608 - names of ours
}
UNKNOWN = {
    "conversation_id": (
        SendErrorCode.CONVERSATION_NOT_FOUND,
        "Your tenant has no conversation with this id, or not in this workspace.",
    ),
    "contact_id": (
        SendErrorCode.CONTACT_NOT_FOUND,
        "Your tenant has no contact with this id.",
    ),
    "reply_to": (
        SendErrorCode.REPLY_TARGET_NOT_FOUND,
        "There is no message with this id in a conversation with one person in this workspace.",
    ),
}


class Naming(NamedTuple):
    """How a request names a person: one or more of these."""

    conversation_id: UUID | None = None
    contact_id: UUID | None = None
    reply_to: UUID | None = None

    @property
    def field(self) -> str:
        """The field that names the person, for what is said of them."""
        return next(name for name, value in zip(self._fields, self, strict=True) if value)


class NamedPerson(NamedTuple):
    """Who is meant; without an address they cannot be written to by this."""

    contact_id: UUID
    address: Address | None


class _ContactNamed(NamedTuple):
    id: UUID
    contact_id: UUID


def naming_of(request: SendRequest) -> Naming | None:
    """Return how a request names a person beside, or instead of, an address."""
    recipient = request.recipient
    has_address = recipient.phone is not None or recipient.user_id is not None
    reply_to = None if has_address else request.reply_to
    naming = Naming(recipient.conversation_id, recipient.contact_id, reply_to)
    return naming if any(naming) else None


def find(
    namings: Collection[Naming], sender: SenderNumber
) -> dict[Naming, NamedPerson | UnableToSend]:
    """Return who is meant by each, or why nobody is."""
    tenant_id, workspace_id = sender.tenant_id, sender.workspace.id
    meant = contacts_of(namings, tenant_id=tenant_id, workspace_id=workspace_id)
    known = addresses.find(
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        contact_ids={one for one in meant.values() if isinstance(one, UUID)},
        phones_only=not sender.has_windows,
    )
    return {
        naming: NamedPerson(one, known.get(one)) if isinstance(one, UUID) else one
        for naming, one in meant.items()
    }


def contacts_of(
    namings: Collection[Naming], *, tenant_id: UUID, workspace_id: UUID | None = None
) -> dict[Naming, UUID | UnableToSend]:
    """Return the contact that each names, or why there is none; in one workspace, if given."""
    contacts = {
        name: {
            row.id: row.contact_id
            for row in select(_ContactNamed, QUERIES[name], [tenant_id, ids, workspace_id])
        }
        for name in QUERIES
        if (ids := list({one for naming in namings if (one := getattr(naming, name))}))
    }
    return {naming: _contact_of(naming, contacts) for naming in namings}


def _contact_of(naming: Naming, contacts: Mapping[str, Mapping[UUID, UUID]]) -> UUID | UnableToSend:
    """Return the one contact that all of these name."""
    found: UUID | None = None
    for name, value in zip(Naming._fields, naming, strict=True):
        if value is None:
            continue
        contact = contacts[name].get(value)
        if contact is None:
            code, message = UNKNOWN[name]
            return UnableToSend(code, name, message)
        if found not in (None, contact):
            return differing(name)
        found = contact
    assert found is not None  # noqa: S101 - a naming names somebody
    return found


def differing(field: str) -> UnableToSend:
    """Return the refusal of a request that names two people."""
    why = "This names another person than the rest of the request; name the person in one way."
    return UnableToSend(SendErrorCode.INVALID_INPUT, field, why)


def expired(field: str) -> UnableToSend:
    """Return the refusal to write to somebody whose address is not known any more."""
    return UnableToSend(
        SendErrorCode.ADDRESS_EXPIRED,
        field,
        "No address of this person is known that this number can write to: it was purged, or they "
        "only wrote to numbers of other business portfolios. They can be answered once they write; "
        "whoever knows their phone number can write to that.",
    )
