"""Who has a phone number: whether there is a contact, and which, never the number.

The answer tells who is a customer, and numbers are few enough to try them all. So asking needs a
scope of its own, and callers may ask so often in a minute.
"""

from __future__ import annotations

from uuid import UUID

from django.conf import settings

from lib import rates
from lib.numbering import international
from messaging import queries
from messaging.queries import ContactRow
from messaging.sending.parties import ContactCache
from messaging.sending.requests import Recipient
from workspaces.access import Actor, Scope


def charge(actor: Actor) -> None:
    """Count that the caller asks about a number; it is not undone with the transaction.

    Raises:
        workspaces.access.NotAllowed: they do not have the scope.
        lib.rates.RateExceeded: they asked too often.
        lib.rates.CannotCount: the broker is away.
    """
    rate = settings.SIGMA_LOOKUP_RATE
    message = f"You may ask about {rate} phone numbers a minute"
    bucket = f"lookup:{actor.require(Scope.CONTACTS_LOOKUP).bucket}"
    rates.charge(bucket, rate=rate, message=message)


def by_phone(actor: Actor, phone: str) -> ContactRow | None:
    """Return whom a message to a number would go to; it is digested and not kept.

    Raises:
        lib.numbering.NotInternational: it is not in international form; this is not counted.
        Exception: what `charge` raises.
    """
    recipient = Recipient(phone=international(phone))
    charge(actor)
    cache = ContactCache(actor.tenant_id)
    cache.look_up([recipient])
    contact_id = cache.contact_of(recipient)
    return by_id(tenant_id=actor.tenant_id, contact_id=contact_id) if contact_id else None


def by_id(*, tenant_id: UUID, contact_id: UUID) -> ContactRow | None:
    """Return a tenant's contact; an id from before a merge leads to who it is now."""
    return queries.contacts(tenant_id=tenant_id, ids=[contact_id]).get(contact_id)
