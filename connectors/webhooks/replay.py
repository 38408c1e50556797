"""Process again what was set aside: after a workspace was added, or a bug was mended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F

from connectors.models import DeadKind, DeadState, WebhookDead
from connectors.webhooks import dead, ledger
from connectors.webhooks.outcomes import Outcome, Tally
from connectors.webhooks.updates import process
from workspaces import keys
from workspaces.envelope import CannotOpen
from workspaces.models import INSTALLATION_ID

logger = logging.getLogger("sigma.whatsapp.processing")

# What failed so often is not released by itself any more.
MOST_ATTEMPTS = 10
RELEASABLE = """
SELECT d.id FROM webhook_dead d
WHERE d.state = 'OPEN' AND d.kind = 'QUARANTINE' AND d.phone_number_id <> ''
  AND d.attempts < %(attempts)s AND 1 = (
    SELECT count(DISTINCT w.tenant_id) FROM workspaces w
    JOIN tenants t ON t.id = w.tenant_id AND t.status <> 'ERASING'
    WHERE w.external_id = d.phone_number_id AND w.is_active
      AND (w.tenant_id = d.tenant_id OR d.tenant_id = %(shared)s)
)
ORDER BY d.id LIMIT %(limit)s
"""


def replay(ids: Sequence[int]) -> int:
    """Replay rows of ``webhook_dead``; return how many were processed after all.

    Rows that fail again stay open with their new reason and one more attempt; none keeps the others
    from their turn.
    """
    return sum(_replay_alone(row_id) for row_id in ids)


def releasable(limit: int = 500) -> list[int]:
    """Return quarantined updates whose phone number has an active workspace of their tenant by now.

    Those of shared apps count once exactly one tenant claims the number. A tenant that is being
    erased does not count.
    """
    parameters: dict[str, UUID | int] = {
        "shared": INSTALLATION_ID,
        "limit": limit,
        "attempts": MOST_ATTEMPTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(RELEASABLE, parameters)
        return [row_id for (row_id,) in cursor.fetchall()]


def _replay_alone(row_id: int) -> bool:
    try:
        return _replay_one(row_id)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        keys.forget()  # one that was made in the transaction is gone with it
        reason = f"Replay failed: {type(error).__name__}"
        logger.exception("whatsapp update not replayed", extra={"row": row_id})
        _note_failure(row_id, reason)
        return False


@transaction.atomic
def _replay_one(row_id: int) -> bool:
    row = (
        WebhookDead.objects.select_for_update(skip_locked=True)
        .filter(pk=row_id, state=DeadState.OPEN)
        .first()
    )
    if row is None:
        return False
    try:
        callback = dead.exhume(row)
    except CannotOpen as error:
        _note_failure(row_id, str(error))
        return False
    outcome = Outcome()
    process([callback], outcome)
    _settle(row, outcome)
    return not outcome.failures


def _note_failure(row_id: int, reason: str) -> None:
    WebhookDead.objects.filter(pk=row_id).update(reason=reason, attempts=F("attempts") + 1)


def _settle(row: WebhookDead, outcome: Outcome) -> None:
    """Move the updates from where they were counted to where they are now."""
    before = outcome.tallies[row.tenant_id]
    _take_back(before, row)
    if len(outcome.failures) == 1 and before.processed == 0:
        failure = outcome.failures[0]
        row.reason, row.kind, row.updates = failure.reason, failure.kind, failure.updates
        row.field, row.phone_number_id = failure.field, failure.phone_number_id
        row.attempts += 1
    else:
        dead.bury(outcome.failures)  # a body that can be parsed by now may hold several updates
        row.state = DeadState.REPLAYED
    row.save(update_fields=[
        "reason", "kind", "updates", "field", "phone_number_id", "attempts", "state",
    ])  # fmt: skip
    ledger.add(outcome.tallies)


def _take_back(tally: Tally, row: WebhookDead) -> None:
    tally.updates -= row.updates
    if row.kind == DeadKind.DEAD:
        tally.dead -= row.updates
    else:
        tally.quarantined -= row.updates
