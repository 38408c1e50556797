"""A tenant's own say on opt-outs: who, by contact or number, and by which words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from lib.cursors import Cursor
from lib.numbering import NotInternational, international
from lib.sql import select
from messaging import joining, optouts, queries
from messaging.models import OptOutSource
from messaging.optouts import LONGEST_WORD, Words, normal_form
from messaging.queries import ContactRow
from messaging.sending import naming
from messaging.sending.naming import Naming
from messaging.sending.parties import ContactCache
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import Recipient

MOST_WORDS = 100
# As they are spelled in what is said of them.
FIELDS = {"conversation_id": "conversationId", "contact_id": "contactId", "reply_to": "replyTo"}


class ConsentErrorCode(StrEnum):
    """Why nothing was changed."""

    INVALID_INPUT = "INVALID_INPUT"
    INVALID_PHONE = "INVALID_PHONE"
    CONTACT_NOT_FOUND = "CONTACT_NOT_FOUND"
    INVALID_WORD = "INVALID_WORD"


class UnableToChangeConsent(Exception):
    """Nothing was changed; ``field`` is the input at fault."""

    def __init__(self, code: ConsentErrorCode, field: str, message: str) -> None:
        super().__init__(message)
        self.code, self.field, self.message = code, field, message


class OptOutRow(NamedTuple):
    """What is shown of an opt-out."""

    contact_id: UUID
    source: str
    said_at: datetime


# A page ends at a contact: the id of the row counts the opt-outs of all tenants.
LIST = """
SELECT contact_id, source, said_at FROM opt_outs
WHERE tenant_id = %s AND lifted_at IS NULL AND (said_at, id) < (%s, coalesce((
    SELECT o.id FROM opt_outs o WHERE o.tenant_id = %s AND o.contact_id = %s
), 0))
ORDER BY said_at DESC, id DESC LIMIT %s
"""


def read_opt_outs(*, tenant_id: UUID, limit: int, after: Cursor | None) -> list[OptOutRow]:
    """Return a page of those who want no marketing, newest first, and one more if there are."""
    said_at, contact_id = (after.timestamp, after.id) if after else ("infinity", None)
    return select(OptOutRow, LIST, [tenant_id, said_at, tenant_id, contact_id, limit + 1])


def opt_out(*, tenant_id: UUID, person: Naming | str | None) -> ContactRow:
    """Send a person no marketing; a number (text) nobody has written from yet becomes a contact.

    Raises:
        UnableToChangeConsent: no such person, or not one.
    """
    contact, everywhere = _contact(tenant_id, person, adds=True)
    optouts.opt_out(tenant_id=tenant_id, contact_ids=everywhere, source=OptOutSource.API)
    return contact


def opt_in(*, tenant_id: UUID, person: Naming | str | None) -> ContactRow:
    """Let marketing reach a person again.

    Raises:
        UnableToChangeConsent: no such person, or not one.
    """
    contact, everywhere = _contact(tenant_id, person, adds=False)
    optouts.opt_in(tenant_id=tenant_id, contact_ids=everywhere)
    return contact


def set_words(*, tenant_id: UUID, stop: Sequence[str], start: Sequence[str]) -> Words:
    """Replace a tenant's words; an empty list brings the defaults back. Returns those in force.

    Raises:
        UnableToChangeConsent: a word is none.
    """
    for field, words in (("stopWords", stop), ("startWords", start)):
        _check(field, words)
    if both := {normal_form(word) for word in stop} & {normal_form(word) for word in start}:
        message = f"{sorted(both)[0]!r} is in both lists."
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_WORD, "startWords", message)
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


def _contact(
    tenant_id: UUID, person: Naming | str | None, *, adds: bool
) -> tuple[ContactRow, set[UUID]]:
    """Return who is meant, and every contact that this is; no two are merged until the end."""
    if person is None:
        message = "Name the person in one way: contactId, conversationId, replyTo or phone."
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_INPUT, "contactId", message)
    joining.lock([tenant_id])
    if isinstance(person, str):
        field, asked = "phone", _by_phone(tenant_id, person, adds=adds)
    else:
        field, asked = FIELDS[person.field], _by_name(tenant_id, person)
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
    raise UnableToChangeConsent(code, FIELDS[found.field or person.field], found.message) from None


def _by_phone(tenant_id: UUID, phone: str, *, adds: bool) -> set[UUID]:
    try:
        recipient = Recipient(phone=international(phone))
    except NotInternational as error:
        raise UnableToChangeConsent(ConsentErrorCode.INVALID_PHONE, "phone", str(error)) from None
    cache = ContactCache(tenant_id)
    cache.look_up([recipient])
    if adds and cache.contact_of(recipient) is None:
        cache.add([recipient])
    return cache.contacts_of(recipient)
