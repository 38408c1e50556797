"""Turn rows of running broadcasts into queued messages, in chunks, not far ahead of the sending.

One transaction holds the broadcast, queues the messages and marks their rows: a worker killed at
any time leaves neither without the other, so everybody is written to once. Only what the
number sends in a second waits in the outbox, where single messages go first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from lib.brake import TRIAL
from messaging.broadcasts import brake, recipients, waiting
from messaging.broadcasts.lifecycle import give_up
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
from messaging.broadcasts.states import explain, move
from messaging.delivery.pauses import open_pauses
from messaging.delivery.queues import BROADCASTS_BRAKE
from messaging.models import Broadcast, BroadcastState, NumberState, RecipientState
from messaging.numbers import messages_per_second
from messaging.sending.queueing import Outcome, queue_many
from messaging.sending.refusals import SendErrorCode, UnableToSend

logger = logging.getLogger("sigma.whatsapp.broadcasts")

# More than a number sends between two rounds; a transaction of so many rows takes half a second.
CHUNK = 500
# Several rounds: one that comes late leaves no gap in what the number sends.
WINDOW_SECONDS = 1
# With what is being sent, and what is tried again later: where everybody has to wait, the list must
# not end up in the outbox as a whole.
WINDOWS_IN_HAND = 12
BROKEN = ("INTERNAL", "It could not be queued because of an error of ours.")
EXPIRED = ("EXPIRED", "The broadcast expired before the message was sent.")


class Obstacle(Exception):
    """Something is against every row, or against one that was fine when it was checked; or what was
    sent so far went wrong.
    """


def feed(broadcast: Broadcast, now: datetime) -> int:
    """Queue the next rows of a running broadcast; return how many were queued or refused, and 1 for
    its end.
    """
    if broadcast.expires_at is not None and broadcast.expires_at <= now:
        give_up(broadcast, code=EXPIRED[0], reason=EXPIRED[1])
    try:
        return _feed(broadcast, now)
    except (Obstacle, UnableToBroadcast) as error:
        move(broadcast, BroadcastState.PAUSED, now=now, reason=str(error))
        waiting.suspend(broadcast)
        return 1


def speed_of(broadcast: Broadcast) -> int:
    """Return how many messages a second the broadcast's number may send."""
    state = NumberState.objects.filter(
        tenant_id=broadcast.tenant_id, workspace_id=broadcast.workspace_id
    ).first()
    return messages_per_second(state)


def window(broadcast: Broadcast) -> int:
    """Return how many messages of a broadcast may wait for their turn at a time."""
    return WINDOW_SECONDS * speed_of(broadcast)


def _feed(broadcast: Broadcast, now: datetime) -> int:
    queued, most = waiting.look(broadcast), window(broadcast)
    room = min(most - queued.due, WINDOWS_IN_HAND * most - queued.in_hand)
    size = TRIAL if BROADCASTS_BRAKE.is_on else CHUNK
    rows = recipients.pending(broadcast, limit=max(1, min(size, room)))
    if not rows and not queued.in_hand:
        move(broadcast, BroadcastState.COMPLETED, now=now)
        return 1
    # Where there is no room, the next round that finds some asks how it went so far.
    is_full = room <= 0 and bool(rows)
    if not is_full and (reason := brake.reason_to_stop(broadcast, in_hand=queued.in_hand)):
        raise Obstacle(reason)
    delay = _delay(broadcast, now)
    if delay or is_full or not rows:
        explain(broadcast, delay, now=now)
        return 0
    marks, delay = _queue(broadcast, rows, now)
    explain(broadcast, delay, now=now)
    mark(broadcast, marks)
    return len(marks)


def _delay(broadcast: Broadcast, now: datetime) -> str:
    """Return why nothing may be queued now, though the broadcast runs; empty: nothing is wrong.

    Raises:
        UnableToBroadcast: the template or the workspace may not be used any more.
    """
    check_sendable(broadcast)
    paused = open_pauses(
        tenant_id=broadcast.tenant_id, workspace_id=broadcast.workspace_id, now=now
    ).first()
    return "" if paused is None else paused.reason


def _queue(
    broadcast: Broadcast, rows: Sequence[OpenedRow], now: datetime
) -> tuple[list[RowMark], str]:
    """Return the marks of rows, and why some have to stay pending for now."""
    marks = [refused(row.position, *UNREADABLE) for row in rows if row.recipient is None]
    again = recipients.repeated(broadcast, [row.position for row in rows])
    marks += [
        refused(position, "DUPLICATE", f"The same person as row {first}.")
        for position, first in again.items()
    ]
    usable = [row for row in rows if row.recipient is not None and row.position not in again]
    outcomes: list[tuple[OpenedRow, Outcome]] = []

    def attempt(part: Sequence[OpenedRow]) -> None:
        requests = [request_of(broadcast, row, row.recipient, now) for row in part if row.recipient]
        with transaction.atomic():
            found = queue_many(
                tenant_id=broadcast.tenant_id,
                workspace_id=broadcast.workspace_id,
                requests=requests,
                now=now,
            )
        outcomes.extend(zip(part, found, strict=True))

    delay = ""
    # Its own savepoint: an obstacle in one row takes back what was queued for the others.
    with transaction.atomic():
        for row, error in BROADCASTS_BRAKE.sift(usable, attempt, step="feed") if usable else ():
            extra = {"broadcast_id": str(broadcast.id), "row": row.position}
            logger.error("whatsapp broadcast's row not queued", exc_info=error, extra=extra)
            marks.append(refused(row.position, *BROKEN))
        for row, outcome in outcomes:
            if isinstance(outcome, UnableToSend) and FOR_NOW & _codes(outcome):
                delay = outcome.message
            else:
                marks.append(_mark(broadcast, row, outcome))
    return marks, delay


def _mark(broadcast: Broadcast, row: OpenedRow, outcome: Outcome) -> RowMark:
    if not isinstance(outcome, UnableToSend):
        return RowMark(row.position, RecipientState.QUEUED, message_id=outcome.message_id)
    codes = _codes(outcome)
    if codes & WHOLE:
        raise Obstacle(outcome.message)
    if codes <= MISTAKES and not broadcast.skip_invalid:
        # It passed its check: the template was changed since, or an offer ended.
        raise Obstacle(f"Row {row.position} no longer fits the template: {outcome.message}")
    return refused(row.position, outcome.code, outcome.message)


def _codes(refusal: UnableToSend) -> set[SendErrorCode]:
    return {reason.code for reason in refusal.reasons}
