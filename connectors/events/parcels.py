"""One event as it is sent to one subscription, in the form of Standard Webhooks.

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
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2),
    timedelta(hours=5), timedelta(hours=10), timedelta(hours=14), timedelta(hours=20),
    timedelta(hours=24),
)  # fmt: skip
# A receiver may ask for patience, but not for more than this.
MOST_PATIENCE = timedelta(hours=1)
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Parcel:
    """A request ready to be sent: of which delivery, in which attempt, by which claim, to whom."""

    delivery_id: int
    attempts: int
    leased_until: datetime
    subscription_id: UUID
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def claim(self) -> tuple[int, datetime]:
        """By which its result is noted: another may have claimed the delivery in between."""
        return self.delivery_id, self.leased_until


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a parcel: the status, or why there is none; ``ours`` is our own trouble, by
    which no attempt was made.
    """

    parcel: Parcel
    status: int | None = None
    error: str = ""
    retry_after: timedelta = timedelta(0)
    ours: Exception | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more, ever."""
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


def next_attempt(attempts: int, *, now: datetime, retry_after: timedelta) -> datetime | None:
    """Return when to try again after ``attempts`` failures; ``None``: never."""
    if attempts > len(DELAYS):
        return None
    delay = DELAYS[attempts - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311 - spreads load
    return now + max(delay, min(retry_after, MOST_PATIENCE))
