"""Attempts to deliver an event: the states they lead through, a request in the form of Standard
Webhooks, and its result. Pure.

https://www.standardwebhooks.com ("Webhook headers", "Signature scheme", "Deliverability"). The id
is the event's and stays the same over all attempts; the time is that of the attempt.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from msgspec import json
from standardwebhooks import Webhook

USER_AGENT = "SIGMA-Events/1"
GONE = 410
# After the first attempt, the second, and so on; the specification's own table. 75 hours in all.
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
# The longest Retry-After of a receiver that is followed.
MAX_RETRY_AFTER = timedelta(hours=1)
JITTER = 0.1


class DeliveryState(StrEnum):
    """The state of a delivery: pending, accepted by the receiver, or given up."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


# All steps there are: it is tried again, ends, or is replayed. ``None``: there is no row yet.
NEXT: Mapping[DeliveryState | None, frozenset[DeliveryState]] = MappingProxyType(
    {
        None: frozenset({DeliveryState.PENDING}),
        DeliveryState.PENDING: frozenset(DeliveryState),
        DeliveryState.DELIVERED: frozenset({DeliveryState.PENDING}),
        DeliveryState.DEAD: frozenset({DeliveryState.PENDING}),
    }
)
# What a row holds in each: this time alone (the constraint ``event_deliveries_one_state``).
TIMES: Mapping[DeliveryState, str] = MappingProxyType(
    {
        DeliveryState.PENDING: "next_attempt_at",
        DeliveryState.DELIVERED: "delivered_at",
        DeliveryState.DEAD: "dead_at",
    }
)


def times_of(state: DeliveryState, at: datetime) -> dict[str, datetime | None]:
    """Return the times of a delivery in this state, by column."""
    return {column: at if each == state else None for each, column in TIMES.items()}


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery to attempt now, for the ``attempts``-th time. No other claim of it has the same
    ``leased_until``.
    """

    delivery_id: int
    attempts: int
    leased_until: datetime
    subscription_id: UUID
    tenant_id: UUID
    url: str
    sealed_secrets: bytes
    event_id: UUID
    type: str
    occurred_at: datetime
    data: dict[str, object]

    @property
    def claim(self) -> tuple[int, datetime]:
        """The claim that its result is recorded under: another may have claimed the delivery."""
        return self.delivery_id, self.leased_until

    def body(self) -> bytes:
        """Return the body: minified JSON, the bytes that are signed."""
        occurred = {"type": self.type, "timestamp": self.occurred_at, "data": self.data}
        return json.encode(occurred)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The HTTP status of an attempt, or why there is none.

    ``local_error``: this machine could not send, so it does not count as an attempt.
    """

    delivery: ClaimedDelivery
    status: int | None = None
    error: str = ""
    retry_after: timedelta = timedelta(0)
    local_error: Exception | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver accepted it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more events, ever."""
        return self.status == GONE


def headers_of(
    *, event_id: UUID, body: bytes, secrets: Sequence[str], now: datetime
) -> dict[str, str]:
    """Return the headers of an attempt at ``now``, signed with each of the live secrets."""
    identity, text = str(event_id), body.decode()
    signatures = [Webhook(secret).sign(identity, now, text) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": identity,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def after(result: AttemptResult, *, now: datetime) -> tuple[DeliveryState, datetime]:
    """Return the state of a delivery after an attempt that ended at ``now``, and the time that it
    has then.
    """
    if result.is_delivered:
        return DeliveryState.DELIVERED, now
    attempts = result.delivery.attempts
    if result.is_gone or attempts > len(DELAYS):
        return DeliveryState.DEAD, now
    delay = DELAYS[attempts - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreads load
    return DeliveryState.PENDING, now + max(delay, min(result.retry_after, MAX_RETRY_AFTER))
