"""One attempt to deliver an event: a request in the form of Standard Webhooks, and its result.

https://www.standardwebhooks.com ("Webhook headers", "Signature scheme", "Deliverability"). The id
is the event's and stays the same over all attempts; the time is that of the attempt.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """A request ready to be sent: the ``number``-th of a delivery, under the claim that ends at
    ``leased_until``.
    """

    tenant_id: UUID
    delivery_id: int
    number: int
    leased_until: datetime
    subscription_id: UUID
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def claim(self) -> tuple[int, datetime]:
        """The claim that its result is recorded under: another may have claimed the delivery."""
        return self.delivery_id, self.leased_until


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The HTTP status of an attempt, or why there is none.

    ``local_error``: this machine could not send, so it does not count as an attempt.
    """

    attempt: DeliveryAttempt
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


def body_of(*, type: str, occurred_at: datetime, data: Mapping[str, object]) -> bytes:
    """Return the body: minified JSON, the bytes that are signed."""
    return json.encode({"type": type, "timestamp": occurred_at, "data": data})


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


def next_attempt_at(attempts: int, *, now: datetime, retry_after: timedelta) -> datetime | None:
    """Return when to try again after ``attempts`` failures; ``None``: never."""
    if attempts > len(DELAYS):
        return None
    delay = DELAYS[attempts - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreads load
    return now + max(delay, min(retry_after, MAX_RETRY_AFTER))
