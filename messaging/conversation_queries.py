"""Read conversations a page at a time, and a page of messages of each, at the same cost at any
depth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from lib.cursors import Cursor, Page, encode
from lib.sql import select
from messaging.conversation_states import ConversationState
from messaging.people import ALL_IDS, SURVIVOR
from messaging.queries import (
    MOST_COUNTED,
    SELECT_MESSAGES,
    Condition,
    MessagePage,
    MessageRow,
    TooMany,
    Window,
    in_window,
)


class ConversationRow(NamedTuple):
    """What is shown of a conversation."""

    id: UUID
    workspace_id: UUID
    contact_id: UUID
    last_message_id: UUID
    last_message_at: datetime
    last_inbound_at: datetime | None
    unread_count: int
    state: str
    snoozed_until: datetime | None
    assignee_id: int | None
    label_ids: list[UUID]


class ConversationFilter(NamedTuple):
    """Which conversations; ``assignee_id`` 0 means those of nobody who is a member."""

    unread_only: bool = False
    state: str | None = None
    assignee_id: int | None = None
    label_id: UUID | None = None


NOBODY = 0
EVERY = ConversationFilter()
# A filter that no index serves looks through so many conversations for a page: some 10 ms.
MOST_LOOKED_THROUGH = 10_000
PLACE_OF = "tenant_id = %s AND workspace_id = %s AND merged_into IS NULL"
NEWEST_FIRST = "ORDER BY last_message_at DESC, id DESC"
OF_NOBODY = """(assignee_id IS NULL OR assignee_id <> ALL(ARRAY(
    SELECT user_id FROM memberships WHERE tenant_id = %s
)))"""


# A number of the business, and a person at the other end.
Place = tuple[UUID, UUID]

# Who left the tenant answers nothing any more, and a label that was deleted is none.
AS_SHOWN = {
    "assignee_id": """(
        SELECT u.user_id FROM memberships u
        WHERE u.tenant_id = c.tenant_id AND u.user_id = c.assignee_id
    )""",
    "label_ids": """ARRAY(
        SELECT l.id FROM labels l
        WHERE l.tenant_id = c.tenant_id AND l.id = ANY(c.label_ids) ORDER BY l.folded
    )""",
}
OF_CONVERSATION = ", ".join(AS_SHOWN.get(name, f"c.{name}") for name in ConversationRow._fields)
SELECT_CONVERSATIONS = f"SELECT {OF_CONVERSATION} FROM conversations c WHERE"  # noqa: S608
# Ids from before a merge lead to the conversation that it is now.
BY_IDS = f"""
SELECT asked.id, {OF_CONVERSATION} FROM (
    SELECT a.tenant_id, a.id, coalesce(a.merged_into, a.id) AS now_id FROM conversations a
    WHERE a.tenant_id = %s AND a.id = ANY(%s) OFFSET 0
) asked
JOIN conversations c ON c.tenant_id = asked.tenant_id AND c.id = asked.now_id
"""  # noqa: S608 - names of ours
# Of a number and a contact, also one that was merged since: a range of the conversations' key.
OF_PEOPLE = f"""
SELECT asked.workspace_id, asked.contact_id, {OF_CONVERSATION}
FROM unnest(%s::uuid[], %s::uuid[]) asked (workspace_id, contact_id)
CROSS JOIN LATERAL (
    SELECT {SURVIVOR.format(tenant_id="%s", contact_id="asked.contact_id")} AS id OFFSET 0
) person
JOIN conversations c
  ON c.tenant_id = %s AND c.workspace_id = asked.workspace_id AND c.contact_id = person.id
WHERE c.merged_into IS NULL
"""  # noqa: S608 - names of ours
OF_PERSON = ", ".join(
    "person.id" if name == "contact_id" else f"m.{name}" for name in MessageRow._fields
)
# For each person, under each contact that they were, a range of the index
# messages_of_a_conversation. What is said in groups is not part of a conversation.
SELECT_OF_EACH = f"""
SELECT {OF_PERSON} FROM unnest(%s::uuid[]) AS person (id)
CROSS JOIN LATERAL ({ALL_IDS.format(tenant_id="%s", contact_id="person.id")}) own (id)
CROSS JOIN LATERAL (
    {SELECT_MESSAGES} tenant_id = %s AND workspace_id = %s AND contact_id = own.id
    AND group_id IS NULL {{window}}
) m
"""  # noqa: S608 - names of ours
COUNT = f"""
SELECT count(*) FROM (
    SELECT FROM messages WHERE tenant_id = %s AND workspace_id = %s AND group_id IS NULL
    AND contact_id = ANY(ARRAY({ALL_IDS.format(tenant_id="%s", contact_id="%s::uuid")})) LIMIT %s
) m
"""  # noqa: S608 - names of ours


class _Count(NamedTuple):
    number: int


class _LastPlace(NamedTuple):
    last_message_at: datetime
    id: UUID


def read_conversations(
    *,
    tenant_id: UUID,
    workspace_id: UUID,
    limit: int,
    after: Cursor | None = None,
    only: ConversationFilter = EVERY,
) -> Page[ConversationRow]:
    """Return one page of a workspace's conversations: a range of an index, however deep.

    What no index serves is looked for in `MOST_LOOKED_THROUGH` of them; the next page looks on.
    """
    ranges, filters = _conditions(tenant_id, only)
    places: list[Condition] = [(PLACE_OF, [tenant_id, workspace_id]), *ranges]
    if after is not None:
        places.append(("(last_message_at, id) < (%s, %s)", [after.timestamp, after.id]))
    where, given = _all(places)
    if not filters:
        sql = f"{SELECT_CONVERSATIONS} {where} {NEWEST_FIRST} LIMIT %s"
        return Page.of(select(ConversationRow, sql, [*given, limit + 1]), limit)
    wanted, values = _all(filters)
    sql = f"""
SELECT {OF_CONVERSATION}
FROM (SELECT * FROM conversations WHERE {where} {NEWEST_FIRST} LIMIT %s) c
WHERE {wanted} {NEWEST_FIRST} LIMIT %s
"""  # noqa: S608 - names of ours
    found = select(ConversationRow, sql, [*given, MOST_LOOKED_THROUGH, *values, limit + 1])
    page = Page.of(found, limit)
    looked_to = None if page.has_more else _looked_to(where, given)
    return page if looked_to is None else replace(page, has_more=True, looked_to=looked_to)


def _looked_to(where: str, given: Sequence[object]) -> Cursor | None:
    """Return the last place that was looked at; ``None``: there is none beyond it."""
    sql = f"SELECT last_message_at, id FROM conversations WHERE {where}"  # noqa: S608
    last = [*given, MOST_LOOKED_THROUGH - 1]
    found = select(_LastPlace, f"{sql} {NEWEST_FIRST} OFFSET %s LIMIT 2", last)
    return Cursor(*found[0]) if len(found) > 1 else None


def _conditions(
    tenant_id: UUID, only: ConversationFilter
) -> tuple[list[Condition], list[Condition]]:
    """Return what one index finds, and what each that it finds is looked at for."""
    ranges: list[Condition] = []
    filters: list[Condition] = []
    if only.unread_only:
        filters.append(("unread_count > 0", []))
    if only.assignee_id == NOBODY:
        filters.append((OF_NOBODY, [tenant_id]))
    elif only.assignee_id is not None:
        ranges.append(("assignee_id = %s", [only.assignee_id]))
    if only.label_id is not None:
        if not ranges:
            ranges.append(("label_ids <> '{}'", []))
        filters.append(("label_ids @> ARRAY[%s]::uuid[]", [only.label_id]))
    if only.state is not None:
        is_range = not ranges and only.state != ConversationState.OPEN
        # What the index of those that are not open has to hear to be used.
        condition = "state = %s AND state <> 'OPEN'" if is_range else "state = %s"
        (ranges if is_range else filters).append((condition, [only.state]))
    return ranges, filters


def _all(conditions: Collection[Condition]) -> Condition:
    texts, values = zip(*conditions, strict=True)
    return " AND ".join(texts), [one for each in values for one in each]


def cursor_of(row: ConversationRow) -> str:
    """Return a conversation's place in its list."""
    return encode(Cursor(row.last_message_at, row.id))


def find_conversations(*, tenant_id: UUID, ids: Sequence[UUID]) -> list[ConversationRow]:
    """Return those of a tenant's conversations that there are, each once and in the order asked; by
    their ids, or by those that they had before a merge.
    """
    with connection.cursor() as cursor:
        cursor.execute(BY_IDS, [tenant_id, list(ids)])
        found = {asked: ConversationRow._make(row) for asked, *row in cursor.fetchall()}
    return list({found[one].id: found[one] for one in ids if one in found}.values())


def conversations_of(*, tenant_id: UUID, people: Collection[Place]) -> dict[Place, ConversationRow]:
    """Return the conversation of each place, where something was said in it."""
    if not people:
        return {}
    workspace_ids, contact_ids = (list(ids) for ids in zip(*people, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(OF_PEOPLE, [workspace_ids, contact_ids, tenant_id, tenant_id])
        return {
            (workspace_id, contact_id): ConversationRow._make(row)
            for workspace_id, contact_id, *row in cursor.fetchall()
        }


def read_messages(
    *, tenant_id: UUID, workspace_id: UUID, contact_ids: Sequence[UUID], window: Window
) -> dict[UUID, MessagePage]:
    """Return the same part of what is said with each of these people, in one statement."""
    condition, parameters = in_window(window)
    sql = SELECT_OF_EACH.replace("{window}", condition)
    whose = [list(contact_ids), tenant_id, tenant_id, workspace_id]
    rows = select(MessageRow, sql, [*whose, *parameters])
    found: dict[UUID | None, list[MessageRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.timestamp_utc, row.id), reverse=window.falls):
        found[row.contact_id].append(row)
    return {contact_id: window.page_of(found[contact_id]) for contact_id in contact_ids}


def count_messages(*, tenant_id: UUID, workspace_id: UUID, contact_id: UUID) -> int:
    """Count what is said with one person.

    Raises:
        messaging.queries.TooMany: too much to look at.
    """
    person = [tenant_id, workspace_id, contact_id, tenant_id, contact_id]
    (found,) = select(_Count, COUNT, [*person, MOST_COUNTED + 1])
    if found.number > MOST_COUNTED:
        raise TooMany
    return found.number


def messages_by_id(*, tenant_id: UUID, ids: Collection[UUID]) -> list[MessageRow]:
    """Return some of a tenant's messages."""
    sql = f"{SELECT_MESSAGES} tenant_id = %s AND id = ANY(%s)"
    return select(MessageRow, sql, [tenant_id, list(ids)]) if ids else []
