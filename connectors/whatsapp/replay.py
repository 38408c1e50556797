"""Process parked updates again: after a workspace was added, or a bug was fixed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet

from connectors.whatsapp import results
from connectors.whatsapp.models import DeadKind, DeadState, WebhookDead
from connectors.whatsapp.results import BatchResult, Tally
from connectors.whatsapp.updates import process
from lib.brake import MOST_ALIKE, Brake, Stopped, is_away, is_of_a_value, spread
from lib.envelope import CannotOpen
from workspaces import keys
from workspaces.models import INSTALLATION_ID

logger = logging.getLogger("sigma.whatsapp.processing")

# What failed so often is not released by itself any more.
MOST_ATTEMPTS = 10
# What a replay may change of a row.
RESULT_FIELDS = ("reason", "kind", "updates", "field", "phone_number_id", "attempts", "state")
# Claims as :mod:`workspaces.ownership` sees them.
RELEASABLE = """
WITH claims AS (
    SELECT w.external_id, w.tenant_id,
           w.number_proof = max(w.number_proof) OVER (PARTITION BY w.external_id)
           AND (w.number_proof > 0 OR 1 = (SELECT count(*) FROM tenants WHERE status <> 'ERASING'))
           AS is_best
    FROM workspaces w JOIN tenants t ON t.id = w.tenant_id AND t.status <> 'ERASING'
    WHERE w.is_active AND w.external_id IN (
        SELECT phone_number_id FROM webhook_dead WHERE state = 'OPEN' AND kind = 'QUARANTINE'
    )
)
SELECT d.id FROM webhook_dead d
WHERE d.state = 'OPEN' AND d.kind = 'QUARANTINE' AND d.phone_number_id <> ''
  AND d.attempts < %(attempts)s AND 1 = (
    SELECT count(DISTINCT w.tenant_id) FROM claims w
    WHERE w.external_id = d.phone_number_id
      AND (w.tenant_id = d.tenant_id OR d.tenant_id = %(shared)s AND w.is_best)
)
ORDER BY d.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many rows were tried and how many of them processed after all; ``stopped`` names the
    error that would have hit the rest as well.
    """

    tried: int
    processed: int
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which open rows to replay; what is not given does not matter. ``reason`` is how the reason
    begins; a row is in the time that begins at ``since`` and ends before ``until``, by when its
    callback was received.
    """

    tenant_id: UUID | None = None
    kind: DeadKind | None = None
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def rows(self) -> QuerySet[WebhookDead]:
        """Return the rows, the oldest first."""
        given = {
            "tenant_id": self.tenant_id,
            "kind": self.kind,
            "reason__startswith": self.reason,
            "received_at__gte": self.since,
            "received_at__lt": self.until,
        }
        wanted = {key: value for key, value in given.items() if value}
        return WebhookDead.objects.filter(state=DeadState.OPEN, **wanted).order_by("pk")


def replay(ids: Sequence[int], *, progress: Callable[[], object] = lambda: None) -> Replayed:
    """Replay rows of ``webhook_dead``; ``progress`` is called after each.

    Rows that fail again stay open with their new reason and one more attempt; none keeps others
    from being tried. Where a few, spread over all of them, fail with one same error, or one fails
    through no fault of its own (``lib.brake``), the rest is left as it is.
    """
    brake = Brake("replay")
    sample = spread(ids, MOST_ALIKE)
    tried = processed = 0
    for row_id in (*sample, *(one for one in ids if one not in sample)):
        try:
            is_processed = _replay_alone(row_id, brake)
        except Stopped as stopped:
            extra = {"error": str(stopped), "row": row_id}
            logger.error("whatsapp replay stopped", exc_info=stopped.error, extra=extra)
            return Replayed(tried, processed, str(stopped))
        tried, processed = tried + 1, processed + is_processed
        if processed:
            brake.forget()
        progress()
    return Replayed(tried, processed)


def releasable(limit: int = 500) -> list[int]:
    """Return quarantined updates whose phone number has an active workspace of their tenant by now.

    Those of shared apps count once exactly one tenant has the best proof of the number. A tenant
    that is being erased does not count.
    """
    parameters: dict[str, UUID | int] = {
        "shared": INSTALLATION_ID,
        "limit": limit,
        "attempts": MOST_ATTEMPTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(RELEASABLE, parameters)
        return [row_id for (row_id,) in cursor.fetchall()]


def _replay_alone(row_id: int, brake: Brake) -> bool:
    try:
        return _replay_one(row_id, brake)
    except Exception as error:
        keys.forget()  # one that was made in the transaction is gone with it
        if is_away(error) or isinstance(error, Stopped):
            raise
        if not is_of_a_value(error):
            raise Stopped(error) from error
        reason = f"Replay failed: {type(error).__name__}"
        logger.exception("whatsapp update not replayed", extra={"row": row_id})
        _record_failure(row_id, reason)
        return False


@transaction.atomic
def _replay_one(row_id: int, brake: Brake) -> bool:
    row = (
        WebhookDead.objects.select_for_update(skip_locked=True)
        .filter(pk=row_id, state=DeadState.OPEN)
        .first()
    )
    if row is None:
        return False
    try:
        callback = results.callback_of(row)
    except CannotOpen as error:
        _record_failure(row_id, str(error))
        return False
    result = BatchResult()
    process([callback], result, brake)
    _settle(row, result)
    return not result.failures


def _record_failure(row_id: int, reason: str) -> None:
    WebhookDead.objects.filter(pk=row_id).update(reason=reason, attempts=F("attempts") + 1)


def _settle(row: WebhookDead, result: BatchResult) -> None:
    """Move the updates from where they were counted to where they are now."""
    before = result.tallies[row.tenant_id]
    _subtract(before, row)
    if len(result.failures) == 1 and before.processed == 0:
        failure = result.failures[0]
        row.reason, row.kind, row.updates = failure.reason, failure.kind, failure.updates
        row.field, row.phone_number_id = failure.field, failure.phone_number_id
        row.attempts += 1
    else:
        # A body that can be parsed by now may hold several updates.
        results.store_failures(result.failures)
        row.state = DeadState.REPLAYED
    row.save(update_fields=RESULT_FIELDS)
    results.add_counts(result.tallies)


def _subtract(tally: Tally, row: WebhookDead) -> None:
    tally.updates -= row.updates
    if row.kind == DeadKind.DEAD:
        tally.dead -= row.updates
    else:
        tally.quarantined -= row.updates
