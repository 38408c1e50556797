"""A number's rule: whoever writes more than so many messages to it within a minute is blocked. No
number has one unless its tenant sets it.

It is judged behind the storing: a batch only notes who wrote to a number with a rule, and they are
counted once it is committed. History, replays, echoes and what came late make nobody suspect.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from lib import bulk, clock
from messaging import blocks
from messaging.blocks import RULE, BlockWish, Place
from messaging.conversations import MINUTE, UNSAID, Touch

logger = logging.getLogger("sigma.whatsapp.blocks")

# Somebody who sends from thousands of numbers must not make us block thousands of people: so many
# of a number in an hour, whatever happens.
MOST_AN_HOUR = 50

# Who was unblocked starts anew; whom Meta refused to block is not asked about again at each
# message. Ranges of the index messages_of_a_conversation.
COUNT = """
SELECT r.tenant_id, r.workspace_id, r.contact_id, r.most
FROM {rows}
LEFT JOIN contact_blocks b ON b.tenant_id = r.tenant_id AND b.workspace_id = r.workspace_id
  AND b.contact_id = r.contact_id
WHERE (b.state IS NULL OR b.state = 'UNBLOCKED' OR (b.state = 'REFUSED' AND b.changed_at < r.hour))
  AND (
    SELECT count(*) FROM (
        SELECT FROM messages m
        WHERE m.tenant_id = r.tenant_id AND m.workspace_id = r.workspace_id
          AND m.contact_id = r.contact_id AND m.group_id IS NULL
          AND m.timestamp_utc > greatest(r.since, b.changed_at)
          AND m.direction = 'INBOUND' AND m.source = 'LIVE' AND m.type <> ALL (
            string_to_array(r.unsaid, ',')
          )
        LIMIT r.most + 1
    ) said
) > r.most
"""
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('block rule:' || r.id, 0)) FROM {rows}"
BLOCKED_LATELY = """
SELECT r.id, (
    SELECT count(*) FROM contact_blocks b
    WHERE b.tenant_id = r.tenant_id AND b.workspace_id = r.id AND b.by = r.by
      AND b.asked_at > r.since
) FROM {rows}
"""


class _Suspect(NamedTuple):
    tenant_id: UUID
    workspace_id: UUID
    contact_id: UUID
    most: int


def watch(written: Iterable[tuple[Touch, int]]) -> None:
    """Judge who wrote just now to numbers with a rule (how many messages are allowed) once the
    caller's transaction is committed.
    """
    suspects = {_Suspect(*touch[:3], most) for touch, most in written}
    transaction.on_commit(partial(judge, suspects), robust=True)


def judge(suspects: Collection[_Suspect]) -> int:
    """Want those blocked who wrote too much within the last minute; return how many."""
    now = clock.now()
    given = [
        (*one, now - MINUTE, now - timedelta(hours=1), ",".join(sorted(UNSAID)))
        for one in sorted(suspects)
    ]
    columns = (*bulk.columns(_Suspect), "since timestamptz", "hour timestamptz", "unsaid text")
    guilty = [_Suspect._make(row) for row in bulk.run(COUNT, columns, given)]
    if not guilty:
        return 0
    with transaction.atomic():
        allowed = list(_within_bounds(guilty, now))
        wishes = [BlockWish(*one[:3], RULE, now) for one in allowed]
        return len(blocks.want(wishes, blocked=True))


def _within_bounds(guilty: Collection[_Suspect], now: datetime) -> Iterable[Place]:
    """Yield those who may be blocked, as many as there is room for in the hour."""
    numbers: defaultdict[tuple[UUID, UUID], list[_Suspect]] = defaultdict(list)
    for one in guilty:
        numbers[one.workspace_id, one.tenant_id].append(one)
    ids = sorted(numbers)
    bulk.run(ALONE, ("id text",), [(str(one),) for one, _ in ids])
    since = now - timedelta(hours=1)
    columns = ("id uuid", "tenant_id uuid", "by text", "since timestamptz")
    counts = dict(bulk.run(BLOCKED_LATELY, columns, [(*one, RULE, since) for one in ids]))
    for (workspace_id, tenant_id), found in numbers.items():
        room = max(0, MOST_AN_HOUR - counts[workspace_id])
        yield from (one[:3] for one in found[:room])
        if len(found) > room:
            logger.warning(
                "whatsapp block rule blocks nobody more within the hour",
                extra={"tenant_id": tenant_id, "workspace_id": workspace_id, "most": MOST_AN_HOUR},
            )
