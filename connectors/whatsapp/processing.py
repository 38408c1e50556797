"""From pending callbacks to a committed batch: claim, open, process, count, commit, and again.

A batch is one transaction with the deletion of the pointers: whatever is killed, and whenever, a
callback is either still pending or wholly accounted for. Workers never wait for one another (SKIP
LOCKED). Whatever fails, and even what ends the whole process, fails alone in the end and lets the
others pass; what fails through no fault of its own stays pending (``lib.brake``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction

from connectors.whatsapp import raw, results
from connectors.whatsapp.models import DeadKind, WebhookPending
from connectors.whatsapp.results import BatchResult, Callback, FailedUpdates
from connectors.whatsapp.updates import CallbackUpdate, process
from lib import bulk, clock, metrics, work
from lib.brake import LONGEST_PAUSE, TRIAL, Brake, Stopped, is_away
from lib.envelope import CannotOpen, KeyDestroyed
from lib.wakeups import WakeUp
from lib.work import Work
from workspaces import keys
from workspaces.models import INSTALLATION_ID

logger = logging.getLogger("sigma.whatsapp.processing")
WAKE_UP = WakeUp(name="drain", task="ingest.drain", queue="ingest")
BRAKE = Brake("callbacks")
POLL_SECONDS = 0.02
# What a batch costs whatever its size is a dozen round trips: while there is no backlog, a few
# callbacks more per batch are worth a few milliseconds. After one of only a few the pause is whole:
# a busy host, where each takes long, would run them back to back, with ever fewer in them.
PAUSE_SECONDS, FULL_PAUSE_BELOW = 0.05, 50
# Work older than this without a turn has lost its wake-up.
OVERDUE_SECONDS = 1.0
# Attempts that may have ended their process: after so many a callback is tried with a few others,
# after so many alone, after so many not any more. It may have been any of its batch.
FEW_AFTER, FEW = 2, 20
ALONE_AFTER = 3
GIVE_UP_AFTER = 5
# Transactions of one claim at most: whoever waits behind suspects waits for no more than these.
MOST_GROUPS = 20
PURGED = "Raw was purged before this callback was processed."
# Of plain bodies: to open and read them takes fifteen times as much memory, and a second or two.
MOST_BYTES = 4_000_000
# A callback that has waited this long may have been tried, and may have ended that process.
OLD = timedelta(seconds=30)
# For this long nobody else claims a callback after an attempt at it was recorded.
CLAIMED_FOR = "interval '5 seconds'"


class Callbacks(Work):
    """Pending callbacks, for the work loop."""

    what = "callbacks"
    wake_up = WAKE_UP
    brake = BRAKE
    logger = logger

    def __init__(self) -> None:
        self.slots = settings.SIGMA_INGEST_DRAINS

    def step(self) -> int:
        """Process one batch."""
        return process_batch(settings.SIGMA_INGEST_BATCH)

    def is_behind(self, count: int, spent: float) -> bool:
        """Whether a batch was at least half full."""
        return count >= settings.SIGMA_INGEST_BATCH // 2

    def pause(self, count: int, spent: float) -> float:
        """Wait for more callbacks, unless many are waiting already."""
        if count == 0:
            return POLL_SECONDS
        if self.is_behind(count, spent):
            return 0.0
        return PAUSE_SECONDS if count < FULL_PAUSE_BELOW else max(0.0, PAUSE_SECONDS - spent)


def drain(slot: int) -> int:
    """Process what is pending for one turn; return how many callbacks that was."""
    return work.run(Callbacks(), slot)


def sweep() -> bool:
    """Call for work whose wake-up was lost; return whether a turn was called."""
    overdue = "received_at < clock_timestamp() - make_interval(secs => %s)"
    waiting = WebhookPending.objects.extra(where=[overdue], params=[OVERDUE_SECONDS])  # noqa: S610
    return waiting.exists() and WAKE_UP.notify()


@dataclass(frozen=True, slots=True)
class SealedCallback:
    """A pending callback, claimed; ``body`` is ``None`` if Raw was purged before it was processed.

    ``attempts`` counts those recorded before this one.
    """

    delivery_id: int
    received_at: datetime
    tenant_id: UUID
    attempts: int
    body: bytes | None


def process_batch(limit: int) -> int:
    """Claim, process and commit one batch; return how many callbacks were claimed.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away or was busy; the
            batch stays pending.
        lib.brake.Stopped: everything fails alike; the batch stays pending.
    """
    claimed: list[SealedCallback] = []
    careful = False
    try:
        with transaction.atomic():
            statement = CLAIM_AT_RANDOM if BRAKE.is_on else CLAIM
            most = min(limit, TRIAL) if BRAKE.is_on else limit
            claimed += _claim(statement, limit=most, bytes=MOST_BYTES)
            old = clock.now() - OLD
            careful = any(callback.received_at < old for callback in claimed)
            if careful:
                transaction.set_rollback(True)  # to be tried again, once the attempt is recorded
            elif claimed:
                result = _account_for(claimed)
    except Exception as error:
        _clean_up_after(error)
        if not claimed:
            raise Stopped(error) from error
        _process_again(claimed, after=error)
    else:
        if careful:
            _process_carefully(claimed)
        elif claimed:
            _report_committed(result)
    _count_lag(claimed)
    return len(claimed)


def _count_lag(claimed: Sequence[SealedCallback]) -> None:
    if claimed:
        lag = clock.now() - min(callback.received_at for callback in claimed)
        metrics.CALLBACK_LAG.observe(max(0.0, lag.total_seconds()))


def _process_carefully(claimed: Sequence[SealedCallback]) -> None:
    """Record the attempt before it is made, for the case that it ends this process.

    Suspects take long, alone or a few together: after some of them the rest is left for the next
    claim, in which the other tenants have their share again.
    """
    for group in islice(_groups(claimed), MOST_GROUPS):
        if group[0].attempts >= GIVE_UP_AFTER:
            attempts = f"{group[0].attempts} attempts that ended their process"
            _dead_letter(group[0], f"Gave up after {attempts}.")
            continue
        mine = _record_attempt(group)
        try:
            _process_again(mine)
        except Exception:
            with suppress(DatabaseError):
                _withdraw_attempt(mine)
            raise


def _groups(claimed: Sequence[SealedCallback]) -> Iterator[Sequence[SealedCallback]]:
    """Group callbacks by how often their process may have ended: all that are new to it together,
    then a few at a time, then each alone.
    """
    if together := [callback for callback in claimed if callback.attempts < FEW_AFTER]:
        yield together
    few = [callback for callback in claimed if FEW_AFTER <= callback.attempts < ALONE_AFTER]
    for start in range(0, len(few), FEW):
        yield few[start : start + FEW]
    yield from ([callback] for callback in claimed if callback.attempts >= ALONE_AFTER)


def _process_again(callbacks: Sequence[SealedCallback], *, after: Exception | None = None) -> None:
    """Process callbacks in transactions of their own, as many together as can be."""
    try:
        if isinstance(after, Stopped):
            raise after
        failed = BRAKE.sift(callbacks, _process_together, step="process") if callbacks else []
    except Stopped as stopped:
        _process_without(stopped, callbacks)
    else:
        for callback, error in failed:
            _dead_letter(callback, f"Processing failed: {type(error).__name__}")


def _process_together(callbacks: Sequence[SealedCallback]) -> None:
    try:
        with transaction.atomic():
            result = _account_for(_claim(CLAIM_THESE, **_these(callbacks)))
    except Exception as error:
        _clean_up_after(error)
        raise
    _report_committed(result)


def _process_without(stopped: Stopped, callbacks: Sequence[SealedCallback]) -> None:
    """Defer those that have to wait, for longer than the others take.

    Raises:
        lib.brake.Stopped: these are all of them.
    """
    waiting = {_delivery_of(item) for item in stopped.items}
    rest = [callback for callback in callbacks if callback.delivery_id not in waiting]
    if not waiting or not rest:
        raise stopped
    later = [callback for callback in callbacks if callback.delivery_id in waiting]
    _defer(later, seconds=LONGEST_PAUSE)
    BRAKE.report(stopped)
    _process_again(rest)


def _delivery_of(item: CallbackUpdate | Callback | SealedCallback) -> int:
    return item.callback.delivery_id if isinstance(item, CallbackUpdate) else item.delivery_id


def _clean_up_after(error: Exception) -> None:
    """Clean up after a batch that was rolled back; raise where the batch is not at fault."""
    keys.forget()  # a key that was made in the transaction is gone with it
    if is_away(error):
        raise error
    if not isinstance(error, Stopped):
        logger.warning("whatsapp batch not processed, tried in halves", exc_info=error)


def _report_committed(result: BatchResult) -> None:
    """Report a batch; what it stored proves that the work goes on."""
    if any(tally.processed for tally in result.tallies.values()) or not result.failures:
        BRAKE.release()
    _report(result)


def _report(result: BatchResult) -> None:
    counts: Counter[tuple[Callback, DeadKind, str]] = Counter()
    for failure in result.failures:
        counts[failure.callback, failure.kind, failure.reason] += failure.updates
    for (callback, kind, reason), updates in counts.items():
        logger.warning(
            "whatsapp update parked",
            extra={
                "tenant_id": callback.tenant_id,
                "delivery": callback.delivery_id,
                "kind": kind.value,
                "reason": reason,
                "updates": updates,
            },
        )


def _dead_letter(callback: SealedCallback, reason: str) -> None:
    """Park a callback unopened, whole, as one dead update."""
    with transaction.atomic():
        result = BatchResult()
        for claimed in _claim(CLAIM_THESE, **_these([callback])):
            result.tallies[claimed.tenant_id].callbacks += 1
            _dead_letter_whole(claimed, reason, result)
        results.store(result)
    _report(result)


def _account_for(claimed: Sequence[SealedCallback]) -> BatchResult:
    """Process claimed callbacks inside the caller's transaction."""
    result = BatchResult()
    for callback in claimed:
        result.tallies[callback.tenant_id].callbacks += 1
    process(_open(claimed, result), result, BRAKE)
    results.store(result)
    return result


def _open(claimed: Sequence[SealedCallback], result: BatchResult) -> list[Callback]:
    with suppress(CannotOpen):  # raised again where that one is opened
        keys.preload(callback.body for callback in claimed if callback.body is not None)
    opened = []
    failed: list[tuple[SealedCallback, Exception]] = []
    for sealed in claimed:
        if sealed.body is None:
            _dead_letter_whole(sealed, PURGED, result)
            continue
        whose = sealed.tenant_id, sealed.delivery_id
        try:
            body = raw.open_body(sealed.body, tenant_id=whose[0], delivery_id=whose[1])
        except KeyDestroyed as error:
            _dead_letter_whole(sealed, str(error), result)
        except CannotOpen as error:  # a worker with the wrong master keys opens none
            failed.append((sealed, error))
        else:
            opened.append(Callback(sealed.delivery_id, sealed.received_at, sealed.tenant_id, body))
    BRAKE.judge(failed, step="open", passed=bool(opened))
    for sealed, trouble in failed:
        _dead_letter_whole(sealed, str(trouble), result)
    return opened


def _dead_letter_whole(sealed: SealedCallback, reason: str, result: BatchResult) -> None:
    """Count and keep a callback of which nothing could be read, as one dead update."""
    callback = Callback(sealed.delivery_id, sealed.received_at, sealed.tenant_id, b"")
    result.tallies[sealed.tenant_id].updates += 1
    result.fail(FailedUpdates(callback, DeadKind.DEAD, reason, None))


# What was claimed, with its body. LATERAL … LIMIT 1 keeps the join a look-up per row, whatever the
# planner believes about today's partition.
OPENED = """
SELECT taken.delivery_id, taken.received_at, taken.tenant_id, taken.attempts, raw.body
FROM taken LEFT JOIN LATERAL (
    SELECT d.body FROM webhook_deliveries d
    WHERE d.tenant_id = taken.tenant_id AND d.id = taken.delivery_id
      AND d.received_at = taken.received_at LIMIT 1
) raw ON true
WHERE taken.tenant_id = %(shared)s OR EXISTS (
    SELECT FROM tenants t WHERE t.id = taken.tenant_id AND t.status <> 'ERASING'
)
ORDER BY taken.delivery_id
"""

# The pointers are deleted in the caller's transaction: if it rolls back, or its process is killed,
# they are pending again at once.
# A loose index scan finds the waiting tenants; each gets an equal share of the batch. Where there
# are more tenants than the batch holds, chance decides, so that none is always last.
# Callbacks are ordered by the bytes before them in their own tenant's queue, so that bytes too are
# shared fairly; the batch ends where it is full, but never before its first callback.
# Locked rows are found by their ctid, which spares a search in an index full of dead entries.
_CLAIM = f"""
WITH RECURSIVE turn AS (
    (SELECT tenant_id FROM webhook_pending ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM webhook_pending p WHERE p.tenant_id > turn.tenant_id
            ORDER BY p.tenant_id LIMIT 1)
    FROM turn WHERE turn.tenant_id IS NOT NULL
), waiting AS (
    SELECT tenant_id FROM turn WHERE tenant_id IS NOT NULL ORDER BY random() LIMIT %(limit)s
), locked AS (
    SELECT mine.ctid, mine.delivery_id, mine.size, waiting.tenant_id
    FROM waiting CROSS JOIN LATERAL (
        SELECT p.ctid, p.delivery_id, p.size FROM webhook_pending p
        WHERE p.tenant_id = waiting.tenant_id
          AND (p.tried_at IS NULL OR p.tried_at < clock_timestamp() - {CLAIMED_FOR})
        ORDER BY {{order}}
        LIMIT (SELECT greatest(1, %(limit)s / greatest(1, count(*))) FROM waiting)
        FOR UPDATE SKIP LOCKED
    ) mine
), queued AS (
    SELECT ctid, delivery_id, size, -size + sum(size) OVER (
        PARTITION BY tenant_id ORDER BY delivery_id ROWS UNBOUNDED PRECEDING
    ) AS ahead FROM locked
), measured AS (
    SELECT ctid, size, sum(size) OVER (
        ORDER BY ahead, delivery_id ROWS UNBOUNDED PRECEDING
    ) AS total FROM queued
), taken AS (
    DELETE FROM webhook_pending p WHERE p.ctid = ANY (ARRAY(
        SELECT ctid FROM measured WHERE total <= greatest(%(bytes)s, size)
    ))
    RETURNING p.delivery_id, p.received_at, p.tenant_id, p.attempts
)
{OPENED}"""  # noqa: S608 - words of ours

CLAIM = _CLAIM.format(order="p.delivery_id")
# What is tried while nothing passes: the oldest alone would be the same ones again and again.
CLAIM_AT_RANDOM = _CLAIM.format(order="random()")

# Those whose tenants and ids are given.
THESE = "unnest(%(tenants)s::uuid[], %(ids)s::int8[]) AS r (tenant_id, delivery_id)"
CLAIM_THESE = f"""
WITH taken AS (
    DELETE FROM webhook_pending p WHERE p.ctid = ANY (ARRAY(
        SELECT q.ctid FROM {THESE}
        JOIN webhook_pending q ON q.tenant_id = r.tenant_id AND q.delivery_id = r.delivery_id
        FOR UPDATE OF q SKIP LOCKED
    ))
    RETURNING p.delivery_id, p.received_at, p.tenant_id, p.attempts
)
{OPENED}"""  # noqa: S608 - words of ours

RECORD_ATTEMPT = f"""
UPDATE webhook_pending SET attempts = attempts + 1, tried_at = clock_timestamp()
WHERE ctid = ANY (ARRAY(
    SELECT q.ctid FROM {THESE}
    JOIN webhook_pending q ON q.tenant_id = r.tenant_id AND q.delivery_id = r.delivery_id
    WHERE q.tried_at IS NULL OR q.tried_at < clock_timestamp() - {CLAIMED_FOR}
    FOR UPDATE OF q SKIP LOCKED
)) RETURNING delivery_id
"""  # noqa: S608 - words of ours

# The attempt failed, and did not end its process.
WITHDRAW_ATTEMPT = f"""
UPDATE webhook_pending p SET attempts = greatest(p.attempts - 1, 0)
FROM {THESE} WHERE p.tenant_id = r.tenant_id AND p.delivery_id = r.delivery_id
"""  # noqa: S608 - words of ours

# Nobody tries these until then, whoever waits behind them; the recorded attempt is over.
DEFER = f"""
UPDATE webhook_pending p SET tried_at = clock_timestamp() + make_interval(secs => %(seconds)s),
    attempts = greatest(p.attempts - 1, 0)
FROM {THESE} WHERE p.tenant_id = r.tenant_id AND p.delivery_id = r.delivery_id
"""  # noqa: S608 - words of ours

# How the statements of this transaction are planned: a row of theirs is looked up in an index,
# whatever the planner believes about tables that grow faster than their statistics; to compile a
# plan would cost more than to run it. It is made anew each time: one that was made while a table
# was empty costs half of the rate for as long as it is kept.
PLANNER_SETTINGS = """
SELECT set_config(name, value, true) FROM (VALUES
    ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'),
    ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('enable_bitmapscan', 'off')
) AS planned (name, value)
"""


def _claim(statement: str, **parameters: object) -> list[SealedCallback]:
    """Claim callbacks inside the caller's transaction by one of the statements above: up to about
    ``limit``, the oldest of each tenant or some at random, or those of `_these` that are still
    pending and not locked by another worker.

    What is pending for a tenant that is being erased is forgotten: its keys are gone.
    """
    with bulk.cursor() as cursor:
        cursor.execute(PLANNER_SETTINGS)
        cursor.execute(statement, {**parameters, "shared": INSTALLATION_ID})
        rows = cursor.fetchall()
    # One object per tenant: as keys of the dictionaries to come they compare by identity.
    tenants: dict[UUID, UUID] = {}
    return [SealedCallback(i, at, tenants.setdefault(t, t), n, body) for i, at, t, n, body in rows]


def _these(callbacks: Sequence[SealedCallback]) -> dict[str, object]:
    return {
        "tenants": [callback.tenant_id for callback in callbacks],
        "ids": [callback.delivery_id for callback in callbacks],
    }


def _record_attempt(callbacks: Sequence[SealedCallback]) -> list[SealedCallback]:
    """Record that the caller is about to try these callbacks; return those that it may try.

    For a moment nobody else claims them. Needs a transaction of its own: the record has to stay
    even if the attempt ends this process.
    """
    with bulk.cursor() as cursor:
        cursor.execute(RECORD_ATTEMPT, _these(callbacks))
        recorded = {row[0] for row in cursor.fetchall()}
    return [callback for callback in callbacks if callback.delivery_id in recorded]


def _withdraw_attempt(callbacks: Sequence[SealedCallback]) -> None:
    """Undo the record of an attempt: it failed, and its process lives."""
    with bulk.cursor() as cursor:
        cursor.execute(WITHDRAW_ATTEMPT, _these(callbacks))


def _defer(callbacks: Sequence[SealedCallback], *, seconds: float) -> None:
    """Let callbacks wait for ``seconds``, so that others are processed meanwhile."""
    with bulk.cursor() as cursor:
        cursor.execute(DEFER, {**_these(callbacks), "seconds": seconds})
