"""Send what is pending over a linked device: one message at a time, at a person's pace, none twice.

A message is reserved, waits for its time, and is marked as being sent in a transaction that holds
the session's lease; only then the device gets it. A process that dies before the mark leaves the
message due again, one that dies after it leaves it unknown (:func:`messaging.transitions.expire`).

WhatsApp bans accounts that send like machines. `Pace` keeps to a rule that those who run linked
devices have tested: one to three seconds between any two messages, at random.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connection, transaction

from connectors.linked_device import leases, logs
from connectors.linked_device.events import SendText
from connectors.linked_device.leases import Lease
from connectors.linked_device.models import SenderSession
from lib import bulk
from lib.brake import DATABASE_AWAY
from messaging import transitions
from messaging.attempts import Attempt, GivenBack, transition_of
from messaging.delivery import pauses
from messaging.delivery.due import (
    Deferral,
    Due,
    Failed,
    defer,
    due,
    examine,
    request_of,
    reserve,
)
from messaging.delivery.recording import Outcome, record
from messaging.people import ALL_IDS
from workspaces import keys
from workspaces.channel_errors import ChannelError, OutcomeUnknown, Reach, Throttled, Unavailable
from workspaces.channel_facts import AcceptedSend
from workspaces.models import TenantStatus, Workspace

logger = logging.getLogger("sigma.whatsapp.sender")

# A send takes 75 seconds at most. A process that needs longer for the mark was paused meanwhile,
# and has too little of the lease left.
LEASE_SECONDS, LATEST_SECONDS = 120.0, 30.0
# The pause before a result that could not be written is tried again.
RECORD_SECONDS = 1.0
# Seconds between any two messages, and between two to the same person.
JITTER, SAME_PERSON = (1.0, 3.0), (3.0, 5.0)
# How fast a person types; longer texts are pasted, so typing takes no longer than this.
LETTERS_PER_SECOND, MOST_TYPING_SECONDS = 25.0, 6.0
# After "slow down" without a time, and while the device is not connected: each doubles, up to this.
THROTTLED_SECONDS, MOST_THROTTLED_SECONDS = 60.0, 3600.0
AWAY_SECONDS, MOST_AWAY_SECONDS = 5.0, 60.0

# Longer than any message waits for its time; one that was not marked by then is due again.
RESERVED_SECONDS = 60.0
# How soon to look again: where nothing is due, and where sending is paused.
IDLE_SECONDS, PAUSED_SECONDS = 0.5, 5.0
CAPPED = "A linked device sends at most {} messages to one person in 24 hours."
CAP_WINDOW = timedelta(hours=24)
# A message may wait for so long before it leaves: scheduled, and then until it expires.
OLDEST = timedelta(days=62)
# Messages that may have been sent count too. The one in the window that has to leave it first.
PERSON = ALL_IDS.format(tenant_id="%(tenant)s", contact_id="%(contact)s::uuid")
NTH = f"""
SELECT sent.at FROM ({PERSON}) person (id)
JOIN messages m ON m.contact_id = person.id CROSS JOIN LATERAL (SELECT CASE
    WHEN m.status = 'sending' THEN %(now)s
    ELSE coalesce(m.delivery->>'accepted_at', m.delivery->>'unknown_at')::timestamptz END
) sent (at)
WHERE m.tenant_id = %(tenant)s AND m.workspace_id = %(workspace)s AND m.source = 'API'
  AND m.timestamp_utc > %(oldest)s AND sent.at > %(since)s
ORDER BY sent.at DESC OFFSET %(cap)s - 1 LIMIT 1
"""  # noqa: S608 - names of ours


@dataclass(frozen=True, slots=True)
class Ready:
    """A reserved message, and what to send to which number (digits)."""

    attempt: Attempt
    number: str = field(repr=False)
    text: str = field(repr=False)


class _Text(msgspec.Struct):
    body: str


class _Request(msgspec.Struct):
    to: str
    text: _Text


def claim(lease: Lease, workspace_id: UUID, *, now: datetime, chance: Random) -> Ready | float:
    """Reserve the message that is due next, or return the seconds until the next call.

    Raises:
        leases.LeaseLost: another process has the session; nothing is reserved.
        django.db.OperationalError, django.db.InterfaceError: the database is away.
    """
    with transaction.atomic():
        leases.require(lease)
        rows = due([(lease.tenant_id, workspace_id, 1)], now=now)
        if not rows:
            return IDLE_SECONDS
        if not may_send(lease.tenant_id, workspace_id, now=now):
            return PAUSED_SECONDS
        (row,) = rows
        verdict = _verdict(row, now, chance)
        if isinstance(verdict, Ready):
            reserve([row], seconds=RESERVED_SECONDS, now=now)
            return verdict
        if isinstance(verdict, Deferral):
            defer([(row, verdict)])
        else:
            _fail(row, verdict, now)
        return 0.0


def may_send(tenant_id: UUID, workspace_id: UUID, *, now: datetime) -> bool:
    """Return whether nothing stops a workspace's sends: neither it, its tenant, nor a pause."""
    active = Workspace.objects.filter(
        pk=workspace_id, tenant_id=tenant_id, is_active=True, tenant__status=TenantStatus.ACTIVE
    )
    stopping = pauses.open_pauses(tenant_id=tenant_id, workspace_id=workspace_id, now=now)
    return active.exists() and not stopping.exists()


def _verdict(row: Due, now: datetime, chance: Random) -> Ready | Deferral | Failed:
    refused = examine(row, now=now, chance=chance)
    return refused or _over_quota(row, now) or _ready(row)


def _over_quota(row: Due, now: datetime) -> Deferral | None:
    if row.contact_id is None:
        return None
    cap = int(settings.SIGMA_SENDER_CONTACT_CAP)
    until = free_at(
        tenant_id=row.tenant_id,
        workspace_id=row.workspace_id,
        contact_id=row.contact_id,
        cap=cap,
        now=now,
    )
    if until is None:
        return None
    # One that will not be worth sending by then is given up when it expires, not later.
    return Deferral(min(until, row.expires_at or until), CAPPED.format(cap))


def _ready(row: Due) -> Ready | Failed:
    request = request_of(row)
    if isinstance(request, Failed):
        return request
    try:
        wanted = msgspec.json.decode(request, type=_Request)
    except msgspec.DecodeError:
        return Failed("UNSUPPORTED", "A linked device sends texts to phone numbers, nothing else.")
    attempt = Attempt(
        row.id,
        row.tenant_id,
        row.workspace_id,
        row.contact_id,
        row.template_id,
        row.attempts + 1,
        row.expires_at,
    )
    return Ready(attempt, wanted.to.lstrip("+"), wanted.text.body)


def _fail(row: Due, why: Failed, now: datetime) -> None:
    if transitions.fail({(row.tenant_id, row.id): why.facts()}, now=now):
        ids = {"message_id": row.id, "workspace_id": row.workspace_id}
        logs.failed(**ids, number=None, code=why.code, message=why.title)


def free_at(
    *, tenant_id: UUID, workspace_id: UUID, contact_id: UUID, cap: int, now: datetime
) -> datetime | None:
    """Return when a person may be written to again who got ``cap`` messages within 24 hours;
    ``None``: now. Counted from the messages, so that it outlives every process.

    An account that writes to one person again and again is reported, and banned.
    """
    facts: dict[str, Any] = {
        "tenant": tenant_id,
        "workspace": workspace_id,
        "contact": contact_id,
        "cap": cap,
        "now": now,
        "since": now - CAP_WINDOW,
        "oldest": now - OLDEST,
    }
    with bulk.cursor() as cursor:
        cursor.execute(NTH, facts)
        row = cursor.fetchone()
    return None if row is None else row[0] + CAP_WINDOW


class Deliverer:
    """One session's sends. It has no thread of its own: see :meth:`send_next`."""

    def __init__(
        self,
        *,
        session: SenderSession,
        lease: Lease,
        send_text: SendText,
        clock: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
    ) -> None:
        self._workspace_id, self._lease, self._clock = session.workspace_id, lease, clock
        self._chance = chance or SystemRandom()
        transport = session.workspace.transport
        self._sender = DeviceSender(send_text, transport=transport, chance=self._chance)
        self._pace = Pace(chance=self._chance, at=clock())
        self._ready: tuple[Ready, float] | None = None
        self._outcome: Outcome | None = None
        self._not_before = clock()

    def send_next(self, now: datetime) -> float:
        """Send at most one message; return the seconds until the next call. It blocks only while
        the device does.

        Raises:
            leases.LeaseLost: another process has the session; nothing was sent.
            django.db.OperationalError, django.db.InterfaceError: the database is away; what was
                sent is remembered here.
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
        ready, send_at = self._ready
        if (wait := send_at - self._clock()) > 0:
            return wait
        self._ready = None
        began = self._clock()
        if began - send_at > RESERVED_SECONDS:
            return 0.0  # due again: it waited so long that it has to be read anew
        if self._mark(ready, now):
            self._send(ready, now, began)
        return self._record(self._moment(now, began))

    def settle(self, now: datetime) -> bool:
        """Before the end: give back what is reserved, write what is known; return whether nothing
        is left to write.
        """
        if self._outcome is None and self._ready is not None:
            self._outcome = Outcome(self._ready[0].attempt, GivenBack(), now)
            self._ready = None
        self._record(now)
        return self._outcome is None

    def _claim(self, now: datetime) -> tuple[Ready, float] | float:
        try:
            found = claim(self._lease, self._workspace_id, now=now, chance=self._chance)
        except DATABASE_AWAY:
            _hang_up()
            raise
        if isinstance(found, float):
            return found
        send_at = self._pace.next_at(
            contact_id=found.attempt.contact_id, text=found.text, at=self._clock()
        )
        return found, send_at

    def _mark(self, ready: Ready, now: datetime) -> bool:
        """Mark the message as being sent, if it still may be sent; else it is given back, whether
        or not the mark was committed.
        """
        attempt, began = ready.attempt, self._clock()
        self._outcome = Outcome(attempt, GivenBack(), now)
        try:
            is_mine = self._marked(ready, now)
        except leases.LeaseLost:
            self._record(now)
            raise
        except DATABASE_AWAY:
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
            leases.require(self._lease)
            if not may_send(attempt.tenant_id, attempt.workspace_id, now=now):
                return False
            return attempt.message_id in transitions.mark([attempt], seconds=LEASE_SECONDS)

    def _send(self, ready: Ready, now: datetime, began: float) -> None:
        try:
            result = self._sender.send(ready, now=now)
            self._outcome = Outcome(ready.attempt, result, self._moment(now, began))
        finally:
            self._pace.sent(contact_id=ready.attempt.contact_id, at=self._clock())
        self._not_before = self._clock() + self._sender.pause

    def _record(self, now: datetime) -> float:
        """Write the result; while the database is away it is kept, and nothing is sent."""
        if self._outcome is None:
            return 0.0
        try:
            record([self._outcome], now=now, chance=self._chance)
        except DATABASE_AWAY as error:
            _hang_up()
            logger.warning("whatsapp outcomes kept", extra={"error": type(error).__name__})
            return RECORD_SECONDS
        except (
            Exception
        ) as error:  # a message whose result cannot be written is left to the end of its lease
            keys.forget()
            extra = {"message_id": self._outcome.attempt.message_id}
            logger.error("whatsapp outcome not written", exc_info=error, extra=extra)
        self._outcome = None
        return 0.0

    def _moment(self, now: datetime, began: float) -> datetime:
        return now + timedelta(seconds=max(0.0, self._clock() - began))


def _hang_up() -> None:
    keys.forget()  # a key that was made in the transaction is gone with it
    connection.close()


class DeviceSender:
    """Sends texts over one device, and remembers how often in a row it asked to slow down or was
    not connected.
    """

    def __init__(self, send_text: SendText, *, transport: str, chance: Random) -> None:
        self._send_text, self._transport, self._chance = send_text, transport, chance
        self._throttled = self._away = 0

    @property
    def pause(self) -> float:
        """How many seconds nothing should be tried now, as the device is not connected."""
        return away_seconds(self._away) if self._away else 0.0

    def send(self, ready: Ready, *, now: datetime) -> AcceptedSend | ChannelError:
        """Send, and return the result; blocks as long as the device does."""
        result = self._answer(ready)
        self._throttled = self._throttled + 1 if isinstance(result, Throttled) else 0
        self._away = self._away + 1 if isinstance(result, Unavailable) else 0
        self._log(ready, result, now)
        return self._widened(result) if isinstance(result, Throttled) else result

    def _answer(self, ready: Ready) -> AcceptedSend | ChannelError:
        try:
            return AcceptedSend(self._send_text(ready.number, ready.text).message_id)
        except ChannelError as error:
            return error
        except Exception as error:
            # A bug of the library's, whose text may hold the number; the message may have been
            # sent.
            extra = {"message_id": ready.attempt.message_id, "error": type(error).__name__}
            logger.error("whatsapp send failed in a way nobody thought of", extra=extra)
            return OutcomeUnknown(f"The send failed ({type(error).__name__}).")

    def _widened(self, error: Throttled) -> Throttled:
        """Return the error with the whole account as its reach: its other messages wait too."""
        return Throttled(
            error.retry_after or throttled_seconds(self._throttled),
            code=error.code,
            reach=Reach.ACCOUNT,
            details=error.details,
            trace_id=error.trace_id,
        )

    def _log(self, ready: Ready, result: AcceptedSend | ChannelError, now: datetime) -> None:
        attempt = ready.attempt
        ids = {"message_id": attempt.message_id, "workspace_id": attempt.workspace_id}
        if isinstance(result, AcceptedSend):
            logs.sent(**ids, number=ready.number, transport=self._transport)
            return
        most = int(settings.SIGMA_SEND_MAX_ATTEMPTS)
        step = transition_of(result, attempt, now=now, most_attempts=most, chance=self._chance)
        if step.status != "queued":
            logs.failed(**ids, number=ready.number, code=result.code, message=result.message)


def typing_seconds(text: str) -> float:
    """Return how long it takes to type a text."""
    return min(MOST_TYPING_SECONDS, len(text) / LETTERS_PER_SECOND)


def throttled_seconds(times: int) -> float:
    """Return how long nothing is sent after being asked to slow down so many times in a row."""
    return min(MOST_THROTTLED_SECONDS, THROTTLED_SECONDS * 2.0 ** min(times - 1, 10))


def away_seconds(times: int) -> float:
    """Return how long nothing is tried after so many tries in a row without a connection."""
    return min(MOST_AWAY_SECONDS, AWAY_SECONDS * 2.0 ** min(times - 1, 10))


class Pace:
    """The pace of one account, as of a person who writes on a phone. Pure; all times are seconds of
    one clock that never goes back.
    """

    def __init__(self, *, chance: Random, at: float) -> None:
        # An earlier process may have sent until now.
        self._chance, self._last = chance, at
        self._people: dict[UUID, float] = {}

    def next_at(self, *, contact_id: UUID | None, text: str, at: float) -> float:
        """Return when a text may be sent: a person begins to type it a pause after the last one was
        sent, and a longer pause after the last one to the same contact.
        """
        start = self._last + self._chance.uniform(*JITTER)
        if contact_id in self._people:
            start = max(start, self._people[contact_id] + self._chance.uniform(*SAME_PERSON))
        return max(at, start + typing_seconds(text))

    def sent(self, *, contact_id: UUID | None, at: float) -> None:
        """Record that a text was sent, or may have been."""
        self._last = at
        self._people = {
            one: moment for one, moment in self._people.items() if moment > at - SAME_PERSON[1]
        }
        if contact_id is not None:
            self._people[contact_id] = at
