"""The messages of a broadcast that wait in the outbox: counted, held, let go, withdrawn.

A held message is ``queued`` without a time for its next attempt, so nobody claims it. Each change
is conditional on ``queued``: a message that is being sent is left to whoever sends it. Should it
come back to be tried again, the next look after the broadcast finds it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connection

from messaging import changing, notices
from messaging.models import Broadcast
from messaging.notices import Change

# Both counts go by indexes of what is owed, or leased, now: small whatever the broadcast's size.
IN_HAND = """
SELECT (SELECT count(*) FROM messages WHERE workspace_id = %(workspace)s
        AND broadcast_id = %(broadcast)s AND next_attempt_at IS NOT NULL)
     + (SELECT count(*) FROM messages WHERE broadcast_id = %(broadcast)s
        AND lease_until IS NOT NULL)
"""
HOLD = changing.statement(
    found="""messages m WHERE m.workspace_id = %(workspace)s AND m.broadcast_id = %(broadcast)s
    AND m.next_attempt_at IS NOT NULL AND m.status = 'queued'""",
    assign="next_attempt_at = NULL",
)
LET_GO = changing.statement(
    found="""messages m WHERE m.broadcast_id = %(broadcast)s AND m.next_attempt_at IS NULL
    AND m.status = 'queued'""",
    assign="next_attempt_at = %(now)s",
)
EVERYTHING = "messages m WHERE m.broadcast_id = %(broadcast)s AND m.status = 'queued'"
OWED = f"{EVERYTHING} AND m.workspace_id = %(workspace)s AND m.next_attempt_at IS NOT NULL"
WITHDRAW, WITHDRAW_OWED = (
    changing.statement(
        found=found,
        assign="""status = 'cancelled', next_attempt_at = NULL, sealed_request = NULL,
        delivery = m.delivery || jsonb_build_object('cancelled_at', %(at)s::text)""",
        returning="m.id, m.tenant_id, m.workspace_id",
    )
    for found in (EVERYTHING, OWED)
)
# What was sent and failed is a message of its own from then on; the row has another one to come.
FAILED = changing.statement(
    carry="r.id AS row_id",
    found="""broadcast_recipients r JOIN messages m ON m.id = r.message_id
    WHERE r.broadcast_id = %(broadcast)s AND r.state = 'QUEUED' AND r.sealed IS NOT NULL
      AND m.status = 'failed'
      AND (%(codes)s::text[] IS NULL OR m.delivery #>> '{errors,0,code}' = ANY (%(codes)s))""",
    assign="""broadcast_id = NULL,
    delivery = m.delivery || jsonb_build_object('retried_at', %(at)s::text)""",
    returning="mine.row_id",
)
TAKE_BACK = f"""
WITH failed AS ({FAILED})
UPDATE broadcast_recipients r SET state = 'PENDING', message_id = NULL, retries = r.retries + 1
FROM failed WHERE r.id = failed.row_id
"""  # noqa: S608 - texts of ours


def in_hand(broadcast: Broadcast) -> int:
    """Return how many messages wait to be sent or are being sent; held ones are not counted."""
    with connection.cursor() as cursor:
        cursor.execute(IN_HAND, _ids(broadcast))
        return int(cursor.fetchone()[0])


def hold(broadcast: Broadcast) -> int:
    """Put the waiting messages aside; return how many."""
    return _run(HOLD, _ids(broadcast))


def let_go(broadcast: Broadcast, *, now: datetime) -> int:
    """Make held messages due; return how many."""
    return _run(LET_GO, {**_ids(broadcast), "now": now})


def withdraw(broadcast: Broadcast, *, now: datetime) -> int:
    """Cancel everything that waits, held or not; return how many."""
    return _withdraw(WITHDRAW, broadcast, now)


def withdraw_owed(broadcast: Broadcast, *, now: datetime) -> int:
    """Cancel what came back to be tried again after :func:`withdraw`; return how many."""
    return _withdraw(WITHDRAW_OWED, broadcast, now)


def _withdraw(statement: str, broadcast: Broadcast, now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {**_ids(broadcast), "at": now.isoformat()})
        changes = [Change(one, t, w, "cancelled") for one, t, w in cursor.fetchall()]
    notices.changed(changes, now=now)
    return len(changes)


def take_back_failed(broadcast: Broadcast, *, codes: Collection[int] | None, now: datetime) -> int:
    """Make the rows pending whose messages failed, with one of these codes where any are named;
    return how many.
    """
    wanted = None if codes is None else [str(code) for code in codes]
    return _run(TAKE_BACK, {**_ids(broadcast), "codes": wanted, "at": now.isoformat()})


def _ids(broadcast: Broadcast) -> dict[str, Any]:
    return {"workspace": broadcast.workspace_id, "broadcast": broadcast.id}


def _run(statement: str, parameters: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
