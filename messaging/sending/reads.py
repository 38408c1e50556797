"""Mark what a person wrote as read, and show them that an answer is being typed."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from lib.cursors import Cursor
from lib.sql import select
from messaging import conversations
from messaging.delivery.queues import SENDS
from messaging.events import Direction
from messaging.models import ReadMark
from messaging.people import ALL_IDS
from messaging.sending.checks import find_targets, open_wamid
from messaging.sending.refusals import SendErrorCode, UnableToSend
from workspaces.models import HOSTED

WRITTEN = """
SELECT m.timestamp_utc, m.group_id IS NOT NULL AS in_group, w.is_active, w.transport
FROM messages m JOIN workspaces w ON w.tenant_id = m.tenant_id AND w.id = m.workspace_id
WHERE m.tenant_id = %s AND m.id = %s
"""


class _Written(NamedTuple):
    timestamp_utc: datetime
    in_group: bool
    is_active: bool
    transport: str


EVERY_ID = ALL_IDS.format(tenant_id="c.tenant_id", contact_id="c.contact_id")
LAST_WRITTEN = f"""
SELECT said.id FROM (
    SELECT * FROM conversations WHERE tenant_id = %s AND id = (SELECT coalesce((
        SELECT merged_into FROM conversations WHERE tenant_id = %s AND id = %s
    ), %s))
) c
CROSS JOIN LATERAL ({EVERY_ID}) own (id)
CROSS JOIN LATERAL (
    SELECT m.id, m.timestamp_utc FROM messages m
    WHERE m.tenant_id = c.tenant_id AND m.workspace_id = c.workspace_id AND m.contact_id = own.id
      AND m.group_id IS NULL AND m.direction = 'INBOUND'
    ORDER BY m.timestamp_utc DESC, m.id DESC LIMIT 1
) said
ORDER BY said.timestamp_utc DESC, said.id DESC LIMIT 1
"""  # noqa: S608 - names of ours


class _Last(NamedTuple):
    id: UUID


def last_written(*, tenant_id: UUID, conversation_id: UUID) -> UUID:
    """Return the message that the person of a conversation wrote last.

    Raises:
        UnableToSend: no such conversation, or the person never wrote.
    """
    given = [tenant_id, tenant_id, conversation_id, conversation_id]
    found = select(_Last, LAST_WRITTEN, given)
    if not found:
        raise UnableToSend(
            SendErrorCode.CONVERSATION_NOT_FOUND,
            "conversation_id",
            "Your tenant has no conversation with this id in which the person wrote.",
        )
    return found[0].id


def mark(*, tenant_id: UUID, message_id: UUID, typing: bool, now: datetime) -> None:
    """Queue a read mark for the platform, and count the conversation as read up to this message.

    The platform marks what was written before as read too, and shows the typing for 25 seconds or
    until the answer comes (Meta, "Typing indicators"). Over a linked device the phone's owner reads
    for themselves: there only the conversation counts as read.

    Raises:
        UnableToSend: no such message of a person, the platform's id of it was purged, or its
            workspace is not active.
    """
    target = find_targets(tenant_id=tenant_id, ids=[message_id]).get(message_id)
    if target is None or target.direction != Direction.INBOUND or target.sealed_id is None:
        raise UnableToSend(
            SendErrorCode.MESSAGE_NOT_FOUND,
            "message_id",
            "No person wrote a message with this id to your tenant.",
        )
    open_wamid(target, "message_id")
    (written,) = select(_Written, WRITTEN, [tenant_id, message_id])
    if not written.is_active:
        raise UnableToSend(
            SendErrorCode.WORKSPACE_INACTIVE, "message_id", "The message's workspace is not active."
        )
    number = {"tenant_id": tenant_id, "workspace_id": target.workspace_id}
    if written.transport not in HOSTED:
        ReadMark.objects.create(**number, message_id=message_id, typing=typing, next_attempt_at=now)
    # What is said in a group belongs to no conversation with one person.
    if target.contact_id is not None and not written.in_group:
        conversations.mark_read(
            **number,
            contact_id=target.contact_id,
            upto=Cursor(written.timestamp_utc, message_id),
        )
    transaction.on_commit(SENDS.notify, robust=True)
