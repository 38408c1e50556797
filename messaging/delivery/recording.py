"""Write down what came of sends: outcomes are collected, and written many in one transaction.

Each outcome changes its message only where that is still ``sending`` in the same attempt. A status
webhook may have been faster: then the message is settled already, and never goes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial
from random import Random
from typing import NamedTuple

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from lib import clock, metrics
from lib.batcher import ThreadBatcher
from lib.brake import Stopped
from messaging import changing, locks, receipts, transitions
from messaging.attempts import Attempt, GivenBack, Result, Transition, facts_of, transition_of
from messaging.delivery import files, side_effects
from messaging.delivery.files import Refused, SentFile
from messaging.delivery.queues import SENDS_BRAKE
from messaging.references import key_of, seal_id
from messaging.states import State
from messaging.transitions import Acceptance, Ended
from workspaces import identity, keys
from workspaces.channel_errors import OutcomeUnknown, Rejected
from workspaces.channel_facts import AcceptedSend
from workspaces.keys import TenantHasNoKeys

logger = logging.getLogger("sigma.whatsapp.sending")

# What a transaction costs whatever its size is a dozen round trips: wait a moment for company.
PAUSE_SECONDS = 0.03
MOST = 500
AWAY_SECONDS = 1.0


class Outcome(NamedTuple):
    """What came of one attempt, and when."""

    attempt: Attempt
    result: Result
    at: datetime
    files: tuple[SentFile, ...] = ()


class Recorder(ThreadBatcher[Outcome, None]):
    """Writes outcomes for one event loop, many at a time."""

    def __init__(self, *, chance: Random) -> None:
        super().__init__(thread="records", pause=PAUSE_SECONDS, most=MOST)
        self._chance = chance

    async def write(self, items: Sequence[Outcome]) -> list[None]:
        """Write outcomes; they are kept while the database is away or everything fails alike. What
        fails alone, by its own fault, is left to the end of its lease.
        """
        while pause := await self.in_thread(self._try, items):
            await asyncio.sleep(pause)
        return [None] * len(items)

    def _try(self, outcomes: Sequence[Outcome]) -> float:
        """Return after how many seconds to try again; 0 where there is nothing left to write."""
        try:
            attempt = partial(record, now=clock.now(), chance=self._chance)
            failed = SENDS_BRAKE.sift(outcomes, attempt, step="record")
        except Stopped as stopped:
            return SENDS_BRAKE.stop(stopped)
        except (OperationalError, InterfaceError) as error:
            logger.warning("whatsapp outcomes kept", extra={"error": type(error).__name__})
            connection.close()
            return AWAY_SECONDS
        for outcome, bug in failed:
            extra = {"message_id": outcome.attempt.message_id}
            logger.error("whatsapp outcome not written", exc_info=bug, extra=extra)
        # Sending works where the platform answered.
        answered = [o for o in outcomes if not isinstance(o.result, GivenBack | OutcomeUnknown)]
        if answered and len(failed) < len(outcomes):
            SENDS_BRAKE.release()
        return 0.0


def record(outcomes: Sequence[Outcome], *, now: datetime, chance: Random) -> None:
    """Write down outcomes in one transaction, and what follows from them for others.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is away; nothing was
            written.
    """
    most = settings.SIGMA_SEND_MAX_ATTEMPTS
    outcomes = _without_forgotten(outcomes, now)
    steps = [
        (o, transition_of(o.result, o.attempt, now=now, most_attempts=most, chance=chance))
        for o in outcomes
    ]
    accepted = [(o, step, o.result) for o, step in steps if isinstance(o.result, AcceptedSend)]
    back = [o.attempt for o in outcomes if isinstance(o.result, GivenBack)]
    others = [one for one in steps if not isinstance(one[0].result, AcceptedSend | GivenBack)]
    try:
        with transaction.atomic():
            # What is said of a person must reach the contact that they are when this is committed.
            locks.merge_nobody({o.attempt.tenant_id for o in outcomes})
            if sum(map(bool, (accepted, back, others))) > 1:
                # Together, where several statements would one after the other.
                changing.lock((o.attempt.tenant_id, o.attempt.message_id) for o in outcomes)
            taken = transitions.accept([_acceptance(*one) for one in accepted], now=now)
            if back:
                transitions.release(back, now=now)
            ended = others and transitions.end_attempts(
                (_ended(*one, now) for one in others), now=now
            )
            # A receipt that did not name the message may have been faster than the answer.
            stops = receipts.catch_up(taken)
            if ended or stops:
                moved = ((o.attempt, step) for o, step in others if o.attempt.message_id in ended)
                side_effects.follow(moved, stops, now=now)
    except Exception:
        keys.forget()  # a key that was made in the transaction is gone with it
        raise
    for _, step in steps:
        code = metrics.code_of(step.error.code if step.error else 0)
        metrics.SENDS.labels(step.status, code).inc()


def _without_forgotten(outcomes: Sequence[Outcome], now: datetime) -> Sequence[Outcome]:
    """Let messages be sent again that were refused for files that the platform has forgotten."""
    refused = [o for o in outcomes if o.files and files.is_about_files(o.result)]
    if not refused:
        return outcomes
    asked = [
        Refused(o.attempt.tenant_id, o.attempt.workspace_id, o.files, o.result)
        for o in refused
        if isinstance(o.result, Rejected)
    ]
    results = dict(zip(map(id, refused), files.forgotten(asked, now=now), strict=True))
    return [o._replace(result=results.get(id(o), o.result)) for o in outcomes]


def _acceptance(outcome: Outcome, step: Transition, answer: AcceptedSend) -> Acceptance:
    attempt, day = outcome.attempt, outcome.at.date()
    digest, key, sealed = _identify(attempt, answer.platform_message_id, day)
    return Acceptance(
        tenant_id=attempt.tenant_id,
        id=attempt.message_id,
        attempt=attempt.number,
        status=step.status,
        accepted_at=outcome.at.isoformat(),
        platform_message_id=digest,
        inner_key=key,
        sealed_id=sealed,
        day=day,
    )


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


def _ended(outcome: Outcome, step: Transition, now: datetime) -> Ended:
    again = now + timedelta(seconds=step.wait) if step.status == State.QUEUED else None
    return Ended(
        tenant_id=outcome.attempt.tenant_id,
        id=outcome.attempt.message_id,
        attempt=outcome.attempt.number,
        status=step.status,
        at=outcome.at,
        error=None if step.error is None else facts_of(step.error),
        due_at=again,
    )
