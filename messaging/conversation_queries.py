"""Read conversations a page at a time, and a page of messages of each, at the same cost at any
depth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from lib.cursors import Cursor, Page
from lib.sql import columns_of, select
from messaging.people import ALL_IDS
from messaging.queries import (
    MOST_COUNTED,
    SELECT_MESSAGES,
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


SELECT_CONVERSATIONS = f"SELECT {columns_of(ConversationRow)} FROM conversations WHERE"  # noqa: S608
BY_ID = """tenant_id = %s AND id = coalesce((
    SELECT merged_into FROM conversations WHERE tenant_id = %s AND id = %s
), %s)"""
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


def read_conversations(
    *,
    tenant_id: UUID,
    workspace_id: UUID,
    limit: int,
    after: Cursor | None = None,
    unread_only: bool = False,
) -> Page[ConversationRow]:
    """Return one page of a workspace's conversations: a range of an index, however deep."""
    where = "tenant_id = %s AND workspace_id = %s AND merged_into IS NULL"
    parameters = [tenant_id, workspace_id]
    more: list[object] = []
    if unread_only:
        where += " AND unread_count > 0"
    if after is not None:
        where += " AND (last_message_at, id) < (%s, %s)"
        more = [after.timestamp, after.id]
    sql = f"{SELECT_CONVERSATIONS} {where} ORDER BY last_message_at DESC, id DESC LIMIT %s"
    found = select(ConversationRow, sql, [*parameters, *more, limit + 1])
    return Page.of(found, limit)


def find_conversation(*, tenant_id: UUID, conversation_id: UUID) -> ConversationRow | None:
    """Return a tenant's conversation by its id, or by one that it had before a merge."""
    sql = f"{SELECT_CONVERSATIONS} {BY_ID}"
    parameters = [tenant_id, tenant_id, conversation_id, conversation_id]
    return next(iter(select(ConversationRow, sql, parameters)), None)


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
