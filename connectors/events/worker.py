"""The worker that delivers pending events: claims, signs and sends them, records the results."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TypedDict
from uuid import UUID

from connectors.events import queue, signing_secrets
from connectors.events.addresses import policy
from connectors.events.attempts import AttemptResult, ClaimedDelivery, headers_of
from connectors.events.http_client import SECONDS, HttpClient
from connectors.events.models import EventSubscription
from connectors.events.outbox import WAKE_UP
from connectors.events.queue import BRAKE
from lib import clock, work
from lib.brake import Stopped
from lib.work import Work
from workspaces.directory import DOES_NOT_OPEN
from workspaces.keys import UnknownMasterKey

logger = logging.getLogger("sigma.whatsapp.events")

# Requests under way at once.
ROOM = 256
# A turn that is over waits for what is under way then, and goes on serving all but those whose
# requests take long: nobody waits for another's slow endpoint.
SLOW_SECONDS = 1.0
POLL_SECONDS = 0.05
# How many others are tried, to tell whether one's secrets alone do not open.
MAX_OTHERS = 20
NO_SECRETS = "Its signing secrets cannot be opened."
Clock = Callable[[], datetime]


def deliver(
    *, clock: Clock = lambda: clock.now(), idle_wait: float = work.IDLE_WAIT_SECONDS
) -> int:
    """Deliver for one turn, which ends when nothing was due for ``idle_wait`` seconds; return how
    many attempts that were.

    Where everything fails alike, nothing is given up: what was claimed is due again when its lease
    is over, and until something passes one is tried at a time.
    """
    if BRAKE.pause:
        WAKE_UP.hold(seconds=BRAKE.pause)
        return 0
    with HttpClient(policy()) as client:
        events = _Events(client, clock, idle_wait)
        work.run(events)
        return events.attempts


def sweep(*, now: datetime) -> bool:
    """Call for what is due and whose wake-up was lost; return whether a turn was called."""
    return queue.is_due(now=now) and WAKE_UP.notify()


class _Events(Work):
    """Pending events, in one turn."""

    what = "events"
    wake_up = WAKE_UP
    brake = BRAKE
    logger = logger

    def __init__(self, client: HttpClient, clock: Clock, idle_wait: float) -> None:
        self.idle_wait = idle_wait
        self._client, self._clock = client, clock
        self._busy: Counter[UUID] = Counter()
        self._begun: dict[int, tuple[UUID, float]] = {}
        self.attempts = 0

    def under_way(self) -> int:
        """Return how many requests are."""
        return self._client.in_flight

    def pause(self, count: int, spent: float) -> float:
        """Wait no more: a step does, for what comes back."""
        return 0.0

    def step(self) -> int:
        """Claim, send, and record what has come back."""
        return self._step()

    def _step(self, *, without: Collection[UUID] = ()) -> int:
        claimed = self._claim(without)
        for pending in claimed:
            self._send(pending)
        self._record(self._client.wait(POLL_SECONDS))
        return len(claimed)

    def end_turn(self) -> None:
        """Wait for what is under way; what was is over in time, then nothing new begins."""
        until = time.monotonic() + SECONDS
        while self._client.in_flight:
            WAKE_UP.hold()
            if time.monotonic() < until:
                self._step(without=self._slow())
            else:
                self._record(self._client.wait(1.0))

    def _claim(self, without: Collection[UUID]) -> list[ClaimedDelivery]:
        room = (1 if BRAKE.is_on else ROOM) - self._client.in_flight
        if room <= 0:
            return []
        return queue.claim(now=self._clock(), limit=room, busy=self._busy, without=without)

    def _slow(self) -> set[UUID]:
        late = time.monotonic() - SLOW_SECONDS
        return {subscription_id for subscription_id, begun in self._begun.values() if begun < late}

    def _send(self, pending: ClaimedDelivery) -> None:
        try:
            signed = _signed(pending, self._clock())
        except DOES_NOT_OPEN as error:
            self._record_unsigned(pending, error)
            return
        self.attempts += 1
        self._busy[pending.subscription_id] += 1
        self._begun[pending.delivery_id] = pending.subscription_id, time.monotonic()
        self._client.send(pending, **signed)

    def _record_unsigned(self, pending: ClaimedDelivery, error: Exception) -> None:
        """Count an attempt that could not be signed, unless no subscription's secrets open."""
        now = self._clock()
        if isinstance(error, UnknownMasterKey) or not _another_opens(pending.subscription_id, now):
            self._rest(pending.tenant_id, pending.subscription_id, error)
            return
        self.attempts += 1
        extra = {"subscription": str(pending.subscription_id)}
        logger.error("whatsapp event not signed", exc_info=error, extra=extra)
        queue.record([AttemptResult(pending, error=NO_SECRETS)], now=now)

    def _rest(self, tenant_id: UUID, subscription_id: UUID, error: Exception) -> None:
        """Let a subscription rest while this installation cannot send, and report why."""
        queue.rest(tenant_id=tenant_id, subscription_id=subscription_id, now=self._clock())
        BRAKE.report(Stopped(error))

    def _record(self, results: list[AttemptResult]) -> None:
        self._busy.subtract(result.delivery.subscription_id for result in results)
        self._busy = +self._busy
        for result in results:
            self._begun.pop(result.delivery.delivery_id, None)
            if result.local_error is not None:
                delivery = result.delivery
                self._rest(delivery.tenant_id, delivery.subscription_id, result.local_error)
        queue.record([one for one in results if one.local_error is None], now=self._clock())


class _Signed(TypedDict):
    """What is sent of a delivery."""

    headers: Mapping[str, str]
    body: bytes


def _signed(pending: ClaimedDelivery, now: datetime) -> _Signed:
    """Return what is sent of a delivery, signed with the subscription's live secrets.

    Raises:
        workspaces.directory.DOES_NOT_OPEN: the secrets are sealed with keys that we do not have.
    """
    body = pending.body()
    secrets = signing_secrets.live(
        pending.sealed_secrets,
        tenant_id=pending.tenant_id,
        subscription_id=pending.subscription_id,
        now=now,
    )
    headers = headers_of(
        event_id=pending.event_id, body=body, secrets=[secret.value for secret in secrets], now=now
    )
    return _Signed(headers=headers, body=body)


def _another_opens(subscription_id: UUID, now: datetime) -> bool:
    """Whether the secrets of any other subscription open; a few are tried, chosen at random."""
    for other in EventSubscription.objects.exclude(pk=subscription_id).order_by("?")[:MAX_OTHERS]:
        sealed = bytes(other.sealed_secrets)
        with suppress(*DOES_NOT_OPEN):
            signing_secrets.live(
                sealed, tenant_id=other.tenant_id, subscription_id=other.id, now=now
            )
            return True
    return False
