"""Deliver what is owed: claim, post, note, as long as there is something due; then leave."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from connectors.events import queue
from connectors.events.addresses import policy
from connectors.events.attempts import Attempt, AttemptResult, body_of, headers_of
from connectors.events.http_client import SECONDS, HttpClient
from connectors.events.queue import BRAKE, ClaimedDelivery
from lib import clock
from lib.brake import Stopped
from workspaces import event_secrets
from workspaces.directory import DOES_NOT_OPEN
from workspaces.master import UnknownMasterKey
from workspaces.models import EventSubscription
from workspaces.outbox import BELL

logger = logging.getLogger("sigma.whatsapp.events")

# Requests under way at once.
ROOM = 256
# A deliverer gives its worker back now and then. It waits for what is under way then, and goes on
# serving all but those whose requests take long: nobody waits for another's slow endpoint.
TURN_SECONDS = 5.0
SLOW_SECONDS = 1.0
# One that stays for a moment saves the next event the way through the broker.
LINGER_SECONDS = 1.0
POLL_SECONDS = 0.05
# How many other subscriptions say whether one's secrets do not open by a trouble of all.
MOST_OTHERS = 20
NO_SECRETS = "Its signing secrets cannot be opened."
Clock = Callable[[], datetime]


def deliver(*, clock: Clock = lambda: clock.now(), linger: float = LINGER_SECONDS) -> int:
    """Deliver until nothing is due or the turn is over; return how many attempts that were.

    Where everything fails alike, nothing is given up: what was claimed is due again when its lease
    is over, and until something passes one is tried at a time.
    """
    if BRAKE.pause:
        BELL.stay(seconds=BRAKE.pause)
        return 0
    with HttpClient(policy()) as client:
        round_ = _Round(client, clock)
        try:
            round_.run(linger)
        except (OperationalError, InterfaceError) as error:  # leased: they come round again
            logger.warning("whatsapp events put off", extra={"error": type(error).__name__})
            connection.close()
            BELL.release()
        except Exception as error:
            stopped = error if isinstance(error, Stopped) else Stopped(error)
            BELL.stay(seconds=BRAKE.stop(stopped))
        return round_.attempts


def sweep(*, now: datetime) -> bool:
    """Ring for what is due and whose bell was lost; return whether a deliverer was called."""
    return queue.is_due(now=now) and BELL.ring()


class _Round:
    """One deliverer's turn."""

    def __init__(self, client: HttpClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._busy: Counter[UUID] = Counter()
        self._begun: dict[int, tuple[UUID, float]] = {}
        self.attempts = 0

    def run(self, linger: float) -> None:
        """Work until nothing is due (and nothing became due for a moment), or the turn is over."""
        started = idle_since = time.monotonic()
        while (now := time.monotonic()) - started < TURN_SECONDS:
            if self._step() or self._client.in_flight:
                idle_since = now
            elif now - idle_since >= linger:
                BELL.release()
                if not self._step():  # who commits after this look rings again
                    return
        self._finish(until=time.monotonic() + SECONDS)
        BELL.release()
        BELL.ring()

    def _step(self, *, without: Collection[UUID] = ()) -> bool:
        """Claim, send, and note what has come back; return whether there was anything due."""
        claimed = self._claim(without)
        if claimed:
            BELL.stay()
        for owed in claimed:
            self._send(owed)
        self._note(self._client.wait(POLL_SECONDS))
        return bool(claimed)

    def _claim(self, without: Collection[UUID]) -> list[ClaimedDelivery]:
        room = (1 if BRAKE.is_on else ROOM) - self._client.in_flight
        if room <= 0:
            return []
        return queue.claim(now=self._clock(), limit=room, busy=self._busy, without=without)

    def _finish(self, *, until: float) -> None:
        """Wait for what is under way; what was is over by ``until``, then nothing new begins."""
        while self._client.in_flight:
            BELL.stay()
            if time.monotonic() < until:
                self._step(without=self._slow())
            else:
                self._note(self._client.wait(1.0))

    def _slow(self) -> set[UUID]:
        late = time.monotonic() - SLOW_SECONDS
        return {subscription_id for subscription_id, begun in self._begun.values() if begun < late}

    def _send(self, owed: ClaimedDelivery) -> None:
        try:
            parcel = _parcel(owed, self._clock())
        except DOES_NOT_OPEN as error:
            self._leave(owed, error)
            return
        self.attempts += 1
        self._busy[owed.subscription_id] += 1
        self._begun[owed.delivery_id] = owed.subscription_id, time.monotonic()
        self._client.send(parcel)

    def _leave(self, owed: ClaimedDelivery, error: Exception) -> None:
        """Count an attempt that could not be signed, unless that is a trouble of all."""
        now = self._clock()
        if isinstance(error, UnknownMasterKey) or not _another_opens(owed.subscription_id, now):
            self._hold(owed.subscription_id, error)
            return
        self.attempts += 1
        extra = {"subscription": str(owed.subscription_id)}
        logger.error("whatsapp event not signed", exc_info=error, extra=extra)
        parcel = Attempt(
            owed.delivery_id, owed.attempts, owed.leased_until, owed.subscription_id, owed.url,
            headers={}, body=b"",
        )  # fmt: skip
        queue.record([AttemptResult(parcel, error=NO_SECRETS)], now=now)

    def _hold(self, subscription_id: UUID, error: Exception) -> None:
        """Let a subscription wait until our own trouble is over, and report that."""
        queue.rest(subscription_id, now=self._clock())
        BRAKE.report(Stopped(error))

    def _note(self, reports: list[AttemptResult]) -> None:
        self._busy.subtract(report.attempt.subscription_id for report in reports)
        self._busy = +self._busy
        for report in reports:
            self._begun.pop(report.attempt.delivery_id, None)
            if report.local_error is not None:
                self._hold(report.attempt.subscription_id, report.local_error)
        queue.record([one for one in reports if one.local_error is None], now=self._clock())


def _parcel(owed: ClaimedDelivery, now: datetime) -> Attempt:
    """Return a delivery signed with the subscription's live secrets.

    Raises:
        workspaces.directory.DOES_NOT_OPEN: the secrets are sealed with keys that we do not have.
    """
    body = body_of(type=owed.type, occurred_at=owed.occurred_at, data=owed.data)
    secrets = event_secrets.live(
        owed.sealed_secrets, tenant_id=owed.tenant_id, subscription_id=owed.subscription_id, now=now
    )
    headers = headers_of(
        event_id=owed.event_id, body=body, secrets=[secret.value for secret in secrets], now=now
    )
    return Attempt(
        owed.delivery_id, owed.attempts, owed.leased_until, owed.subscription_id, owed.url, headers,
        body,
    )  # fmt: skip


def _another_opens(subscription_id: UUID, now: datetime) -> bool:
    """Whether the secrets of any other subscription open; a few are asked, chosen by chance."""
    for other in EventSubscription.objects.exclude(pk=subscription_id).order_by("?")[:MOST_OTHERS]:
        sealed = bytes(other.sealed_secrets)
        with suppress(*DOES_NOT_OPEN):
            event_secrets.live(sealed, tenant_id=other.tenant_id, subscription_id=other.id, now=now)
            return True
    return False
