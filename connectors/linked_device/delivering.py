"""Send what is owed over a linked device: one message at a time, at a person's pace, none twice.

A message is reserved, waits for its slot, and is marked as being sent in a transaction that holds
the session's lease; only then the device has it. Whoever dies before the mark leaves it due again,
whoever dies after it leaves it unknown (:func:`messaging.transitions.expire`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random, SystemRandom

from django.db import InterfaceError, OperationalError, connection, transaction

from connectors.linked_device import claiming, leases
from connectors.linked_device.calling import Caller
from connectors.linked_device.claiming import Ready
from connectors.linked_device.device import Device
from connectors.linked_device.leases import Lease
from connectors.linked_device.pacing import Pace
from connectors.models import SenderSession
from messaging import transitions
from messaging.attempts import GivenBack
from messaging.delivery.recording import Outcome, record
from workspaces import keys

logger = logging.getLogger("sigma.whatsapp.sender")

AWAY = (OperationalError, InterfaceError)
# A send takes 75 seconds at most. Whoever needs longer for the mark was frozen meanwhile, and has
# too little of the lease left.
LEASE_SECONDS, LATEST_SECONDS = 120.0, 30.0
# Until an outcome that could not be written down is tried again.
RECORD_SECONDS = 1.0


class Deliverer:
    """One session's sends. It has no thread of its own: see :meth:`turn`."""

    def __init__(
        self,
        *,
        session: SenderSession,
        lease: Lease,
        device: Device,
        clock: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
    ) -> None:
        self._workspace_id, self._lease, self._clock = session.workspace_id, lease, clock
        self._chance = chance or SystemRandom()
        transport = session.workspace.transport
        self._caller = Caller(device, transport=transport, chance=self._chance)
        self._pace = Pace(chance=self._chance, at=clock())
        self._ready: tuple[Ready, float] | None = None
        self._outcome: Outcome | None = None
        self._not_before = clock()

    def turn(self, now: datetime) -> float:
        """Send at most one message; return the seconds until the next turn. It blocks only while
        the device does.

        Raises:
            leases.Lost: the session is somebody else's; nothing left.
            django.db.OperationalError, django.db.InterfaceError: the database is away; nothing left
                that is not remembered.
        """
        if self._outcome is not None:
            return self._record(now)
        if (wait := self._not_before - self._clock()) > 0:
            return wait
        if self._ready is None:
            found = self._claim(now)
            if isinstance(found, float):
                return found
            self._ready = found
        ready, slot = self._ready
        if (wait := slot - self._clock()) > 0:
            return wait
        self._ready = None
        began = self._clock()
        if began - slot > claiming.RESERVED_SECONDS:
            return 0.0  # due again: nothing could leave for so long that it has to be read anew
        if self._mark(ready, now):
            self._send(ready, now, began)
        return self._record(self._moment(now, began))

    def settle(self, now: datetime) -> bool:
        """Before the end: give back what is reserved, write down what is known; return whether
        nothing is left to write.
        """
        if self._outcome is None and self._ready is not None:
            self._outcome = Outcome(self._ready[0].attempt, GivenBack(), now)
            self._ready = None
        self._record(now)
        return self._outcome is None

    def _claim(self, now: datetime) -> tuple[Ready, float] | float:
        try:
            found = claiming.claim(self._lease, self._workspace_id, now=now, chance=self._chance)
        except AWAY:
            _hang_up()
            raise
        if isinstance(found, float):
            return found
        slot = self._pace.slot(
            contact_id=found.attempt.contact_id, text=found.text, at=self._clock()
        )
        return found, slot

    def _mark(self, ready: Ready, now: datetime) -> bool:
        """Mark the message where it may leave still; else it is given back, whatever of the mark is
        committed.
        """
        attempt, began = ready.attempt, self._clock()
        self._outcome = Outcome(attempt, GivenBack(), now)
        try:
            is_mine = self._marked(ready, now)
        except leases.Lost:
            self._record(now)
            raise
        except AWAY:
            _hang_up()
            raise
        if not is_mine or self._clock() - began > LATEST_SECONDS:
            return False
        self._outcome = None
        return True

    def _marked(self, ready: Ready, now: datetime) -> bool:
        attempt = ready.attempt
        if attempt.expires_at is not None and attempt.expires_at <= now:
            return False
        with transaction.atomic():
            leases.insist(self._lease)
            if not claiming.may_send(attempt.tenant_id, attempt.workspace_id, now=now):
                return False
            return attempt.message_id in transitions.mark([attempt], seconds=LEASE_SECONDS)

    def _send(self, ready: Ready, now: datetime, began: float) -> None:
        try:
            result = self._caller.send(ready, now=now)
            self._outcome = Outcome(ready.attempt, result, self._moment(now, began))
        finally:
            self._pace.left(contact_id=ready.attempt.contact_id, at=self._clock())
        self._not_before = self._clock() + self._caller.pause

    def _record(self, now: datetime) -> float:
        """Write the outcome down; while the database is away it is kept, and nothing leaves."""
        if self._outcome is None:
            return 0.0
        try:
            record([self._outcome], now=now, chance=self._chance)
        except AWAY as error:
            _hang_up()
            logger.warning("whatsapp outcomes kept", extra={"error": type(error).__name__})
            return RECORD_SECONDS
        except Exception as error:  # what cannot be written is left to the end of its lease
            keys.forget()
            extra = {"message_id": self._outcome.attempt.message_id}
            logger.error("whatsapp outcome not written", exc_info=error, extra=extra)
        self._outcome = None
        return 0.0

    def _moment(self, now: datetime, began: float) -> datetime:
        return now + timedelta(seconds=max(0.0, self._clock() - began))


def _hang_up() -> None:
    keys.forget()  # one that was made in the transaction is gone with it
    connection.close()
