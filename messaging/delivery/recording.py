"""Write down what came of sends, many in one transaction.

Each outcome changes its row only where that is still ``sending`` in the same attempt. A status
webhook may have been faster: then the message is settled already, and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction

from lib import bulk
from messaging import changing, locks, notices, receipts
from messaging.delivery import consequences, writing
from messaging.delivery.attempts import Attempt, Fate, GivenBack, Result, facts_of, fate_of
from messaging.notices import Change
from messaging.references import Target, key_of
from messaging.settling import seal_id
from workspaces import identity, keys
from workspaces.channel_facts import Accepted
from workspaces.keys import TenantHasNoKeys

# An answer may come after the end of its lease; that the platform took the message settles it all
# the same. The platform's id might be taken: by a copy of the message that came another way.
ACCEPT_COLUMNS = (
    "id uuid", "attempt int2", "status text", "at text", "platform_message_id text",
    "inner_key int8", "sealed_id bytea", "day date",
)  # fmt: skip
ACCEPT = changing.statement(
    carry="r.status, r.at, r.platform_message_id, r.inner_key, r.sealed_id, r.day",
    found="""{rows} JOIN messages m ON m.id = r.id
    WHERE m.attempts = r.attempt AND m.status IN ('sending', 'unknown')
      AND m.platform_message_id IS NULL""",
    assign="""status = mine.status, sealed_request = NULL, lease_until = NULL,
    delivery = (m.delivery - 'last_error') || jsonb_build_object('accepted_at', mine.at),
    delivery_day = mine.day, sealed_id = mine.sealed_id, inner_key = mine.inner_key,
    platform_message_id = CASE WHEN EXISTS (
        SELECT FROM messages o WHERE o.workspace_id = m.workspace_id
          AND o.platform_message_id = mine.platform_message_id
    ) THEN NULL ELSE mine.platform_message_id END""",
    returning="""m.id, m.tenant_id, m.workspace_id, m.status, m.platform_message_id, m.inner_key,
    m.contact_id""",
)
MOVE_COLUMNS = (
    "id uuid", "attempt int2", "status text", "facts jsonb", "next_attempt_at timestamptz",
)  # fmt: skip
MOVE = changing.statement(
    carry="r.status, r.facts, r.next_attempt_at",
    found="""{rows} JOIN messages m ON m.id = r.id
    WHERE m.attempts = r.attempt AND m.status = 'sending'""",
    assign="""status = mine.status, lease_until = NULL,
    delivery = m.delivery || mine.facts, next_attempt_at = mine.next_attempt_at,
    sealed_request = CASE WHEN mine.status = 'failed' THEN NULL ELSE m.sealed_request END""",
    returning="m.id",
)


class Outcome(NamedTuple):
    """What came of one attempt, and when."""

    attempt: Attempt
    result: Result
    at: datetime


Ended = tuple[Outcome, Fate]


def record(outcomes: Sequence[Outcome], *, now: datetime, chance: Random) -> None:
    """Write down outcomes in one transaction, and what follows from them for others.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away; nothing was
            written.
    """
    most = settings.SIGMA_SEND_MAX_ATTEMPTS
    fates = [
        (o, fate_of(o.result, o.attempt, now=now, most_attempts=most, chance=chance))
        for o in outcomes
    ]
    with transaction.atomic():
        # What is said of a person must reach the contact that they are when this is committed.
        locks.merge_nobody({o.attempt.tenant_id for o in outcomes})
        _lock(outcomes)
        accepted = _accept(fates)
        back = [o.attempt for o, _ in fates if isinstance(o.result, GivenBack)]
        writing.release([(one.message_id, one.number) for one in back], now=now)
        moved = _move(fates, now)
        taken = [Change(*row[:4]) for row in accepted]
        notices.changed([*taken, *_changes(moved)], now=now)
        # A receipt that did not name the message may have been faster than the answer.
        receipts.catch_up([Target(row[2], *row[4:]) for row in accepted if row[4]])
        consequences.follow([(outcome.attempt, fate) for outcome, fate in moved], now=now)


def _lock(outcomes: Sequence[Outcome]) -> None:
    """Lock the messages together, where several statements would one after the other."""
    kinds = {
        Accepted if isinstance(o.result, Accepted) else isinstance(o.result, GivenBack)
        for o in outcomes
    }
    if len(kinds) > 1:
        changing.lock(o.attempt.message_id for o in outcomes)


def _accept(fates: Sequence[Ended]) -> list[tuple[Any, ...]]:
    """Write down what the platform took; return the rows of those it was news of."""
    rows = []
    for outcome, fate in fates:
        if isinstance(outcome.result, Accepted):
            attempt, day = outcome.attempt, outcome.at.date()
            ids = _identify(attempt, outcome.result.platform_message_id, day)
            rows.append((
                attempt.message_id, attempt.number, fate.status, outcome.at.isoformat(), *ids, day,
            ))  # fmt: skip
    return bulk.run(ACCEPT, ACCEPT_COLUMNS, rows)


def _identify(
    attempt: Attempt, wamid: str, day: date
) -> tuple[str | None, int | None, bytes | None]:
    """Return the digests of a platform id and of the key in it, and its sealed form; nothing for a
    tenant that is gone.
    """
    try:
        digest = identity.digester(attempt.tenant_id)
        cipher = keys.day_cipher(attempt.tenant_id, day)
    except TenantHasNoKeys:
        return None, None, None
    key = key_of(wamid, digest, attempt.workspace_id)
    return digest.wamid(wamid), key, seal_id(cipher, attempt.tenant_id, attempt.message_id, wamid)


def _move(fates: Sequence[Ended], now: datetime) -> list[Ended]:
    """Write down what was not accepted; return what was still to be written."""
    others = {
        outcome.attempt.message_id: (outcome, fate)
        for outcome, fate in fates
        if not isinstance(outcome.result, Accepted | GivenBack)
    }
    rows = [
        (one, outcome.attempt.number, fate.status, _facts(outcome, fate), _again_at(fate, now))
        for one, (outcome, fate) in others.items()
    ]
    return [others[row[0]] for row in bulk.run(MOVE, MOVE_COLUMNS, rows)]


def _facts(outcome: Outcome, fate: Fate) -> str:
    facts: dict[str, object] = {}
    if fate.status != "queued":
        facts[f"{fate.status}_at"] = outcome.at.isoformat()
    if fate.error is not None:
        error = facts_of(fate.error)
        facts |= {"errors": [error]} if fate.status == "failed" else {"last_error": error}
    return writing.encoded(facts)


def _again_at(fate: Fate, now: datetime) -> datetime | None:
    return now + timedelta(seconds=fate.wait) if fate.status == "queued" else None


def _changes(moved: Iterable[Ended]) -> Iterator[Change]:
    for (attempt, _, _), fate in moved:
        if fate.status != "queued":
            codes = [fate.error.code] if fate.error else []
            yield Change(
                attempt.message_id, attempt.tenant_id, attempt.workspace_id, fate.status, codes
            )
