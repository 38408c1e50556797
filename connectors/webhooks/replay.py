"""Process again what was set aside: after a workspace was added, or a bug was mended."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import F

from connectors.models import DeadKind, DeadState, WebhookDead
from connectors.webhooks import dead, ledger
from connectors.webhooks.outcomes import Outcome, Tally
from connectors.webhooks.processing import process
from workspaces.envelope import CannotOpen
from workspaces.models import INSTALLATION_ID

RELEASABLE = """
SELECT d.id FROM webhook_dead d
WHERE d.state = 'OPEN' AND d.kind = 'QUARANTINE' AND d.phone_number_id <> '' AND 1 = (
    SELECT count(DISTINCT w.tenant_id) FROM workspaces w
    WHERE w.external_id = d.phone_number_id AND w.is_active
      AND (w.tenant_id = d.tenant_id OR d.tenant_id = %(shared)s)
)
ORDER BY d.id LIMIT %(limit)s
"""


def replay(ids: Sequence[int]) -> int:
    """Replay rows of ``webhook_dead``; return how many were processed after all.

    Rows that fail again stay open with their new reason and one more attempt.
    """
    return sum(_replay_one(row_id) for row_id in ids)


def releasable(limit: int = 500) -> list[int]:
    """Return quarantined updates whose phone number has an active workspace of their tenant by now.

    Those of shared apps count once exactly one tenant claims the number.
    """
    with connection.cursor() as cursor:
        cursor.execute(RELEASABLE, {"shared": INSTALLATION_ID, "limit": limit})
        return [row_id for (row_id,) in cursor.fetchall()]


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
        WebhookDead.objects.filter(pk=row_id).update(reason=str(error), attempts=F("attempts") + 1)
        return False
    outcome = Outcome()
    process([callback], outcome)
    _settle(row, outcome)
    return not outcome.failures


def _settle(row: WebhookDead, outcome: Outcome) -> None:
    """Move the update from where it was counted to where it is now."""
    before = outcome.tallies[row.tenant_id]
    _take_back(before, row.kind)
    if len(outcome.failures) == 1 and before.processed == 0:
        row.reason, row.kind = outcome.failures[0].reason, outcome.failures[0].kind
        row.attempts += 1
    else:
        dead.bury(outcome.failures)  # a body that can be parsed by now may hold several updates
        row.state = DeadState.REPLAYED
    row.save(update_fields=["reason", "kind", "attempts", "state"])
    ledger.add(outcome.tallies)


def _take_back(tally: Tally, kind: str) -> None:
    tally.updates -= 1
    if kind == DeadKind.DEAD:
        tally.dead -= 1
    else:
        tally.quarantined -= 1
