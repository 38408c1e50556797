"""Take turns: owed deliveries that are due, shared fairly between the subscriptions who wait.

A claim is a lease: the next attempt moves into the future before the request leaves. A deliverer
that is killed leaves nothing behind but that, and the event is sent again: at least once. An
attempt counts when its result is noted: one that ended by our own fault does not, nor one whose
deliverer froze until the delivery was claimed, or replayed, by somebody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from lib import bulk

# Longer than a request may take, and than its deliverer may take to note the result.
LEASE = timedelta(seconds=60)
# Requests under way to one subscription; to one that failed the last time, one. A tenant with many
# slow ones gets no more than this in all.
MOST_EACH, MOST_OF_TENANT = 16, 64

# A loose index scan finds the subscriptions that are owed something. Where more wait than there
# are places, chance decides, so that none is always last.
WAITING = """
RECURSIVE turn AS (
    (SELECT subscription_id AS id FROM event_deliveries WHERE next_attempt_at IS NOT NULL
     ORDER BY subscription_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.subscription_id FROM event_deliveries d
            WHERE d.next_attempt_at IS NOT NULL AND d.subscription_id > turn.id
            ORDER BY d.subscription_id LIMIT 1)
    FROM turn WHERE turn.id IS NOT NULL
)"""
# Who may be sent something now, and how much; not those whose requests take long, if told so.
READY = f"""{WAITING}, owed AS (
    SELECT s.*, coalesce(busy.requests, 0) AS busy,
           sum(coalesce(busy.requests, 0)) OVER (PARTITION BY s.tenant_id) AS tenant_busy
    FROM turn JOIN event_subscriptions s ON s.id = turn.id
    JOIN tenants t ON t.id = s.tenant_id AND t.status <> 'ERASING'
    LEFT JOIN unnest(%(busy)s::uuid[], %(requests)s::int[]) AS busy (id, requests)
           ON busy.id = s.id
), ready AS (
    SELECT s.id, s.url, s.sealed_secrets, least(
        CASE WHEN s.failing_since IS NULL THEN %(most)s ELSE 1 END - s.busy,
        ceil((%(tenant)s - s.tenant_busy)::numeric / count(*) OVER (PARTITION BY s.tenant_id))::int
    ) AS free
    FROM owed s
    WHERE s.disabled_at IS NULL AND coalesce(s.resting_until <= %(now)s, true)
      AND s.id <> ALL (%(without)s::uuid[])
      AND EXISTS (SELECT FROM event_deliveries d
                  WHERE d.subscription_id = s.id AND d.next_attempt_at <= %(now)s)
    ORDER BY random() LIMIT %(room)s
)"""  # noqa: S608 - words of ours
IS_DUE = f"WITH {READY} SELECT EXISTS (SELECT FROM ready WHERE free > 0)"  # noqa: S608
CLAIM = f"""
WITH {READY}, picked AS (
    SELECT mine.id FROM ready CROSS JOIN LATERAL (
        SELECT d.id FROM event_deliveries d
        WHERE d.subscription_id = ready.id AND d.next_attempt_at <= %(now)s
        ORDER BY d.next_attempt_at, d.id
        LIMIT greatest(0, least(ready.free, (SELECT greatest(1, %(room)s / count(*)) FROM ready)))
        FOR UPDATE SKIP LOCKED
    ) mine
), claimed AS (
    UPDATE event_deliveries d SET next_attempt_at = %(until)s
    FROM picked WHERE d.id = picked.id
    RETURNING d.id, d.attempts + 1 AS attempts, d.next_attempt_at AS leased_until,
              d.subscription_id, d.tenant_id, d.event_id
)
SELECT c.id, c.attempts, c.leased_until, c.subscription_id, c.tenant_id, ready.url,
       ready.sealed_secrets, e.id, e.type, e.occurred_at, e.data
FROM claimed c JOIN ready ON ready.id = c.subscription_id
JOIN outgoing_events e ON e.id = c.event_id
ORDER BY c.id
"""  # noqa: S608 - words of ours
# Who changes the subscription just now is not waited for: its claims are leased as it is.
REST = """
UPDATE event_subscriptions SET resting_until = %s
WHERE id IN (SELECT id FROM event_subscriptions WHERE id = %s FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery to attempt now, for the ``attempts``-th time; ``leased_until`` is the claim's own,
    no other of this delivery has it.
    """

    delivery_id: int
    attempts: int
    leased_until: datetime
    subscription_id: UUID
    tenant_id: UUID
    url: str
    sealed_secrets: bytes
    event_id: UUID
    type: str
    occurred_at: datetime
    data: dict[str, Any]


def claim(
    *, now: datetime, room: int, busy: Mapping[UUID, int], without: Collection[UUID] = ()
) -> list[Claimed]:
    """Claim up to ``room`` deliveries; ``busy`` says how many requests of whom are under way.

    Nothing of the subscriptions in ``without``.
    """
    with bulk.cursor() as cursor:
        cursor.execute(CLAIM, _parameters(now, room, busy, without))
        return [Claimed(*row) for row in cursor.fetchall()]


def rest(subscription_id: UUID, *, now: datetime) -> None:
    """Claim nothing of a subscription until what was claimed of it is due again."""
    with bulk.cursor() as cursor:
        cursor.execute(REST, [now + LEASE, subscription_id])


def is_due(*, now: datetime) -> bool:
    """Tell whether a deliverer would find something; what rests or is closed does not count."""
    with bulk.cursor() as cursor:
        cursor.execute(IS_DUE, _parameters(now, 1, {}, ()))
        (due,) = cursor.fetchone() or (False,)
    return bool(due)


def _parameters(
    now: datetime, room: int, busy: Mapping[UUID, int], without: Collection[UUID]
) -> dict[str, object]:
    return {
        "now": now, "until": now + LEASE, "room": room, "most": MOST_EACH, "tenant": MOST_OF_TENANT,
        "busy": list(busy), "requests": list(busy.values()), "without": list(without),
    }  # fmt: skip
