"""Whom a message goes to: identities checked, and the contacts that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from uuid import UUID

from lib.numbering import NotInternational, international
from messaging.events import Person
from messaging.identities import Someone, identify
from messaging.people import People
from messaging.sending.refusals import SendErrorCode, UnableToSend
from messaging.sending.requests import Recipient

# Projects disagree about what stands behind the country; the widest is taken.
_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[0-9A-Za-z]{1,128}")


def normalised(recipient: Recipient) -> Recipient:
    """Return a recipient with the bare digits of the number, or the BSUID.

    Raises:
        UnableToSend: neither, both, or not of the right form.
    """
    phone, user_id = recipient.phone, recipient.user_id
    if (phone is None) == (user_id is None):
        raise UnableToSend(
            SendErrorCode.INVALID_INPUT,
            "recipient_phone",
            "Give the recipient as a phone number or as a user id (BSUID): one of the two.",
        )
    if phone is not None:
        return Recipient(phone=_digits(phone))
    if not _BSUID.fullmatch(user_id or ""):
        raise UnableToSend(
            SendErrorCode.INVALID_USER_ID,
            "recipient_user_id",
            "A user id (BSUID) is two capitals, a dot and up to 128 letters and digits, such as "
            "US.13491208655302741918.",
        )
    return recipient


def _digits(phone: str) -> str:
    try:
        return international(phone)
    except NotInternational as error:
        raise UnableToSend(SendErrorCode.INVALID_PHONE, "recipient_phone", str(error)) from None


class ContactCache:
    """The contacts of some recipients (normalised) of one tenant."""

    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id
        self._people = People()
        self._someone: dict[Recipient, Someone] = {}

    def look_up(self, recipients: Iterable[Recipient]) -> None:
        """Find the contacts of those who have one, under any way to write their number."""
        digest = self._people.digester(self._tenant_id)
        for recipient in recipients:
            if recipient not in self._someone:
                self._someone[recipient] = identify(digest, self._tenant_id, _person(recipient))
        self._people.find(self._someone.values())

    def contact_of(self, recipient: Recipient | None) -> UUID | None:
        """Return the contact of a recipient who was looked up or added, if they have one."""
        return min(self.contacts_of(recipient), default=None)

    def contacts_of(self, recipient: Recipient | None) -> set[UUID]:
        """Return every contact of a recipient: one, once a callback named both spellings."""
        if recipient is None:
            return set()
        return {contact.id for contact in self._people.contacts_of(self._someone[recipient])}

    def phones_of(self, recipient: Recipient) -> set[str]:
        """Return the digests of all ways to write a recipient's number."""
        return set(self._someone[recipient].phones)

    def add(self, recipients: Iterable[Recipient]) -> None:
        """Make contacts of those who have none, so that their answers come to the same ones."""
        known = {recipient: len(self.contacts_of(recipient)) for recipient in recipients}
        # Contacts are merged where nobody else writes: when the person does.
        self._people.resolve([self._someone[one] for one, count in known.items() if count < 2])


def _person(recipient: Recipient) -> Person:
    if recipient.phone is None:
        user_id = recipient.user_id or ""
        is_parent = user_id[3:].startswith("ENT.")
        return Person(parent_user_id=user_id) if is_parent else Person(user_id=user_id)
    return Person(phone=recipient.phone)
