"""Read messages a page at a time, at the same cost at any depth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib.cursors import Cursor
from lib.sql import columns_of, select
from messaging.events import Direction
from messaging.people import SURVIVOR
from messaging.sealed_values import PURGED, open_names
from workspaces.models import Platform


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
    group_id: str | None
    timestamp_utc: datetime
    status: str | None
    delivery: str
    edited_at: datetime | None
    revoked_at: datetime | None
    attempts: int
    expires_at: datetime | None
    sealed_values: bytes | None
    broadcast_id: UUID | None


class Count(NamedTuple):
    """How many there are, of how many that were looked at."""

    number: int
    looked_at: int


class _Place(NamedTuple):
    timestamp_utc: datetime
    id: UUID


class Digest(NamedTuple):
    """An identity of somebody."""

    digest: str


class ContactRow(NamedTuple):
    """What is shown of a contact; ``sealed`` are the fields that are for readers of messages."""

    id: UUID
    display_name: str
    username: str
    sealed: frozenset[str] = frozenset()


class _Asked(NamedTuple):
    asked: UUID
    id: UUID
    display_name: str
    book_name: str
    username: str


SELECT_MESSAGES = " ".join(("SELECT", columns_of(MessageRow), "FROM messages WHERE"))
# PostgreSQL stops looking through as soon as it has found enough.
FILTERED = "SELECT * FROM ({inner}) m WHERE {filters} ORDER BY {order} LIMIT %s"
COUNT = """
SELECT count(*) FILTER (WHERE {filters}), count(*)
FROM (SELECT direction, type, status, sender FROM messages WHERE {where} LIMIT %s) m
"""
# A contact that was merged is shown as the one that it is now.
SELECT_CONTACTS = """
SELECT asked.id AS asked, c.id, c.display_name, c.book_name, c.username FROM (
    SELECT a.tenant_id, a.id, coalesce(a.merged_into, a.id) AS now_id FROM contacts a
    WHERE a.tenant_id = %s AND a.id = ANY(%s) OFFSET 0
) asked
JOIN contacts c ON c.tenant_id = asked.tenant_id AND c.id = asked.now_id
"""


# Not simply all numbers of the contact: those they had before are no ways to write this one.
SELECT_ALIASES = """
SELECT o.digest FROM contact_identities i
JOIN contact_identities o ON o.contact_id = i.contact_id AND o.tenant_id = i.tenant_id
WHERE i.tenant_id = %s AND i.digest = ANY(%s)
  AND (i.kind, o.kind) IN (('PHONE', 'ALIAS'), ('ALIAS', 'PHONE'))
"""


# Filters that no index serves look through so many messages for a page, newest or oldest first, and
# a count looks at so many: some 10 ms, whatever the table holds.
MOST_LOOKED_THROUGH, MOST_COUNTED = 10_000, 25_000


# A condition in SQL, and its parameters.
Condition = tuple[str, list[object]]


class TooMany(Exception):
    """More messages would have to be counted; narrow the time with since and until."""

    def __init__(self) -> None:
        super().__init__(
            f"totalCount looks at {MOST_COUNTED:,} messages at most, and there are more; "
            "narrow the time with since and until."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
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

    def range(self) -> Condition:
        """Return what the index ``messages_newest_first`` finds; there is one platform so far."""
        return _all(
            {
                "tenant_id = %s": self.tenant_id,
                "workspace_id = %s": self.workspace_id,
                "platform = %s": self.platform and self.platform.value,
                "timestamp_utc >= %s": self.since,
                "timestamp_utc < %s": self.until,
            }
        )

    def filters(self) -> Condition:
        """Return what each message is looked at for; an empty text where there is nothing."""
        return _all(
            {
                "direction = %s": self.direction and self.direction.value,
                "type = %s": self.type,
                "status = %s": self.status,
                "sender = ANY(%s)": None if self.senders is None else list(self.senders),
            }
        )


def _all(conditions: Mapping[str, object]) -> Condition:
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

    @property
    def order(self) -> str:
        """The order of rows, in SQL."""
        return "timestamp_utc DESC, id DESC" if self.falls else "timestamp_utc, id"

    def page_of(self, found: list[MessageRow]) -> MessagePage:
        """Return the page that these rows make, one more than wanted where there are others."""
        messages = found[: self.limit]
        return MessagePage(messages[::-1] if self.backwards else messages, len(found) > self.limit)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Some messages in the order asked for.

    ``has_more`` tells whether there are others beyond them in the direction of travel. A filter may
    have looked further than the last of them: to ``looked_to``.
    """

    messages: list[MessageRow]
    has_more: bool
    looked_to: Cursor | None = None


def read_page(wanted: MessageFilter, window: Window) -> MessagePage:
    """Return one page: a range of the index ``messages_newest_first``, however deep.

    A filter looks through `MOST_LOOKED_THROUGH` messages at most; the next page looks on.
    PostgreSQL makes an index range of a row comparison, and of no spelling with OR:
    https://www.postgresql.org/docs/current/functions-comparisons.html (Row Constructor Comparison)
    """
    where, parameters = wanted.range()
    filters, values = wanted.filters()
    if not filters:
        condition, more = in_window(window)
        found = select(MessageRow, " ".join((SELECT_MESSAGES, where, condition)), parameters + more)
        return window.page_of(found)
    looked_through, more = in_window(window, MOST_LOOKED_THROUGH)
    inner = " ".join((SELECT_MESSAGES, where, looked_through))
    sql = FILTERED.format(inner=inner, filters=filters, order=window.order)
    found = select(MessageRow, sql, [*parameters, *more, *values, window.limit + 1])
    page = window.page_of(found)
    looked_to = None if page.has_more else _looked_to(wanted, window)
    return page if looked_to is None else replace(page, has_more=True, looked_to=looked_to)


def in_window(window: Window, at_most: int | None = None) -> Condition:
    """Return how a statement about messages ends, and its parameters; one row more than the window
    has is read, or ``at_most``.
    """
    condition = f"ORDER BY {window.order} LIMIT %s"
    parameters = [window.limit + 1 if at_most is None else at_most]
    if window.cursor is None:
        return condition, [*parameters]
    place = f"AND (timestamp_utc, id) {'<' if window.falls else '>'} (%s, %s)"
    return f"{place} {condition}", [window.cursor.timestamp, window.cursor.id, *parameters]


def count(wanted: MessageFilter) -> int:
    """Count the messages wanted.

    Raises:
        TooMany: in this time there are too many to look at.
    """
    where, parameters = wanted.range()
    filters, values = wanted.filters()
    sql = COUNT.format(where=where, filters=filters or "true")
    (found,) = select(Count, sql, [*values, *parameters, MOST_COUNTED + 1])
    if found.looked_at > MOST_COUNTED:
        raise TooMany
    return found.number


def _looked_to(wanted: MessageFilter, window: Window) -> Cursor | None:
    """Return the last message that a filter looked at; ``None``: there is none beyond it."""
    where, parameters = wanted.range()
    condition, more = in_window(window, 2)
    sql = f"SELECT timestamp_utc, id FROM messages WHERE {where} {condition} OFFSET %s"  # noqa: S608
    found = select(_Place, sql, [*parameters, *more, MOST_LOOKED_THROUGH - 1])
    return Cursor(*found[0]) if len(found) > 1 else None


def find(*, tenant_id: UUID, message_id: UUID) -> MessageRow | None:
    """Return a tenant's message by its id, with the contact that its person is now."""
    contact = SURVIVOR.format(tenant_id="messages.tenant_id", contact_id="messages.contact_id")
    sql = SELECT_MESSAGES.replace("contact_id", contact, 1) + " tenant_id = %s AND id = %s"
    return next(iter(select(MessageRow, sql, [tenant_id, message_id])), None)


def ways_of_writing(*, tenant_id: UUID, phones: Collection[str]) -> tuple[str, ...]:
    """Return a phone number's digests and those of other ways in which Meta wrote the number."""
    found = select(Digest, SELECT_ALIASES, [tenant_id, list(phones)])
    return tuple(sorted({*phones, *(row.digest for row in found)}))


def contacts(*, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, ContactRow]:
    """Return some of a tenant's contacts by id; ids from before a merge lead to who it is now."""
    rows = select(_Asked, SELECT_CONTACTS, [tenant_id, list(ids)]) if ids else []
    opened = open_names((name for row in rows for name in row[2:]), tenant_id=tenant_id)
    return {row.asked: _contact(row, opened) for row in rows}


def _contact(row: _Asked, opened: Mapping[str, str]) -> ContactRow:
    """A name that the person told goes before one of the address book, unless it was purged."""
    names = [name for name in (row.display_name, row.book_name) if name] or [""]
    name = next((name for name in names if opened.get(name) != PURGED), names[0])
    stored = {"display_name": name, "username": row.username}
    sealed = frozenset(field for field, name in stored.items() if name in opened)
    shown = {field: opened.get(name, name) for field, name in stored.items()}
    return ContactRow(row.id, **shown, sealed=sealed)
