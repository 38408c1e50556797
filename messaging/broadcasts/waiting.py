"""The messages of a broadcast that wait in the outbox: counted, suspended, released; and what
failed.

A suspended message has no time at which it is due, so nobody claims it. What is being sent is left
to whoever sends it: should it come back to be tried again, the next look after the broadcast finds
it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from lib.sql import select
from messaging import changing
from messaging.models import Broadcast

# What is tried again later is in hand, and not due.
LOOK = """
SELECT count(*) AS in_hand,
       count(*) FILTER (WHERE due_at <= clock_timestamp() + interval '2 seconds') AS due
FROM outbox WHERE tenant_id = %s AND broadcast_id = %s
AND (due_at IS NOT NULL OR lease_until IS NOT NULL)
"""
OF_BROADCAST = """outbox q JOIN messages m ON m.tenant_id = q.tenant_id AND m.id = q.message_id
WHERE q.tenant_id = %(tenant)s AND q.broadcast_id = %(broadcast)s AND m.status = 'queued'"""
SUSPEND = changing.locking(
    found=OF_BROADCAST,
    then="""
UPDATE outbox o SET due_at = NULL FROM mine
WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id AND o.due_at IS NOT NULL
""",
)
RELEASE = changing.locking(
    found=OF_BROADCAST,
    then="""
UPDATE outbox o SET due_at = %(now)s
FROM mine WHERE o.tenant_id = mine.tenant_id AND o.message_id = mine.id
  AND o.due_at IS NULL AND o.lease_until IS NULL
""",
)
# What was sent and failed is a message of its own from then on; the row has another one to come.
FAILED = changing.statement(
    carry="r.id AS row_id",
    found="""broadcast_recipients r
    JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
    WHERE r.tenant_id = %(tenant)s AND r.broadcast_id = %(broadcast)s AND r.state = 'QUEUED'
      AND r.sealed IS NOT NULL AND m.status = 'failed'
      AND (%(codes)s::text[] IS NULL OR m.delivery #>> '{errors,0,code}' = ANY (%(codes)s))""",
    assign="""broadcast_id = NULL,
    delivery = m.delivery || jsonb_build_object('retried_at', %(at)s::text)""",
    returning="m.tenant_id, mine.row_id",
)
TAKE_BACK = f"""
WITH failed AS ({FAILED})
UPDATE broadcast_recipients r SET state = 'PENDING', message_id = NULL, retries = r.retries + 1
FROM failed WHERE r.tenant_id = failed.tenant_id AND r.id = failed.row_id
"""  # noqa: S608 - texts of ours


class InOutbox(NamedTuple):
    """How many messages wait to be sent or are being sent, suspended ones left out, and how many of
    these wait to be sent now.
    """

    in_hand: int
    due: int


def look(broadcast: Broadcast) -> InOutbox:
    """Count the messages of a broadcast in the outbox."""
    (found,) = select(InOutbox, LOOK, [broadcast.tenant_id, broadcast.id])
    return found


def suspend(broadcast: Broadcast) -> int:
    """Take their times from the waiting messages; return how many."""
    return _run(SUSPEND, _whose(broadcast))


def release(broadcast: Broadcast, *, now: datetime) -> int:
    """Make suspended messages due; return how many."""
    return _run(RELEASE, _whose(broadcast) | {"now": now})


def take_back_failed(broadcast: Broadcast, *, codes: Collection[int] | None, now: datetime) -> int:
    """Make the rows pending whose messages failed, with one of these codes where any are named;
    return how many.
    """
    wanted = None if codes is None else [str(code) for code in codes]
    facts = {"codes": wanted, "at": now.isoformat()}
    return _run(TAKE_BACK, _whose(broadcast) | facts)


def _whose(broadcast: Broadcast) -> dict[str, Any]:
    return {"tenant": broadcast.tenant_id, "broadcast": broadcast.id}


def _run(statement: str, parameters: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
