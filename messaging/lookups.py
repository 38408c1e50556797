"""Who has a phone number: whether there is a contact, and which, never the number.

The answer tells who is a customer, and numbers are few enough to try them all. So asking needs a
scope of its own, and callers may ask so often in a minute. What else tells something of whoever has
a number that the caller names is counted with it: a preflight, an opt-out or opt-in, and a send
that is refused because of the person (docs/privacy.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from django.conf import settings

from lib import rates
from lib.numbering import NotInternational, international
from lib.rates import CannotCount, RateExceeded
from lib.ttl import TtlCache
from messaging import queries
from messaging.queries import ContactRow
from messaging.sending.parties import ContactCache
from messaging.sending.refusals import AskedTooOften, SendErrorCode, UnableToSend
from messaging.sending.requests import Recipient, SendRequest
from workspaces.access import Actor, Scope

# Why a send is refused that would not be if somebody else had the number, or nobody.
TELLING = frozenset(
    {
        SendErrorCode.WINDOW_CLOSED,
        SendErrorCode.OPTED_OUT,
        SendErrorCode.CONTACT_BLOCKED,
        SendErrorCode.LIMIT_REACHED,
        SendErrorCode.REPLY_TARGET_NOT_FOUND,
        SendErrorCode.IDEMPOTENCY_CONFLICT,
    }
)
# Callers who were told something in the last minute: others' sends ask no broker.
_told: TtlCache[str, bool] = TtlCache(seconds=60, size=20_000)


def charge(actor: Actor) -> None:
    """Count that the caller asks about a number; it is not undone with the transaction.

    Raises:
        workspaces.access.NotAllowed: they do not have the scope.
        lib.rates.RateExceeded: they asked too often.
        lib.rates.CannotCount: the broker is away.
    """
    count(actor.require(Scope.CONTACTS_LOOKUP))


def count(actor: Actor, *, takes: bool = True) -> None:
    """Count something that tells of whoever has a number, whatever the caller may do. Unless it
    ``takes``, only look whether more may be told.

    Raises:
        lib.rates.RateExceeded: they were told too much.
        lib.rates.CannotCount: the broker is away.
    """
    rate = settings.SIGMA_LOOKUP_RATE
    message = f"You may ask about {rate} phone numbers a minute"
    try:
        rates.charge(f"lookup:{actor.bucket}", rate=rate, message=message, takes=takes)
    except CannotCount:  # others need not wait for a broker that does not answer
        _told.forget(actor.bucket)
        raise
    except RateExceeded:
        _told.put(actor.bucket, True)
        raise
    _told.put(actor.bucket, True)


def count_preflight(actor: Actor, request: SendRequest) -> None:
    """Count that the caller asks what would become of a message to a number, if it is to one.

    Raises:
        Exception: what `count` raises.
    """
    phone = request.recipient.phone
    with suppress(NotInternational):
        if phone is not None and international(phone):
            count(actor)


@contextmanager
def counted(actor: Actor, request: SendRequest) -> Iterator[None]:
    """Count a send to a number that is refused inside because of who has it. Who was told too much
    sends to no number for a while, or the refusal would tell as much by another code. While the
    broker is away nothing is counted: sending does without it.

    Raises:
        UnableToSend: they were told too much, or what is raised inside.
    """
    if request.recipient.phone is None:
        yield
        return
    if _told.get(actor.bucket):
        _insist(actor, takes=False)
    try:
        yield
    except UnableToSend as refusal:
        if _tells(request, refusal):
            _insist(actor)
        raise


def _insist(actor: Actor, *, takes: bool = True) -> None:
    try:
        with suppress(CannotCount):
            count(actor, takes=takes)
    except RateExceeded as error:
        raise AskedTooOften("recipient_phone", str(error), error.seconds) from None


def _tells(request: SendRequest, refusal: UnableToSend) -> bool:
    person = request.recipient
    is_compared = any((person.user_id, person.conversation_id, person.contact_id))
    return is_compared or any(reason.code in TELLING for reason in refusal.reasons)


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
