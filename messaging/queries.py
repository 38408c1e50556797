"""Read messages a page at a time, at the same cost at any depth."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from messaging.cursors import Cursor
from messaging.events import Direction
from messaging.identities import SURVIVOR
from workspaces.models import Platform
from workspaces.sql import columns_of, select


class MessageRow(NamedTuple):
    """What is shown of a message; ``content`` and ``delivery`` are JSON text. ``sealed_values``
    belong into ``text`` and ``content``.
    """

    id: UUID
    workspace_id: UUID
    contact_id: UUID | None
    platform: int
    platform_message_id: str | None
    direction: str
    source: str
    type: str
    sender: str
    text: str | None
    content: str
    reply_to: str | None
    timestamp_utc: datetime
    status: str | None
    delivery: str
    edited_at: datetime | None
    revoked_at: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    expires_at: datetime | None
    sealed_values: bytes | None
    broadcast_id: UUID | None


class Count(NamedTuple):
    """How many there are."""

    number: int


class Digest(NamedTuple):
    """An identity of somebody."""

    digest: str


class ContactRow(NamedTuple):
    """What is shown of a contact."""

    id: UUID
    display_name: str
    username: str


class _Asked(NamedTuple):
    asked: UUID
    id: UUID
    display_name: str
    username: str


SELECT_MESSAGES = " ".join(("SELECT", columns_of(MessageRow), "FROM messages WHERE"))
# A contact that was merged is shown as the one that it is now.
SELECT_CONTACTS = """
SELECT asked.id AS asked, c.id, c.display_name, c.username FROM contacts asked
JOIN contacts c ON c.id = coalesce(asked.merged_into, asked.id)
WHERE asked.tenant_id = %s AND asked.id = ANY(%s)
"""


# Not simply all numbers of the contact: those he had before are no ways to write this one.
SELECT_ALIASES = """
SELECT o.digest FROM contact_identities i
JOIN contact_identities o ON o.contact_id = i.contact_id AND o.tenant_id = i.tenant_id
WHERE i.tenant_id = %s AND i.digest = ANY(%s)
  AND (i.kind, o.kind) IN (('PHONE', 'ALIAS'), ('ALIAS', 'PHONE'))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages of a tenant's workspace are wanted; ``None`` means any.

    ``senders`` are digests of a phone number or BSUID. ``since`` is inclusive, ``until`` is not.
    """

    tenant_id: UUID
    workspace_id: UUID
    platform: Platform | None = None
    direction: Direction | None = None
    type: str | None = None
    status: str | None = None
    senders: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def where(self) -> tuple[str, list[object]]:
        """Return the condition and its parameters."""
        conditions = {
            "tenant_id = %s": self.tenant_id,
            "workspace_id = %s": self.workspace_id,
            "platform = %s": self.platform and self.platform.value,
            "direction = %s": self.direction and self.direction.value,
            "type = %s": self.type,
            "status = %s": self.status,
            "sender = ANY(%s)": self.senders and list(self.senders),
            "timestamp_utc >= %s": self.since,
            "timestamp_utc < %s": self.until,
        }
        given = {text: value for text, value in conditions.items() if value is not None}
        return " AND ".join(given), list(given.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of the list is wanted: ``limit`` rows after ``cursor``, or before it."""

    limit: int
    cursor: Cursor | None = None
    backwards: bool = False
    newest_first: bool = True

    @property
    def falls(self) -> bool:
        """Whether the rows are read from the newest to the oldest."""
        return self.newest_first != self.backwards

    def page_of(self, found: list[MessageRow]) -> Page:
        """Return the page that these rows make, one more than wanted where there are others."""
        messages = found[: self.limit]
        return Page(messages[::-1] if self.backwards else messages, len(found) > self.limit)


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages in the order asked for.

    ``has_more`` tells whether there are others beyond them in the direction of travel.
    """

    messages: list[MessageRow]
    has_more: bool


def read_page(wanted: Wanted, window: Window) -> Page:
    """Return one page: a range of the index ``messages_newest_first``, however deep.

    PostgreSQL makes an index range of a row comparison, and of no spelling with OR:
    https://www.postgresql.org/docs/current/functions-comparisons.html (Row Constructor Comparison)
    """
    where, parameters = wanted.where()
    condition, more = in_window(window)
    found = select(MessageRow, " ".join((SELECT_MESSAGES, where, condition)), parameters + more)
    return window.page_of(found)


def in_window(window: Window) -> tuple[str, list[object]]:
    """Return how a statement about messages ends, and its parameters; one row more is read."""
    order = "timestamp_utc DESC, id DESC" if window.falls else "timestamp_utc, id"
    condition, parameters = f"ORDER BY {order} LIMIT %s", [window.limit + 1]
    if window.cursor is None:
        return condition, [*parameters]
    place = f"AND (timestamp_utc, id) {'<' if window.falls else '>'} (%s, %s)"
    return f"{place} {condition}", [window.cursor.timestamp, window.cursor.id, *parameters]


def count(wanted: Wanted) -> int:
    """Count the messages wanted, which reads all of them."""
    where, parameters = wanted.where()
    sql = " ".join(("SELECT count(*) FROM messages WHERE", where))
    (found,) = select(Count, sql, parameters)
    return found.number


def find(*, tenant_id: UUID, message_id: UUID) -> MessageRow | None:
    """Return a tenant's message by its id, with the contact that its person is now."""
    contact = SURVIVOR.format(contact_id="messages.contact_id")
    sql = SELECT_MESSAGES.replace("contact_id", contact, 1) + " tenant_id = %s AND id = %s"
    return next(iter(select(MessageRow, sql, [tenant_id, message_id])), None)


def ways_of_writing(*, tenant_id: UUID, phones: Collection[str]) -> tuple[str, ...]:
    """Return a phone number's digests and those of other ways in which Meta wrote the number."""
    found = select(Digest, SELECT_ALIASES, [tenant_id, list(phones)])
    return tuple(sorted({*phones, *(row.digest for row in found)}))


def contacts(*, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, ContactRow]:
    """Return some of a tenant's contacts by id; ids from before a merge lead to who it is now."""
    rows = select(_Asked, SELECT_CONTACTS, [tenant_id, list(ids)]) if ids else []
    return {row.asked: ContactRow(*row[1:]) for row in rows}
