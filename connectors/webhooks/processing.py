"""From owed callbacks to a committed batch: claim, open, process, count, commit.

All of it is one transaction with the deletion of the pointers: whatever is killed, and whenever, a
callback is either still owed or wholly accounted for. Whatever fails, and even what ends the whole
process, fails alone in the end and lets the others pass.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from django.db import InterfaceError, OperationalError, transaction

from connectors.models import DeadKind
from connectors.webhooks import claims, dead, ledger, raw
from connectors.webhooks.claims import Claimed
from connectors.webhooks.outcomes import Callback, Failure, Outcome
from connectors.webhooks.updates import process
from workspaces import keys
from workspaces.envelope import CannotOpen

logger = logging.getLogger("sigma.whatsapp.processing")

# Attempts that may have ended their process: after so many a callback is tried alone, after so many
# not any more.
ALONE_AFTER = 2
GIVE_UP_AFTER = 5


def process_batch(limit: int) -> int:
    """Claim, process and commit one batch; return how many callbacks were claimed.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away or was busy; the
            batch stays owed.
    """
    claimed: list[Claimed] = []
    careful = False
    try:
        with transaction.atomic():
            claimed += claims.claim(limit)
            careful = claims.some_are_old(claimed)
            if careful:
                transaction.set_rollback(True)  # to be tried again, with a note of it
            elif claimed:
                outcome = _account_for(claimed)
    except Exception as error:
        _undone(error)
        if not claimed:
            raise
        _process_halves(claimed, error)
    else:
        if careful:
            _process_carefully(claimed)
        elif claimed:
            _report(outcome)
    return len(claimed)


def _process_carefully(claimed: Sequence[Claimed]) -> None:
    """Note the attempt before it is made, for whoever comes after the end of this process."""
    together = [callback for callback in claimed if callback.attempts < ALONE_AFTER]
    alone = [[callback] for callback in claimed if callback.attempts >= ALONE_AFTER]
    for group in (together, *alone):
        if group and group[0].attempts >= GIVE_UP_AFTER:
            _bury(group[0], f"Gave up after {group[0].attempts} attempts that ended their process.")
        elif group:
            mine = set(claims.note_attempt([callback.delivery_id for callback in group]))
            _process_again([callback for callback in group if callback.delivery_id in mine])


def _process_again(callbacks: Sequence[Claimed]) -> None:
    """Process callbacks in a transaction of their own; in halves if they cannot be."""
    try:
        with transaction.atomic():
            claimed = claims.take([callback.delivery_id for callback in callbacks])
            outcome = _account_for(claimed)
    except Exception as error:
        _undone(error)
        _process_halves(callbacks, error)
    else:
        _report(outcome)


def _process_halves(callbacks: Sequence[Claimed], error: Exception) -> None:
    if len(callbacks) == 1:
        _bury(callbacks[0], f"Processing failed: {type(error).__name__}")
        return
    middle = len(callbacks) // 2
    _process_again(callbacks[:middle])
    _process_again(callbacks[middle:])


def _undone(error: Exception) -> None:
    """Clean up after a batch that was rolled back; raise where the batch is not at fault."""
    keys.forget()  # a key that was made in the transaction is gone with it
    if isinstance(error, (OperationalError, InterfaceError)):
        raise error
    logger.error("whatsapp batch not processed, tried in halves", exc_info=error)


def _bury(callback: Claimed, reason: str) -> None:
    """Set a callback aside unopened, whole."""
    with transaction.atomic():
        outcome = Outcome()
        for taken in claims.take([callback.delivery_id]):
            outcome.tallies[taken.tenant_id].callbacks += 1
            _fail(taken, reason, outcome)
        _write(outcome)
    _report(outcome)


def _account_for(claimed: Sequence[Claimed]) -> Outcome:
    """Process claimed callbacks inside the caller's transaction."""
    outcome = Outcome()
    for callback in claimed:
        outcome.tallies[callback.tenant_id].callbacks += 1
    process(_open(claimed, outcome), outcome)
    _write(outcome)
    return outcome


def _write(outcome: Outcome) -> None:
    dead.bury(outcome.failures)
    ledger.add(outcome.tallies)


def _open(claimed: Sequence[Claimed], outcome: Outcome) -> list[Callback]:
    with suppress(CannotOpen):  # whoever opens that one hears about it
        keys.preload(callback.body for callback in claimed if callback.body is not None)
    opened = []
    for sealed in claimed:
        try:
            if sealed.body is None:
                raise CannotOpen("Raw was purged before this callback was processed.")
            body = raw.open_body(
                sealed.body, tenant_id=sealed.tenant_id, delivery_id=sealed.delivery_id
            )
        except CannotOpen as error:
            _fail(sealed, str(error), outcome)
        else:
            opened.append(Callback(sealed.delivery_id, sealed.received_at, sealed.tenant_id, body))
    return opened


def _fail(sealed: Claimed, reason: str, outcome: Outcome) -> None:
    """Count and keep a callback of which nothing could be read, as one update."""
    callback = Callback(sealed.delivery_id, sealed.received_at, sealed.tenant_id, b"")
    outcome.tallies[sealed.tenant_id].updates += 1
    outcome.fail(Failure(callback, DeadKind.DEAD, reason, None))


def _report(outcome: Outcome) -> None:
    counts: Counter[tuple[Callback, DeadKind, str]] = Counter()
    for failure in outcome.failures:
        counts[failure.callback, failure.kind, failure.reason] += failure.updates
    for (callback, kind, reason), updates in counts.items():
        logger.warning(
            "whatsapp update set aside",
            extra={
                "tenant_id": callback.tenant_id,
                "delivery": callback.delivery_id,
                "kind": kind.value,
                "reason": reason,
                "updates": updates,
            },
        )
