"""Tell the platform that a person's message was read. A read mark is harmless twice."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from lib import bulk
from lib.envelope import CannotOpen, associated_data
from messaging.attempts import WIDE
from messaging.delivery.claims import ReadyNumbers
from messaging.models import ReadMark
from messaging.references import SEALED_ID
from workspaces import keys
from workspaces.channel_errors import ChannelError, Rejected
from workspaces.channels import Channel

logger = logging.getLogger("sigma.whatsapp.sending")

AT_ONCE = 20
MOST_ATTEMPTS = 4
MOST_SECONDS = 65.0
# Until then nobody else tries; longer than an attempt takes.
AGAIN = timedelta(seconds=90)
CLAIM = """
UPDATE read_marks r SET attempts = r.attempts + 1, next_attempt_at = %(again)s
FROM messages m
WHERE r.ctid = ANY (ARRAY(
    SELECT q.ctid FROM read_marks q
    WHERE q.next_attempt_at <= %(now)s AND NOT EXISTS (
        SELECT FROM sending_pauses p
        WHERE p.tenant_id = q.tenant_id AND coalesce(p.workspace_id = q.workspace_id, true)
          AND p.lifted_at IS NULL AND coalesce(p.until > %(now)s, true)
    )
    ORDER BY q.next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)) AND m.tenant_id = r.tenant_id AND m.id = r.message_id
RETURNING r.id, r.attempts, r.workspace_id, r.typing, m.tenant_id, m.id, m.sealed_id
"""
# Whose message is gone, or whose time is over.
FORGET = """
DELETE FROM read_marks r
WHERE r.next_attempt_at <= %(now)s AND (
    r.attempts >= %(most)s OR NOT EXISTS (
        SELECT FROM messages m WHERE m.tenant_id = r.tenant_id AND m.id = r.message_id
    )
)
"""
ANY = "SELECT EXISTS (SELECT FROM read_marks WHERE next_attempt_at <= %s)"


@dataclass(frozen=True, slots=True)
class ClaimedReadMark:
    """A read mark to make: a *mark* alone is that of a message as being sent."""

    tenant_id: UUID
    id: int
    attempts: int
    workspace_id: UUID
    channel: Channel = field(repr=False)
    wamid: str = field(repr=False)
    typing: bool


def are_due(*, now: datetime) -> bool:
    """Return whether any read mark is pending."""
    with bulk.cursor() as cursor:
        cursor.execute(ANY, [now])
        (found,) = cursor.fetchone() or (False,)
    return bool(found)


def claim(numbers: ReadyNumbers, *, now: datetime) -> list[ClaimedReadMark]:
    """Claim a few read marks; those that can never be made are forgotten."""
    if not are_due(now=now):
        return []
    with transaction.atomic(), bulk.cursor() as cursor:
        cursor.execute(FORGET, {"now": now, "most": MOST_ATTEMPTS})
        cursor.execute(CLAIM, {"now": now, "again": now + AGAIN, "limit": AT_ONCE})
        rows = cursor.fetchall()
    ready = numbers.of({row[2] for row in rows}, now=now)
    channels = {number.workspace_id: number.channel for number in ready}
    read_marks = []
    for mark_id, attempts, workspace_id, typing, tenant_id, message_id, sealed in rows:
        wamid = _open(tenant_id, message_id, sealed)
        if wamid is None:
            ReadMark.objects.filter(tenant_id=tenant_id, pk=mark_id).delete()
        elif workspace_id in channels:
            whose = tenant_id, mark_id, attempts, workspace_id
            read_marks.append(ClaimedReadMark(*whose, channels[workspace_id], wamid, typing))
    return read_marks


async def perform(read_mark: ClaimedReadMark) -> bool:
    """Make a read mark; return whether it need not be tried again."""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            await read_mark.channel.mark_read(read_mark.wamid, typing=read_mark.typing)
    except Rejected as error:
        extra = {"workspace_id": read_mark.workspace_id, "code": error.code}
        logger.warning("whatsapp read mark refused", extra=extra)
        is_mistake = error.stops and error.reach in WIDE  # of the set-up, and may be put right
        return not is_mistake or read_mark.attempts >= MOST_ATTEMPTS
    except (ChannelError, TimeoutError):
        return read_mark.attempts >= MOST_ATTEMPTS
    return True


def forget(read_mark: ClaimedReadMark) -> None:
    """Delete a read mark that was made."""
    ReadMark.objects.filter(tenant_id=read_mark.tenant_id, pk=read_mark.id).delete()


def _open(tenant_id: UUID, message_id: UUID, sealed: bytes | None) -> str | None:
    if not sealed:
        return None
    try:
        place = associated_data(tenant_id, SEALED_ID, message_id)
        return keys.cipher_of(sealed).open(sealed, place).decode()
    except CannotOpen:
        return None  # purged with its day
