"""Search in the messages of a number by words, newest first.

The newest messages are looked through one by one: so words that are everywhere are found at once,
and so is what was stored a moment ago. What is older is found by the index of words
(:mod:`messaging.search_index`), as many weeks of it as a page needs. Where that would be too much
to put in order, a page ends before it is full, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from lib.cursors import Cursor
from lib.sql import select
from lib.words import SnippetPiece, WordQuery, snippet
from messaging.conversation_queries import messages_by_id
from messaging.people import ALL_IDS
from messaging.queries import MessageFilter, MessageRow
from messaging.search_index import begin_of, prefix_of, searchable, week_of

# Messages that are looked through for a page: a few at first, then the rest.
LOOKED_THROUGH = (200, 800)
# Messages that the index may find in one week, and in all; those that are looked through where that
# is not enough; and those that are not in it yet.
MOST_OF_A_WEEK, MOST_FOUND, MOST_OF_CROWDED, MOST_WAITING = 4_000, 6_000, 3_000, 2_000
# What the index found is read in bites of this size, and for so many weeks back.
BITE, MOST_WEEKS = 64, 1_040
COLUMNS = "m.timestamp_utc, m.id, m.type, m.source, m.text"
ORDER = "ORDER BY m.timestamp_utc DESC, m.id DESC LIMIT %s"
NEWEST = f"SELECT {COLUMNS} FROM messages m WHERE {{where}} {ORDER}"  # noqa: S608 - names of ours
# Of each contact that a person was, a range of the index messages_of_a_conversation.
NEWEST_OF_PERSON = f"""
SELECT {COLUMNS} FROM ({ALL_IDS.format(tenant_id="%s", contact_id="%s::uuid")}) own (id)
CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM messages m
    WHERE {{where}} AND m.contact_id = own.id AND m.group_id IS NULL {ORDER}
) m {ORDER}
"""  # noqa: S608 - names of ours
OF_PERSON = f"""m.group_id IS NULL
AND m.contact_id = ANY(ARRAY({ALL_IDS.format(tenant_id="%s", contact_id="%s::uuid")}))"""
OLDEST = """
SELECT timestamp_utc FROM messages WHERE {where} ORDER BY timestamp_utc, id LIMIT 1
"""
WITH_WORDS = "SELECT number, id FROM messages_with_words(%s::text[], %s, %s)"
WAITING = """
SELECT one.id FROM (
    SELECT message_ids FROM message_words_pending
    WHERE tenant_id = %s AND workspace_id = %s ORDER BY id DESC LIMIT %s
) p CROSS JOIN LATERAL unnest(p.message_ids) one (id) LIMIT %s
"""
WAITING_SINCE = """
SELECT created_at FROM message_words_pending
WHERE tenant_id = %s AND workspace_id = %s ORDER BY id LIMIT 1
"""
BEGINNING = datetime.min.replace(tzinfo=UTC)
# Before every message of a moment.
FIRST_ID = UUID(int=0)


class _Candidate(NamedTuple):
    timestamp_utc: datetime
    id: UUID
    type: str
    source: str
    text: str | None

    @property
    def place(self) -> Cursor:
        """Where it stands in the list."""
        return Cursor(self.timestamp_utc, self.id)


class _Oldest(NamedTuple):
    timestamp_utc: datetime


class _OfIndex(NamedTuple):
    number: int
    id: UUID


class _Waiting(NamedTuple):
    id: UUID


class _Since(NamedTuple):
    created_at: datetime


class Hit(NamedTuple):
    """A message that was found, and the part of its text around what was."""

    row: MessageRow
    snippet: Sequence[SnippetPiece]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Some hits, newest first; the search may have looked further than the last: to ``looked_to``.

    ``indexed_until``: what was stored since then may be missing; ``None``: nothing is.
    """

    hits: list[Hit]
    has_more: bool
    looked_to: Cursor | None = None
    indexed_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for: messages that match the query, among those of ``among``, which are in
    private with one person where ``contact_id`` is given.
    """

    query: WordQuery
    among: MessageFilter
    contact_id: UUID | None = None

    def matching(self, rows: Sequence[_Candidate]) -> list[_Candidate]:
        """Return those whose text matches."""
        return [
            row
            for row in rows
            if (text := searchable(*row[2:])) is not None and self.query.matches(text)
        ]

    def newest(self, before: Cursor | None, count: int) -> list[_Candidate]:
        """Return the newest messages before a place, by the indexes of lists."""
        where, values = self._where(before)
        if self.contact_id is None:
            return select(_Candidate, NEWEST.format(where=where), [*values, count])
        sql = NEWEST_OF_PERSON.format(where=where)
        return select(_Candidate, sql, [*self._person, *values, count, count])

    def some(
        self, ids: Sequence[UUID], before: Cursor, since: datetime, most: int
    ) -> list[_Candidate]:
        """Return the newest of some messages, of those that are looked for."""
        where, values = self._where(before)
        where, values = f"{where} AND m.timestamp_utc >= %s AND m.id = ANY(%s)", [*values, since]
        values.append(list(ids))
        if self.contact_id is not None:
            where, values = f"{where} AND {OF_PERSON}", [*values, *self._person]
        return select(_Candidate, NEWEST.format(where=where), [*values, most]) if ids else []

    def oldest(self) -> datetime:
        """Return when the oldest message was sent of all among which is searched; there is one."""
        where, values = self.among.range()
        return select(_Oldest, OLDEST.format(where=where), values)[0].timestamp_utc

    @property
    def _person(self) -> list[object]:
        return [self.contact_id, self.among.tenant_id, self.contact_id]

    def _where(self, before: Cursor | None) -> tuple[str, list[object]]:
        (where, values), (filters, more) = self.among.range(), self.among.filters()
        where, values = " AND ".join(filter(None, (where, filters))), [*values, *more]
        if before is not None:
            where += " AND (m.timestamp_utc, m.id) < (%s, %s)"
            values += [before.timestamp, before.id]
        return where, values


def read_page(wanted: Search, *, limit: int, after: Cursor | None) -> SearchPage:
    """Return one page of what is found, as the tenant that the caller acts for."""
    need, found, end = limit + 1, list[_Candidate](), after
    for count in LOOKED_THROUGH:
        rows = wanted.newest(end, count)
        found += wanted.matching(rows)
        if len(found) >= need or len(rows) < count:
            return _page(wanted, found, limit)
        end = rows[-1].place
    assert end is not None  # noqa: S101 - all of these were there
    older = _Index(wanted, end)
    found += older.read(need - len(found))
    return _page(wanted, found, limit, looked_to=older.stopped_at, until=older.until)


def _page(
    wanted: Search,
    found: list[_Candidate],
    limit: int,
    *,
    looked_to: Cursor | None = None,
    until: datetime | None = None,
) -> SearchPage:
    shown = found[:limit]
    messages = messages_by_id(tenant_id=wanted.among.tenant_id, ids=[one.id for one in shown])
    rows = {row.id: row for row in messages}
    hits = [
        Hit(rows[one.id], snippet(text, wanted.query.find(text)))
        for one in shown
        if one.id in rows and (text := one.text)
    ]
    if len(found) > limit:
        return SearchPage(hits, True, None, until)
    return SearchPage(hits, looked_to is not None, looked_to, until)


class _Index:
    """What the index of words finds before a place.

    ``stopped_at`` is where it became too much, if it did. ``until`` is that of `SearchPage`.
    """

    def __init__(self, wanted: Search, before: Cursor) -> None:
        self._wanted, self._before = wanted, before
        self.stopped_at: Cursor | None = None
        self.until: datetime | None = None
        newest = week_of(before.timestamp)
        oldest = max(week_of(wanted.oldest()), newest - MOST_WEEKS)
        self._weeks = range(newest, oldest - 1, -1)

    def read(self, need: int) -> list[_Candidate]:
        """Return the newest that it finds."""
        workspace_id = self._wanted.among.workspace_id
        prefixes = (prefix_of(workspace_id, week) for week in self._weeks)
        queries = [self._wanted.query.as_tsquery(prefix) for prefix in prefixes]
        waiting, found = self._waiting(), list[_Candidate]()
        settled = looked_at = 0
        while settled < len(queries) and len(found) < need:
            enough = need - len(found)
            rows = select(_OfIndex, WITH_WORDS, [queries[settled:], enough, MOST_OF_A_WEEK])
            last = rows[-1].number if rows else 0
            is_crowded = sum(row.number == last for row in rows) == MOST_OF_A_WEEK
            settled = settled + last if len(rows) >= enough else len(queries)
            settled -= is_crowded
            looked_at += len(rows)
            ids = [row.id for row in rows if not is_crowded or row.number < last]
            found += self._settle(settled, ids, waiting, enough)
            if is_crowded and len(found) < need:
                return found + self._look_through()
            if looked_at >= MOST_FOUND and settled < len(queries):
                self.stopped_at = self._before
                break
        return found

    def _settle(
        self, settled: int, ids: list[UUID], waiting: list[_Candidate], need: int
    ) -> list[_Candidate]:
        """Return the newest that match in the weeks up to so many, whose words are read or not."""
        if not settled:
            return []
        is_all = settled == len(self._weeks)
        since = BEGINNING if is_all else begin_of(self._weeks[settled - 1])
        before, rows = self._before, list[_Candidate]()
        while len(rows) < need:
            bite = self._wanted.some(ids, before, since, BITE)
            rows += self._wanted.matching(bite)
            if len(bite) < BITE:
                break
            before = bite[-1].place
        rows += (one for one in waiting if since <= one.timestamp_utc and self._is_left(one))
        self._before = Cursor(since, FIRST_ID)
        found = {_order(one): one for one in rows}
        return [found[place] for place in sorted(found, reverse=True)]

    def _is_left(self, one: _Candidate) -> bool:
        return _order(one) < (self._before.timestamp, self._before.id)

    def _look_through(self) -> list[_Candidate]:
        """Look through a week from its newest message: the index found too many in it."""
        rows = self._wanted.newest(self._before, MOST_OF_CROWDED)
        if len(rows) == MOST_OF_CROWDED:
            self.stopped_at = rows[-1].place
        return self._wanted.matching(rows)

    def _waiting(self) -> list[_Candidate]:
        """Return what matches of those whose words are not read yet."""
        among = self._wanted.among
        whose = [among.tenant_id, among.workspace_id]
        ids = [
            row.id
            for row in select(_Waiting, WAITING, [*whose, MOST_WAITING + 1, MOST_WAITING + 1])
        ]
        if len(ids) > MOST_WAITING:
            self.until = next((row[0] for row in select(_Since, WAITING_SINCE, whose)), None)
        return self._wanted.matching(
            self._wanted.some(ids, self._before, BEGINNING, MOST_WAITING + 1)
        )


def _order(one: _Candidate) -> tuple[datetime, UUID]:
    return one.timestamp_utc, one.id
