"""When a running broadcast has to stop by itself: what it meets says more about it than about the
people on its list. Pure, but for the two questions to the database.

The platform refuses some messages of every list: numbers without WhatsApp, people who get too much
marketing. These are spread over the list and differ, and lists that were kept well lose a few
percent to them. So two signs are taken for a mistake that somebody has to look at:

- the last ``ALIKE`` outcomes are one and the same refusal. Where one in five is refused so, that
  happens by chance once in 10^14 messages;
- of the first ``FIRST`` messages more than ``MOST_FAILED`` failed: enough people for a share, and
  few enough to be sent to again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from lib.sql import select
from messaging.models import Broadcast

ALIKE = 20
FIRST, MOST_FAILED = 100, 20
# Accepted messages wait a second or two for their receipts: so many rows, beside those that are not
# sent yet, are looked at for those that have an outcome.
LOOKED_AT = 1_000

# What failed before somebody looked and had it go on is not held against it again.
SEEN = """
SELECT m.status, m.platform_message_id IS NOT NULL AS was_taken,
       coalesce(m.delivery #>> '{{errors,0,code}}', '') AS code,
       coalesce(m.delivery #>> '{{errors,0,title}}', '') AS title,
       coalesce((m.delivery ->> 'failed_at')::timestamptz <= %(since)s, false) AS is_past
FROM (
    SELECT r.message_id, r.position FROM broadcast_recipients r
    WHERE r.tenant_id = %(tenant)s AND r.broadcast_id = %(broadcast)s AND r.state = 'QUEUED'
      AND r.position > %(after)s
    ORDER BY r.position {direction} LIMIT %(limit)s
) r JOIN messages m ON m.tenant_id = %(tenant)s AND m.id = r.message_id
ORDER BY {order}
"""
FROM_THE_FIRST = SEEN.format(direction="ASC", order="r.position")
# By when the platform answered: rows of a chunk are not sent in the order of the list.
FROM_THE_LAST = SEEN.format(
    direction="DESC",
    order="""coalesce(
    m.delivery ->> 'accepted_at', m.delivery ->> 'failed_at', m.delivery ->> 'sent_at'
)::timestamptz DESC NULLS LAST""",
)
# Served by broadcast_recipients_next and the keys of messages; asked when somebody has it go on.
NEXT = """
SELECT min(r.position) AS position FROM broadcast_recipients r
LEFT JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
WHERE r.tenant_id = %s AND r.broadcast_id = %s
  AND (r.state = 'PENDING' OR m.status IN ('queued', 'sending'))
"""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
OPEN = frozenset({"queued", "sending", "cancelled"})
# The platform has it, and has not said yet what became of it.
UNDECIDED = frozenset({"accepted", "held", "unknown"})


class Seen(NamedTuple):
    """A message of the broadcast; ``was_taken``: the platform accepted it."""

    status: str
    was_taken: bool
    code: str
    title: str
    is_past: bool = False

    @property
    def refusal(self) -> str:
        """The platform's code, where it refused the message or reported that it failed."""
        is_refused = self.status == "failed" and self.code.isdecimal() and not self.is_past
        return self.code if is_refused else ""


class _Position(NamedTuple):
    position: int | None


def reason_to_stop(broadcast: Broadcast, *, in_hand: int) -> str:
    """Return why a running broadcast must not go on; empty: nothing is wrong. ``in_hand`` is how
    many of its messages are not sent yet.
    """
    facts = {
        "tenant": broadcast.tenant_id,
        "broadcast": broadcast.id,
        "after": broadcast.judged_from,
        "limit": FIRST,
        "since": broadcast.judged_since or LONG_AGO,
    }
    first = select(Seen, FROM_THE_FIRST, facts)
    failed = [seen for seen in first if seen.refusal]
    if not failed and len(first) < FIRST:
        return ""
    latest = select(Seen, FROM_THE_LAST, {**facts, "limit": in_hand + LOOKED_AT})
    return why(first, latest)


def why(first: Sequence[Seen], latest: Sequence[Seen]) -> str:
    """Return what the first messages of a broadcast (by their place), and its latest ones (the last
    first), are reason to stop for; empty: for nothing.
    """
    for outcomes in (_answers(latest), _reports(latest)):
        alike = list(islice(outcomes, ALIKE))
        codes = {seen.refusal for seen in alike}
        if len(alike) == ALIKE and len(codes) == 1 and "" not in codes:
            return f"Its last {ALIKE} messages failed alike: {_said(alike[0])}"
    failed = [seen for seen in first if seen.refusal]
    if len(failed) > MOST_FAILED:
        return f"Of its first {FIRST} messages {len(failed)} failed; the last: {_said(failed[-1])}"
    return ""


def judge_anew(broadcast: Broadcast, *, now: datetime) -> None:
    """Forget what was held against a broadcast: somebody had it go on. The caller saves it."""
    (found,) = select(_Position, NEXT, [broadcast.tenant_id, broadcast.id])
    broadcast.judged_since = now
    broadcast.judged_from = (found.position or 1) - 1


def _answers(latest: Iterable[Seen]) -> Iterator[Seen]:
    """What the platform answered: it took the message, or refused it at once."""
    for seen in latest:
        if seen.status not in OPEN:
            yield seen._replace(status="accepted") if seen.was_taken else seen


def _reports(latest: Iterable[Seen]) -> Iterator[Seen]:
    """What it reported of messages that it had taken."""
    return (s for s in latest if s.was_taken and s.status not in OPEN | UNDECIDED)


def _said(seen: Seen) -> str:
    return f"{seen.title or 'refused'} (Meta's code {seen.code})"
