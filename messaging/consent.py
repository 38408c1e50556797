"""A tenant's own say on opt-outs: who, by contact or number, and by which words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

from msgspec import Meta, Struct

from lib.cursors import Cursor, Page, encode
from lib.numbering import NotInternational, international
from lib.rates import CannotCount, RateExceeded
from lib.sql import select
from messaging import joining, lookups, optouts, queries
from messaging.models import OptOutSource
from messaging.optouts import LONGEST_WORD, Words, normal_form
from messaging.queries import ContactRow
from messaging.sending import naming
from messaging.sending.naming import Naming
from messaging.sending.parties import ContactCache
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import Recipient
from workspaces.access import Actor

MOST_WORDS = 100


class PersonInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person, named in one way."""

    contact_id: UUID | None = None
    conversation_id: UUID | None = None
    reply_to: UUID | None = None
    phone: str | None = None


class StopWordsInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tenant's own words; an empty list brings the defaults back."""

    stop_words: Annotated[tuple[str, ...], Meta(description="They end marketing.")]
    start_words: Annotated[tuple[str, ...], Meta(description="They resume it.")]


class ConsentErrorCode(StrEnum):
    """Why nothing was changed."""

    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PHONE = "INVALID_PHONE"
    CONTACT_NOT_FOUND = "CONTACT_NOT_FOUND"
    INVALID_WORD = "INVALID_WORD"
    RATE_LIMITED = "RATE_LIMITED"


class UnableToChangeConsent(Exception):
    """Nothing was changed; ``field`` is the input at fault, and ``seconds`` after how many another
    try may be made, where time is what it takes.
    """

    def __init__(
        self, code: ConsentErrorCode, field: str, message: str, seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.field, self.message, self.seconds = code, field, message, seconds


class OptOutRow(NamedTuple):
    """What is shown of an opt-out."""

    contact_id: UUID
    source: str
    said_at: datetime


# A page ends at a contact: the id of the row counts the opt-outs of all tenants.
LIST = """
SELECT contact_id, source, said_at FROM opt_outs
WHERE tenant_id = %s AND lifted_at IS NULL AND (said_at, id) < (%s, (SELECT coalesce((
    SELECT o.id FROM opt_outs o WHERE o.tenant_id = %s AND o.contact_id = %s
), 0)))
ORDER BY said_at DESC, id DESC LIMIT %s
"""


def read_opt_outs(*, tenant_id: UUID, limit: int, after: Cursor | None) -> Page[OptOutRow]:
    """Return a page of those who want no marketing, newest first."""
    said_at, contact_id = (after.timestamp, after.id) if after else ("infinity", None)
    given = [tenant_id, said_at, tenant_id, contact_id, limit + 1]
    return Page.of(select(OptOutRow, LIST, given), limit)


def cursor_of(row: OptOutRow) -> str:
    """Return the cursor of an opt-out on its page."""
    return encode(Cursor(row.said_at, row.contact_id))


def person_of(named: Naming, phone: str | None) -> Naming | str:
    """Return how an input names a person: by ids of ours, or by a number (text).

    Raises:
        UnableToChangeConsent: it does so in no way, or by both.
    """
    if any(named) == (phone is not None):
        message = "Name the person in one way: a contact, a conversation, a message or a number."
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_INPUT, "contact_id", message)
    return named if phone is None else phone


def opt_out(actor: Actor, person: Naming | str) -> ContactRow:
    """Send a person no marketing; a number (text) nobody has written from yet becomes a contact.

    Raises:
        UnableToChangeConsent: no such person, or not one, or the caller names too many numbers.
    """
    contact, everywhere = _contact(actor, person, adds=True)
    tenant_id = actor.tenant_id
    optouts.opt_out(tenant_id=tenant_id, contact_ids=everywhere, source=OptOutSource.API)
    return contact


def opt_in(actor: Actor, person: Naming | str) -> ContactRow:
    """Let marketing reach a person again.

    Raises:
        UnableToChangeConsent: no such person, or not one, or the caller names too many numbers.
    """
    contact, everywhere = _contact(actor, person, adds=False)
    optouts.opt_in(tenant_id=actor.tenant_id, contact_ids=everywhere)
    return contact


def set_words(*, tenant_id: UUID, stop: Sequence[str], start: Sequence[str]) -> Words:
    """Replace a tenant's words; an empty list brings the defaults back. Returns those in force.

    Raises:
        UnableToChangeConsent: a word is none.
    """
    for field, words in (("stop_words", stop), ("start_words", start)):
        _check(field, words)
    if both := {normal_form(word) for word in stop} & {normal_form(word) for word in start}:
        message = f"{sorted(both)[0]!r} is in both lists."
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_WORD, "start_words", message)
    return optouts.set_words(tenant_id=tenant_id, stop=stop, start=start)


def _check(field: str, words: Collection[str]) -> None:
    if len(words) > MOST_WORDS:
        message = f"There may be {MOST_WORDS} words, here are {len(words)}."
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_INPUT, field, message)
    for position, word in enumerate(words):
        if len(word) > LONGEST_WORD or "\0" in word or not normal_form(word):
            message = f"A word has 1 to {LONGEST_WORD} characters and at least one letter or digit."
            raise UnableToChangeConsent(
                ConsentErrorCode.INVALID_WORD, f"{field}.{position}", message
            )


def _contact(actor: Actor, person: Naming | str, *, adds: bool) -> tuple[ContactRow, set[UUID]]:
    """Return who is meant, and every contact that this is; no two are merged until the end."""
    tenant_id = actor.tenant_id
    if isinstance(person, str):
        field, recipient = "phone", _recipient(actor, person)
        joining.lock([tenant_id])
        asked = _by_phone(tenant_id, recipient, adds=adds)
    else:
        field = person.field
        joining.lock([tenant_id])
        asked = _by_name(tenant_id, person)
    contacts = queries.contacts(tenant_id=tenant_id, ids=asked)
    if not contacts:
        message = "Your tenant has no such contact."
        raise UnableToChangeConsent(ConsentErrorCode.CONTACT_NOT_FOUND, field, message)
    return contacts[min(contacts)], {row.id for row in contacts.values()}


def _by_name(tenant_id: UUID, person: Naming) -> set[UUID]:
    found = naming.contacts_of([person], tenant_id=tenant_id)[person]
    if isinstance(found, UUID):
        return {found}
    is_input = found.code == SendErrorCode.INVALID_INPUT
    code = ConsentErrorCode.INVALID_INPUT if is_input else ConsentErrorCode.CONTACT_NOT_FOUND
    raise UnableToChangeConsent(code, found.field or person.field, found.message) from None


def _recipient(actor: Actor, phone: str) -> Recipient:
    """Return whom a number means, and count it: the answer tells who has it. While the broker is
    away nothing is counted, for a wish of a person's waits for nothing.
    """
    try:
        recipient = Recipient(phone=international(phone))
        with suppress(CannotCount):
            lookups.count(actor)
    except NotInternational as error:
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_PHONE, "phone", str(error)) from None
    except RateExceeded as error:
        code = ConsentErrorCode.RATE_LIMITED
        raise UnableToChangeConsent(code, "phone", str(error), error.seconds) from None
    return recipient


def _by_phone(tenant_id: UUID, recipient: Recipient, *, adds: bool) -> set[UUID]:
    cache = ContactCache(tenant_id)
    cache.look_up([recipient])
    if adds and cache.contact_of(recipient) is None:
        cache.add([recipient])
    return cache.contacts_of(recipient)
