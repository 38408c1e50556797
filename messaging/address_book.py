"""What a business calls people in its own address book, for those who gave no name themselves.

It has columns of its own: a name that the person gave always goes before it, whenever it comes. The
book comes when a number is connected, before anybody writes, so those named in it become contacts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from lib import bulk
from messaging import changing
from messaging.events import AddressBookName
from messaging.people import People, Someone

# What arrives late, or again, changes nothing.
NAME = changing.statement(
    table="contacts",
    found="{rows} JOIN contacts m ON m.tenant_id = r.tenant_id AND m.id = r.id "
    "WHERE m.book_name_at IS NULL OR m.book_name_at < r.at",
    carry="r.name, r.at, r.position",
    assign="book_name = mine.name, book_name_at = mine.at, updated_at = now()",
    returning="mine.position",
)
JOIN = """
UPDATE contacts c SET book_name = l.book_name, book_name_at = l.book_name_at FROM (
    SELECT DISTINCT ON (r.winner_id) r.tenant_id, r.winner_id, o.book_name, o.book_name_at
    FROM {rows} JOIN contacts o ON o.tenant_id = r.tenant_id AND o.id = r.id
    WHERE o.book_name_at IS NOT NULL
    ORDER BY r.winner_id, o.book_name_at DESC
) l WHERE c.tenant_id = l.tenant_id AND c.id = l.winner_id
  AND (c.book_name_at IS NULL OR c.book_name_at < l.book_name_at)
"""
# What an alias was called is its survivor's by then.
FORGET = """
UPDATE contacts c SET book_name = '', book_name_at = NULL FROM {rows}
WHERE c.tenant_id = r.tenant_id AND c.id = r.id AND c.book_name_at IS NOT NULL
"""


class BookEntry(NamedTuple):
    """One name, the position in the batch it came from, and whose it is."""

    position: int
    someone: Someone
    event: AddressBookName


def people_in(entries: Iterable[BookEntry]) -> list[Someone]:
    """Return those who are named; who is only removed needs no contact."""
    return [entry.someone for entry in entries if entry.event.name]


def store(entries: Sequence[BookEntry], people: People) -> set[int]:
    """Store the names of contacts that ``people`` resolved; return the positions of no news."""
    if not entries:
        return set()
    people.find(entry.someone for entry in entries)
    latest: dict[tuple[UUID, UUID], BookEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.event.timestamp):
        if contact := people.contact_of(entry.someone):
            latest[contact.tenant_id, contact.id] = entry
    columns = ("tenant_id uuid", "id uuid", "name text", "at timestamptz", "position int4")
    rows = [
        (*contact, entry.someone.kept(entry.event.name), entry.event.timestamp, entry.position)
        for contact, entry in sorted(latest.items())
    ]
    news = {position for (position,) in bulk.run(NAME, columns, rows)}
    return {entry.position for entry in entries} - news


def join(merged: Sequence[tuple[UUID, UUID, UUID]]) -> None:
    """Give contacts what those were called last that were merged into them (tenant, loser,
    winner).
    """
    columns = ("tenant_id uuid", "id uuid", "winner_id uuid")
    bulk.run(JOIN, columns, merged)
    bulk.run(FORGET, columns, merged)
