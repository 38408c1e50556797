"""Write down what came of sends, many in one transaction.

Each outcome changes its row only where that is still ``sending`` in the same attempt. A status
webhook may have been faster: then the message is settled already, and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from messaging import receipts
from messaging.delivery import consequences, writing
from messaging.delivery.attempts import Attempt, Fate, GivenBack, Result, facts_of, fate_of
from messaging.receipts import MessageKey
from messaging.settling import seal_id
from workspaces import bulk, identity, keys
from workspaces.channels import Accepted
from workspaces.keys import TenantHasNoKeys

ATTEMPT_COLUMNS = ("id uuid", "attempt int2")
# In the order of ids, as everybody who changes messages.
LOCK = """
SELECT m.id, m.status, m.delivery FROM {rows} JOIN messages m ON m.id = r.id
WHERE m.attempts = r.attempt AND m.platform_message_id IS NULL
  AND m.status IN ('sending', 'unknown')
ORDER BY m.id FOR UPDATE OF m
"""
# The platform's id might be taken: by a copy of the message that came another way.
ACCEPT_COLUMNS = (
    "id uuid", "status text", "delivery jsonb", "platform_message_id text", "sealed_id bytea",
    "day date",
)  # fmt: skip
ACCEPT = """
UPDATE messages m SET status = r.status, delivery = r.delivery, sealed_request = NULL,
    lease_until = NULL, delivery_day = r.day, sealed_id = r.sealed_id,
    platform_message_id = CASE WHEN EXISTS (
        SELECT FROM messages o WHERE o.workspace_id = m.workspace_id
          AND o.platform_message_id = r.platform_message_id
    ) THEN NULL ELSE r.platform_message_id END
FROM {rows} WHERE m.id = r.id
RETURNING m.id, m.workspace_id, m.platform_message_id
"""
MOVE_COLUMNS = ("id uuid", "status text", "delivery jsonb", "next_attempt_at timestamptz")
MOVE = """
UPDATE messages m SET status = r.status, delivery = r.delivery, lease_until = NULL,
    next_attempt_at = r.next_attempt_at,
    sealed_request = CASE WHEN r.status = 'failed' THEN NULL ELSE m.sealed_request END
FROM {rows} WHERE m.id = r.id
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt, and when."""

    attempt: Attempt
    result: Result
    at: datetime


class _Row(NamedTuple):
    """A message as it stands, locked."""

    id: UUID
    status: str
    delivery: dict[str, Any]


def record(outcomes: Sequence[Outcome], *, now: datetime, chance: Random) -> None:
    """Write down outcomes in one transaction, and what follows from them for others.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away; nothing was
            written.
    """
    by_id = {outcome.attempt.message_id: outcome for outcome in outcomes}
    with transaction.atomic():
        rows = [
            _Row(*row)
            for row in bulk.run(
                LOCK, ATTEMPT_COLUMNS, sorted((o.attempt.message_id, o.attempt.number)
                                              for o in outcomes),
            )
        ]  # fmt: skip
        changes = [
            change
            for row in rows
            if (change := _change(row, by_id[row.id], now=now, chance=chance)) is not None
        ]
        _accept(changes)
        _move(changes)
        _tell(changes, now=now)
        consequences.follow([(c.outcome.attempt, c.fate) for c in changes], now=now)


@dataclass(frozen=True, slots=True)
class _Change:
    outcome: Outcome
    fate: Fate
    delivery: dict[str, Any]
    next_attempt_at: datetime | None


def _change(row: _Row, outcome: Outcome, *, now: datetime, chance: Random) -> _Change | None:
    """Return what to write, or ``None`` where the answer came after the lease had ended, and is not
    the platform's id.
    """
    if row.status == "unknown" and not isinstance(outcome.result, Accepted):
        return None
    most = settings.SIGMA_SEND_MAX_ATTEMPTS
    fate = fate_of(outcome.result, outcome.attempt, now=now, most_attempts=most, chance=chance)
    delivery = dict(row.delivery)
    key = f"{fate.status}_at"
    if fate.status != "queued":
        delivery["accepted_at" if fate.status == "held" else key] = outcome.at.isoformat()
    if fate.error is None and not isinstance(outcome.result, GivenBack):
        delivery.pop("last_error", None)
    elif fate.error is not None:
        facts = facts_of(fate.error)
        delivery.update({"errors": [facts]} if fate.status == "failed" else {"last_error": facts})
    again = now + timedelta(seconds=fate.wait) if fate.status == "queued" else None
    return _Change(outcome, fate, delivery, again)


def _accept(changes: Iterable[_Change]) -> None:
    rows = []
    for change in changes:
        result, attempt = change.outcome.result, change.outcome.attempt
        if isinstance(result, Accepted):
            day = change.outcome.at.date()
            digest, sealed = _identify(attempt, result.platform_message_id, day)
            rows.append((
                attempt.message_id, change.fate.status, writing.encoded(change.delivery), digest,
                sealed, day,
            ))  # fmt: skip
    settled = bulk.run(ACCEPT, ACCEPT_COLUMNS, rows)
    receipts.catch_up([MessageKey(workspace, digest) for _, workspace, digest in settled if digest])


def _identify(attempt: Attempt, wamid: str, day: date) -> tuple[str | None, bytes | None]:
    """Return the digest and the sealed form of a platform id; nothing for a tenant that is gone."""
    try:
        digest = identity.digester(attempt.tenant_id).wamid(wamid)
        cipher = keys.day_cipher(attempt.tenant_id, day)
    except TenantHasNoKeys:
        return None, None
    return digest, seal_id(cipher, attempt.tenant_id, attempt.message_id, wamid)


def _move(changes: Iterable[_Change]) -> None:
    rows = [
        (
            change.outcome.attempt.message_id, change.fate.status,
            writing.encoded(change.delivery), change.next_attempt_at,
        )
        for change in changes
        if not isinstance(change.outcome.result, Accepted)
    ]  # fmt: skip
    bulk.run(MOVE, MOVE_COLUMNS, rows)


def _tell(changes: Iterable[_Change], *, now: datetime) -> None:
    writing.tell(
        [
            (
                attempt.message_id, attempt.tenant_id, attempt.workspace_id, change.fate.status,
                [change.fate.error.code] if change.fate.error else [],
            )
            for change in changes
            if change.fate.status != "queued"
            for attempt in (change.outcome.attempt,)
        ],
        now=now,
    )  # fmt: skip
