"""From owed callbacks to a committed batch: claim, open, process, count, commit.

All of it is one transaction with the deletion of the pointers: whatever is killed, and whenever, a
callback is either still owed or wholly accounted for. Whatever fails, and even what ends the whole
process, fails alone in the end and lets the others pass; what fails through no fault of its own
stays owed (``lib.brake``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from django.db import DatabaseError, transaction

from connectors.models import DeadKind
from connectors.whatsapp import claims, dead, ledger, raw
from connectors.whatsapp.claims import Claimed
from connectors.whatsapp.outcomes import Callback, Failure, Outcome
from connectors.whatsapp.updates import Item, process
from lib.brake import LONGEST_PAUSE, TRIAL, Brake, Stopped, is_away
from lib.envelope import CannotOpen, KeyDestroyed
from workspaces import keys

logger = logging.getLogger("sigma.whatsapp.processing")

BRAKE = Brake("callbacks")
# Attempts that may have ended their process: after so many a callback is tried with a few others,
# after so many alone, after so many not any more. It was one of a whole batch that did it.
FEW_AFTER, FEW = 2, 20
ALONE_AFTER = 3
GIVE_UP_AFTER = 5
# Transactions of one claim at most; whoever waits behind suspects waits for no more than these.
MOST_GROUPS = 20


def process_batch(limit: int) -> int:
    """Claim, process and commit one batch; return how many callbacks were claimed.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away or was busy; the
            batch stays owed.
        lib.brake.Stopped: everything fails alike; the batch stays owed.
    """
    claimed: list[Claimed] = []
    careful = False
    try:
        with transaction.atomic():
            most = min(limit, TRIAL) if BRAKE.is_on else limit
            claimed += claims.claim(most, at_random=BRAKE.is_on)
            careful = claims.some_are_old(claimed)
            if careful:
                transaction.set_rollback(True)  # to be tried again, with a note of it
            elif claimed:
                outcome = _account_for(claimed)
    except Exception as error:
        _undone(error)
        if not claimed:
            raise Stopped(error) from error
        _process_again(claimed, after=error)
    else:
        if careful:
            _process_carefully(claimed)
        elif claimed:
            _committed(outcome)
    return len(claimed)


def _process_carefully(claimed: Sequence[Claimed]) -> None:
    """Note the attempt before it is made, for whoever comes after the end of this process.

    Suspects take long, alone or a few together: after some of them the rest is left for the next
    claim, in which the other tenants have their share again.
    """
    for group in islice(_groups(claimed), MOST_GROUPS):
        if group[0].attempts >= GIVE_UP_AFTER:
            _bury(group[0], f"Gave up after {group[0].attempts} attempts that ended their process.")
            continue
        mine = set(claims.note_attempt([callback.delivery_id for callback in group]))
        try:
            _process_again([callback for callback in group if callback.delivery_id in mine])
        except Exception:
            with suppress(DatabaseError):
                claims.take_back_attempt(sorted(mine))
            raise


def _groups(claimed: Sequence[Claimed]) -> Iterator[Sequence[Claimed]]:
    """Share callbacks out by how often their process may have ended: all that are new to it
    together, then a few at a time, then each alone.
    """
    if together := [callback for callback in claimed if callback.attempts < FEW_AFTER]:
        yield together
    few = [callback for callback in claimed if FEW_AFTER <= callback.attempts < ALONE_AFTER]
    for start in range(0, len(few), FEW):
        yield few[start : start + FEW]
    yield from ([callback] for callback in claimed if callback.attempts >= ALONE_AFTER)


def _process_again(callbacks: Sequence[Claimed], *, after: Exception | None = None) -> None:
    """Process callbacks in transactions of their own, as many together as can be."""
    try:
        if isinstance(after, Stopped):
            raise after
        failed = BRAKE.sift(callbacks, _process_together, step="process") if callbacks else []
    except Stopped as stopped:
        _process_without(stopped, callbacks)
    else:
        for callback, error in failed:
            _bury(callback, f"Processing failed: {type(error).__name__}")


def _process_together(callbacks: Sequence[Claimed]) -> None:
    try:
        with transaction.atomic():
            outcome = _account_for(claims.take([callback.delivery_id for callback in callbacks]))
    except Exception as error:
        _undone(error)
        raise
    _committed(outcome)


def _process_without(stopped: Stopped, callbacks: Sequence[Claimed]) -> None:
    """Let those wait that have to, for longer than the others take.

    Raises:
        lib.brake.Stopped: these are all of them.
    """
    waiting = {_delivery_of(item) for item in stopped.items}
    rest = [callback for callback in callbacks if callback.delivery_id not in waiting]
    if not waiting or not rest:
        raise stopped
    claims.put_off(sorted(waiting), seconds=LONGEST_PAUSE)
    BRAKE.report(stopped)
    _process_again(rest)


def _delivery_of(item: Item | Callback | Claimed) -> int:
    return item.callback.delivery_id if isinstance(item, Item) else item.delivery_id


def _undone(error: Exception) -> None:
    """Clean up after a batch that was rolled back; raise where the batch is not at fault."""
    keys.forget()  # a key that was made in the transaction is gone with it
    if is_away(error):
        raise error
    if not isinstance(error, Stopped):
        logger.warning("whatsapp batch not processed, tried in halves", exc_info=error)


def _committed(outcome: Outcome) -> None:
    """Report a batch; what it stored proves that the line goes on."""
    if any(tally.processed for tally in outcome.tallies.values()) or not outcome.failures:
        BRAKE.release()
    _report(outcome)


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
    process(_open(claimed, outcome), outcome, BRAKE)
    _write(outcome)
    return outcome


def _write(outcome: Outcome) -> None:
    dead.bury(outcome.failures)
    ledger.add(outcome.tallies)


def _open(claimed: Sequence[Claimed], outcome: Outcome) -> list[Callback]:
    with suppress(CannotOpen):  # whoever opens that one hears about it
        keys.preload(callback.body for callback in claimed if callback.body is not None)
    opened = []
    failed: list[tuple[Claimed, Exception]] = []
    for sealed in claimed:
        try:
            body = _body_of(sealed)
        except KeyDestroyed as error:
            _fail(sealed, str(error), outcome)
        except CannotOpen as error:  # a worker with the wrong master keys opens none
            failed.append((sealed, error))
        else:
            opened.append(Callback(sealed.delivery_id, sealed.received_at, sealed.tenant_id, body))
    BRAKE.judge(failed, step="open", passed=bool(opened))
    for sealed, trouble in failed:
        _fail(sealed, str(trouble), outcome)
    return opened


def _body_of(sealed: Claimed) -> bytes:
    if sealed.body is None:
        raise KeyDestroyed("Raw was purged before this callback was processed.")
    return raw.open_body(sealed.body, tenant_id=sealed.tenant_id, delivery_id=sealed.delivery_id)


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
