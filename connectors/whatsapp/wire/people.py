"""Who is meant: phone numbers, BSUIDs, and which of the contacts beside the messages is whose.

Meta, "Business-scoped user IDs": no identity is always there, and a BSUID may stand where a number
used to be.
"""

from __future__ import annotations

import re

from connectors.whatsapp.wire.payloads import ContactPayload, Scalar
from lib.masking import has_digit, holds_number, mask, number_endings
from messaging.events import Person, Private

_BSUID = re.compile(r"u?[A-Za-z]{2}\.(ENT\.)?[A-Za-z0-9_-]{1,128}")
# A number may be written as WhatsApp's address of it; that of a group or a hidden id is no number.
_PHONE = re.compile(r"\+?[\d\s().\-]{5,40}(?:@(?:s\.whatsapp\.net|c\.us))?")
_GROUP = "@g.us"
_NOT_A_DIGIT = re.compile(r"[^0-9]+")
_LONGEST_PHONE = 20

# Brazil, Mexico and Argentina: `wa_id` may differ from `from` in a digit behind the country code.
_COMMON_TAIL = 8


def phone_digits(value: Scalar) -> str | None:
    """Return the digits of a phone number in any notation, or ``None`` for anything else."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    if not (text.isdecimal() and text.isascii()):
        if _PHONE.fullmatch(text) is None:
            return None
        text = _NOT_A_DIGIT.sub("", text)
    return text if 5 <= len(text) <= _LONGEST_PHONE else None


def bsuid(value: Scalar) -> str | None:
    """Return ``value`` if it is a business-scoped user id (``CC.…``), else ``None``."""
    if isinstance(value, str) and _BSUID.fullmatch(value) is not None:
        return value
    return None


def group_id(value: Scalar) -> str | None:
    """Return ``value`` if it is WhatsApp's address of a group, else ``None``."""
    return value if isinstance(value, str) and value.endswith(_GROUP) else None


def identify(key: Scalar, user_id: str | None, parent_user_id: str | None) -> Person:
    """Return the person of a phone-or-BSUID ``key`` (may be empty) and the two explicit ids."""
    phone = phone_digits(key)
    if phone is None and not user_id:
        user_id = bsuid(key)
        if user_id is not None and ".ENT." in user_id:
            user_id, parent_user_id = None, parent_user_id or user_id
    return Person(phone, user_id or None, parent_user_id or None)


def name_in(name: str | None, *phones: str | None) -> str | Private | None:
    """Return a profile name, a username, or what an address book says; blank: ``None``.

    One that holds an international number, or one of ``phones`` (the person's, digits), is private.
    Where none is known, so is one with any run of digits that may be the person's number.
    """
    if name is None or not (name := name.strip()):
        return None
    if not has_digit(name):
        return name
    is_private = holds_number(name, number_endings(phones))
    if not any(phones):
        is_private = is_private or mask(name) != name
    return Private(name) if is_private else name


class ContactBook:
    """The ``contacts`` of one change, searched by number, by BSUID, then by position."""

    __slots__ = ("_by_key", "_contacts")

    def __init__(self, contacts: list[ContactPayload | None] | None) -> None:
        self._contacts = contacts or []
        self._by_key: dict[str, int] | None = None

    def find(self, person: Person, index: int) -> int | None:
        """Return the position of the contact that shares an identity with ``person``.

        ``index``, the position of the update, is tried first; the answer does not depend on it
        unless two contacts share one identity.
        """
        if not self._contacts:
            return None
        found = self._find("wa_id", person.phone, index) if person.phone else None
        if found is None and person.user_id:
            found = self._find("user_id", person.user_id, index)
        return found

    def at(self, person: Person, index: int, count: int) -> int | None:
        """Return ``index`` if the contact there may be ``person``, for want of a shared identity.

        Only when there are as many contacts as updates (``count``), and nothing contradicts.
        """
        if len(self._contacts) != count or index >= count:
            return None
        contact = self._contacts[index]
        if contact is None or contradicts(person, contact):
            return None
        return index

    def join(self, person: Person, position: int | None) -> Person:
        """Return ``person`` with what the contact at ``position`` adds: ids, name, username."""
        contact = self._contacts[position] if position is not None else None
        if contact is None:
            return person
        wa_id = phone_digits(contact.wa_id)
        phone = person.phone or wa_id
        profile = contact.profile
        username = (profile.username if profile else None) or contact.username
        return Person(
            phone,
            person.user_id or contact.user_id or bsuid(contact.wa_id),
            person.parent_user_id or contact.parent_user_id or None,
            name_in(profile.name, phone, wa_id) if profile else None,
            name_in((username or "").lstrip("@"), phone, wa_id),
            wa_id if wa_id != phone else None,
        )

    def _find(self, field: str, key: str, index: int) -> int | None:
        if index < len(self._contacts):
            contact = self._contacts[index]
            if contact is not None and _key(contact, field) == key:
                return index
        if self._by_key is None:
            self._by_key = self._indexed()
        return self._by_key.get(f"{field}:{key}")

    def _indexed(self) -> dict[str, int]:
        positions: dict[str, int] = {}
        for position, contact in enumerate(self._contacts):
            if contact is not None:
                for field in ("wa_id", "user_id"):
                    if key := _key(contact, field):
                        positions.setdefault(f"{field}:{key}", position)
        return positions


def contradicts(person: Person, contact: ContactPayload) -> bool:
    """Return whether ``contact`` is certainly somebody else than ``person``."""
    if person.user_id and contact.user_id and person.user_id != contact.user_id:
        return True
    theirs = phone_digits(contact.wa_id)
    if person.phone is None or theirs is None:
        return False
    return person.phone[-_COMMON_TAIL:] != theirs[-_COMMON_TAIL:]


def _key(contact: ContactPayload, field: str) -> str | None:
    if field == "user_id":
        return contact.user_id or bsuid(contact.wa_id)
    return phone_digits(contact.wa_id)
