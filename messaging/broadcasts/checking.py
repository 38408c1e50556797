"""Check every row of a started broadcast before the first message: chunk by chunk, each a
transaction that remembers how far it came, so that a worker may die at any time.

A mistake in a row refuses the whole broadcast, with all such rows marked, unless they are to be
left out. People who want no marketing, or stand in the list twice, are left out in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db import connection

from messaging import uploads
from messaging.broadcasts import recipients
from messaging.broadcasts.lifecycle import next_of_checked
from messaging.broadcasts.permission import check_sendable
from messaging.broadcasts.recipients import (
    FOR_NOW,
    MISTAKES,
    UNREADABLE,
    WHOLE,
    OpenedRow,
    RowMark,
    mark,
    refused,
    request_of,
)
from messaging.broadcasts.refusals import UnableToBroadcast
from messaging.broadcasts.states import move
from messaging.models import Broadcast, BroadcastRecipient, BroadcastState, RecipientState
from messaging.sending.checks import Draft, shaped
from messaging.sending.checks import check as check_drafts
from messaging.sending.parties import ContactCache, find_sender
from messaging.sending.refusals import UnableToSend

CHUNK = 1_000
# One person may stand in a list by number and by BSUID; their contact shows it. LATERAL … OFFSET 0,
# and those who stand twice first: the planner knows nothing of a list that came a moment ago.
REFUSE_DUPLICATES = """
WITH twice AS MATERIALIZED (
    SELECT position, first FROM (
        SELECT r.position, first_value(r.position) OVER (
            PARTITION BY i.contact_id ORDER BY r.position) AS first
        FROM broadcast_recipients r
        CROSS JOIN LATERAL (
            SELECT c.contact_id FROM contact_identities c
            WHERE c.tenant_id = r.tenant_id AND c.digest = r.digest OFFSET 0
        ) i
        WHERE r.tenant_id = %(tenant)s AND r.broadcast_id = %(broadcast)s AND r.state = 'PENDING'
    ) known WHERE first < position
)
UPDATE broadcast_recipients r
SET state = 'REFUSED', code = 'DUPLICATE', reason = 'The same person as row ' || twice.first || '.'
FROM twice
WHERE r.tenant_id = %(tenant)s AND r.broadcast_id = %(broadcast)s
  AND r.position = twice.position
"""


def check(broadcast: Broadcast, now: datetime) -> int:
    """Check the next rows, and conclude behind the last; return how many, 1 at least."""
    try:
        check_sendable(broadcast)
    except UnableToBroadcast as error:
        move(broadcast, BroadcastState.REFUSED, now=now, reason=error.message)
        return 1
    rows = recipients.unchecked(broadcast, limit=CHUNK)
    if rows:
        mark(broadcast, list(_findings(broadcast, rows, now)))
        broadcast.checked_to = rows[-1].position
        broadcast.save(update_fields=("checked_to",))
    if len(rows) < CHUNK:
        _conclude(broadcast, now)
    return max(1, len(rows))


def _findings(broadcast: Broadcast, rows: Sequence[OpenedRow], now: datetime) -> Iterator[RowMark]:
    drafts: dict[int, Draft] = {}
    for row in rows:
        if row.recipient is None:
            yield refused(row.position, *UNREADABLE)
        else:
            drafts[row.position] = shaped(request_of(broadcast, row, row.recipient, now))
    sender = find_sender(tenant_id=broadcast.tenant_id, workspace_id=broadcast.workspace_id)
    check_drafts(list(drafts.values()), sender, ContactCache(broadcast.tenant_id), now=now)
    named = {media_id for draft in drafts.values() for media_id in draft.files}
    if named:  # kept until they are sent, however long after they were given to us that begins
        until = max(now, broadcast.scheduled_at or now)
        uploads.use(tenant_id=broadcast.tenant_id, upload_ids=named, until=until)
    for position, draft in drafts.items():
        reasons = [reason for reason in draft.reasons if reason.code not in WHOLE | FOR_NOW]
        if reasons:
            yield _refused(position, reasons)


def _refused(position: int, reasons: Sequence[UnableToSend]) -> RowMark:
    """Return the mark of a row; where it would not be sent anyway its mistakes do not matter."""
    other = next((reason for reason in reasons if reason.code not in MISTAKES), None)
    if other is not None:
        return refused(position, other.code, other.message)
    return refused(position, reasons[0].code, "; ".join(reason.message for reason in reasons))


def _conclude(broadcast: Broadcast, now: datetime) -> None:
    with connection.cursor() as cursor:
        facts = {"tenant": broadcast.tenant_id, "broadcast": broadcast.id}
        cursor.execute(REFUSE_DUPLICATES, facts)
    rows = BroadcastRecipient.objects.filter(
        tenant_id=broadcast.tenant_id, broadcast_id=broadcast.id
    )
    mistakes = rows.filter(state=RecipientState.REFUSED, code__in=sorted(MISTAKES))
    first = None if broadcast.skip_invalid else mistakes.order_by("position").first()
    if first is not None:
        reason = f"{_rows(mistakes.count())} the template. Row {first.position}: {first.reason}"
        move(broadcast, BroadcastState.REFUSED, now=now, reason=reason)
    elif not rows.filter(state=RecipientState.PENDING).exists():
        move(broadcast, BroadcastState.REFUSED, now=now, reason="No row of the list can be sent.")
    else:
        move(broadcast, next_of_checked(broadcast, now), now=now)


def _rows(count: int) -> str:
    return "1 row does not fit" if count == 1 else f"{count} rows do not fit"
