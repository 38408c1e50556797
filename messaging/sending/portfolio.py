"""Room under the messaging limit: how many people a portfolio may write to first in 24 hours.

Rule: Meta, "Messaging limits". Whoever wrote within 24 hours does not count. The limit is kept
where messages are sent; here a message is refused only if it would expire before there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from lib.sql import select
from messaging import numbers
from messaging.sending.drafts import Draft
from messaging.sending.refusals import SendErrorCode
from messaging.sending.requests import TemplateContent
from messaging.sending.sender_numbers import SenderNumber
from messaging.sending.timing import Times

DAY = timedelta(hours=24)

# The one that has to grow old before there is room: the last of the limit, newest first.
LAST = """
SELECT opened_at FROM portfolio_recipients
WHERE tenant_id = %s AND portfolio_id = %s AND opened_at > %s
ORDER BY opened_at DESC OFFSET %s LIMIT 1
"""
AMONG = """
SELECT contact_id, opened_at FROM portfolio_recipients
WHERE tenant_id = %s AND portfolio_id = %s AND contact_id = ANY(%s)
"""


class _Opened(NamedTuple):
    opened_at: datetime


class _Person(NamedTuple):
    contact_id: UUID
    opened_at: datetime


USED = """
SELECT count(*) AS used FROM portfolio_recipients
WHERE tenant_id = %s AND portfolio_id = %s AND opened_at > %s
"""


class _Used(NamedTuple):
    used: int


def used(sender: SenderNumber, *, now: datetime) -> tuple[int, int] | None:
    """Return how many people were written to first in 24 hours, and how many may be; ``None``: any
    number may, or the platform did not tell.
    """
    limit = numbers.limit_of(sender.number)
    if sender.number is None or limit is None:
        return None
    (row,) = select(_Used, USED, [sender.tenant_id, sender.number.portfolio_id, now - DAY])
    return row.used, limit


def check(drafts: Sequence[Draft], sender: SenderNumber) -> None:
    """Say of drafts when there is room for them, and refuse those that cannot wait."""
    number = sender.number
    limit = numbers.limit_of(number)
    waiting = [draft for draft in drafts if _counts(draft)]
    if number is None or limit is None or not waiting:
        return
    start = min(draft.times.due for draft in waiting if draft.times) - DAY
    where = [sender.tenant_id, number.portfolio_id]
    last = next(iter(select(_Opened, LAST, [*where, start, max(limit, 1) - 1])), None)
    if last is None:
        return
    contacts = [draft.contact_id for draft in waiting if draft.contact_id]
    people = {row.contact_id: row.opened_at for row in select(_Person, AMONG, [*where, contacts])}
    for draft in waiting:
        opened = people.get(draft.contact_id) if draft.contact_id else None
        if draft.times is not None and (opened is None or opened <= draft.times.due - DAY):
            _wait(draft, draft.times, last.opened_at + DAY)


def _counts(draft: Draft) -> bool:
    is_template = isinstance(draft.request.content, TemplateContent)
    return is_template and draft.times is not None and not draft.is_open


def _wait(draft: Draft, times: Times, room_at: datetime) -> None:
    if room_at <= times.due:
        return
    draft.room_at = room_at
    if times.expires is not None and room_at >= times.expires:
        draft.refuse(
            SendErrorCode.LIMIT_REACHED,
            "expires_at",
            "The messaging limit of the business portfolio is reached; there is room again at "
            f"{room_at:%Y-%m-%d %H:%M} UTC, after the message expires.",
        )
